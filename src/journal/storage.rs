//! Where files live: the seam at which tests put a disk that fails.
//!
//! Names are relative to the journal's folder, with `/` between parts. A file is written at
//! positions, so that a write that failed halfway is simply done again.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{OpenError, lock};

/// The folder of cursor files.
pub(super) const CURSORS: &str = "cursors";
/// The folder of what is damaged.
pub(super) const DAMAGED: &str = "damaged";

/// How long a lock that another process holds is asked for, and how often.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A folder tree. What is created, removed or renamed survives the loss of power only after
/// [`Storage::sync_folder`].
pub(super) trait Storage: Debug + Send + Sync {
    /// Makes an empty file; one of that name is emptied.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// The names of the files in a folder, in no order; `""` is the journal's own.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// The new name may be taken: that file is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
}

/// An open file; stays readable after it was removed.
pub(super) trait File: Debug + Send + Sync {
    /// May write less than asked.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize>;
    /// May read less than asked; 0 only at the end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Data, and the length with it.
    fn sync(&self) -> io::Result<()>;
    fn truncate(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
}

/// Bytes of one write. Linux takes up to four times as long for each byte of a write of several
/// mebibytes as for those of a small one (measured with ext4).
const WRITE_BYTES: usize = 256 << 10;

pub(super) fn write_all_at(file: &dyn File, bytes: &[u8], position: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let part = &bytes[done..bytes.len().min(done + WRITE_BYTES)];
        match file.write_at(part, position + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads `len` bytes, or fewer where the file ends before.
pub(super) fn read_up_to(file: &dyn File, position: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    let mut done = 0;
    while done < len {
        match file.read_at(&mut buffer[done..], position + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(done);
    Ok(buffer)
}

/// A folder on a real disk.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    writable: bool,
}

/// Keeps other processes out of a folder for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: fs::File,
}

impl Disk {
    /// Without the lock, and for reading alone.
    pub(super) fn for_reading(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            writable: false,
        }
    }

    pub(super) fn open(folder: &Path) -> Result<(Self, Lock), OpenError> {
        fs::create_dir_all(folder.join(CURSORS))?;
        fs::create_dir_all(folder.join(DAMAGED))?;
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(folder.join("lock"))?;
        lock_soon(&file, folder)?;
        note_pid(&file)?;
        let disk = Self {
            folder: folder.to_owned(),
            writable: true,
        };
        disk.sync_folder("")?;
        if let Some(parent) = folder
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            fs::File::open(parent)?.sync_all()?;
        }
        Ok((disk, Lock { _file: file }))
    }
}

/// Takes the lock; waits a moment for a process that is just ending, or that was just started by the
/// last owner and holds its files until it runs a program of its own.
fn lock_soon(file: &fs::File, folder: &Path) -> Result<(), OpenError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked {
                    folder: folder.to_owned(),
                    pid: pid_in(file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// For the message of the next one that asks for the lock. On a full disk there is none.
fn note_pid(file: &fs::File) -> io::Result<()> {
    file.set_len(0)?;
    match file.write_all_at(std::process::id().to_string().as_bytes(), 0) {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(error),
        _ => Ok(()),
    }
}

fn pid_in(file: &fs::File) -> Option<u32> {
    let mut text = [0; 16];
    let len = FileExt::read_at(file, &mut text, 0).ok()?;
    std::str::from_utf8(&text[..len]).ok()?.trim().parse().ok()
}

impl Storage for Disk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        if !self.writable {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        Ok(Arc::new(options.open(self.folder.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(self.writable);
        Ok(Arc::new(options.open(self.folder.join(name))?))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.folder.join(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        fs::File::open(self.folder.join(folder))?.sync_all()
    }
}

impl File for fs::File {
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, position)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Files that nothing outlives.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<BTreeMap<String, Arc<MemoryFile>>>);

#[derive(Debug, Default)]
pub(super) struct MemoryFile(Mutex<Vec<u8>>);

impl Storage for Memory {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = Arc::new(MemoryFile::default());
        lock(&self.0).insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        match lock(&self.0).get(name) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn File>),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let files = lock(&self.0);
        let names = files.keys().filter_map(|path| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            (parent == folder).then(|| name.to_owned())
        });
        Ok(names.collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.0);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = lock(&self.0).remove(name);
        removed
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
}

/// A file in memory grows by this much, so that it never holds twice what it needs.
const GROWTH_BYTES: usize = 1 << 20;

impl File for MemoryFile {
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let start = usize::try_from(position).map_err(io::Error::other)?;
        let mut data = lock(&self.0);
        let end = start + bytes.len();
        if end > data.capacity() {
            let len = data.len();
            data.reserve_exact((end - len).max(GROWTH_BYTES.min(len)));
        }
        if end > data.len() {
            data.resize(end, 0);
        }
        data[start..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let data = lock(&self.0);
        let start = usize::try_from(position).map_or(data.len(), |start| start.min(data.len()));
        let len = buffer.len().min(data.len() - start);
        buffer[..len].copy_from_slice(&data[start..start + len]);
        Ok(len)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        lock(&self.0).resize(len, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }
}
