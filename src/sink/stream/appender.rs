//! A file of lines, which other programs may rotate, or which is rotated by its size.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::{self, Rotate};

/// Appends to the file that has the name at the time. Blocks.
#[derive(Debug)]
pub(super) struct Appender {
    config: config::File,
    file: File,
    /// Bytes.
    size: u64,
}

impl Appender {
    /// Opens the file, or creates it. An incomplete last line of an earlier attempt is ended, so that the next
    /// line is separate.
    pub(super) fn open(config: config::File) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.create(true).read(true).append(true);
        let mut file = options.open(&config.path)?;
        let mut size = file.seek(SeekFrom::End(0))?;
        if size == 0 {
            sync_folder(&config.path)?;
        } else {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                size += 1;
            }
        }
        Ok(Self { config, file, size })
    }

    /// Writes whole lines, and returns once they are on the disk.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if !self.is_current()? {
            *self = Self::open(self.config.clone())?;
        }
        if let Some(rotate) = self.config.rotate
            && self.size > 0
            && self.size + lines.len() as u64 > rotate.max_bytes
        {
            rotate_files(&self.config.path, rotate)?;
            *self = Self::open(self.config.clone())?;
        }
        self.file.write_all(lines)?;
        self.size += lines.len() as u64;
        self.file.sync_data()
    }

    /// Whether the name still refers to the open file: `logrotate` renames it.
    fn is_current(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::metadata(&self.config.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Renames `FILE` to `FILE.1`, `FILE.1` to `FILE.2` and so on; the last one is overwritten. The oldest is
/// renamed first: if this is interrupted, nothing is lost, and the next rotation closes the gap.
fn rotate_files(path: &Path, rotate: Rotate) -> io::Result<()> {
    for number in (0..rotate.keep).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
    }
    Ok(())
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// Makes the entry of a new file durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
