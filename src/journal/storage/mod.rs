//! Where files live: the seam at which tests put a disk that fails.
//!
//! Names are relative to the journal's folder, with `/` between parts. Files are written at positions,
//! so that a write that failed halfway is simply repeated.
//!
//! | file | what |
//! |---|---|
//! | `disk` | a folder on a real disk, and its lock |
//! | `memory` | files in memory, for a journal without a folder |
//! | `simulated` | for tests: a disk that fails and loses power as real ones do |
//! | `model` | a test of the journal against a model of its guarantees, on the simulated disk |

pub(super) mod disk;
pub(super) mod memory;
#[cfg(test)]
mod model;
#[cfg(test)]
pub(super) mod simulated;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// The folder of cursor files.
pub(crate) const CURSORS: &str = "cursors";
/// The folder of copies of damaged bytes.
pub(crate) const DAMAGED: &str = "damaged";

/// A folder tree. What is created, removed or renamed survives the loss of power only after
/// [`Storage::sync_folder`].
pub(crate) trait Storage: Debug + Send + Sync {
    /// Makes an empty file; one of that name is emptied.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// The names of the files in a folder, in no order; `""` is the journal's own.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Replaces a file that has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
}

/// An open file. It stays readable after it was removed.
pub(crate) trait File: Debug + Send + Sync {
    /// May write less than asked.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize>;
    /// May read less than asked; 0 only at the end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Data, and the length with it.
    fn sync(&self) -> io::Result<()>;
    fn truncate(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
}

/// The largest single write. Linux needs up to four times as long for each byte of larger ones (measured
/// with ext4 and several MiB).
const WRITE_BYTES: usize = 256 << 10;

pub(crate) fn write_all_at(file: &dyn File, bytes: &[u8], position: u64) -> io::Result<()> {
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
pub(crate) fn read_up_to(file: &dyn File, position: u64, len: usize) -> io::Result<Vec<u8>> {
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
