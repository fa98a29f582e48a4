//! A journal's folder on a real disk.

use std::fs::{self, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{CURSORS, DAMAGED, File, Storage};
use crate::journal::error::OpenError;

/// How long to wait for a lock that another process holds, and how often to ask.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A folder on a real disk.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    writable: bool,
}

/// Keeps other processes out of a folder until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: fs::File,
}

impl Disk {
    /// For reading only, without the lock.
    pub(crate) fn for_reading(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            writable: false,
        }
    }

    pub(crate) fn open(folder: &Path) -> Result<(Self, Lock), OpenError> {
        fs::create_dir_all(folder.join(CURSORS))?;
        fs::create_dir_all(folder.join(DAMAGED))?;
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(folder.join("lock"))?;
        acquire(&file, folder)?;
        write_pid(&file)?;
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

/// Takes the lock. Waits a moment for a process that is just ending, or for one that the last owner
/// forked and that holds its files until it runs a program of its own.
fn acquire(file: &fs::File, folder: &Path) -> Result<(), OpenError> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked {
                    folder: folder.to_owned(),
                    pid: read_pid(file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// Writes our pid, for the error message of a process that wants the lock. On a full disk it is missing.
fn write_pid(file: &fs::File) -> io::Result<()> {
    file.set_len(0)?;
    match file.write_all_at(std::process::id().to_string().as_bytes(), 0) {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(error),
        _ => Ok(()),
    }
}

fn read_pid(file: &fs::File) -> Option<u32> {
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
