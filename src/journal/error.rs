//! Why a journal cannot be opened or closed.

use std::io;
use std::path::PathBuf;

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the journal in {} is in use by another process{}", folder.display(), in_parentheses(*pid))]
    Locked {
        folder: PathBuf,
        /// As that process wrote it into the lock file.
        pid: Option<u32>,
    },
    #[error("the journal cannot be opened: {0}")]
    Io(#[from] io::Error),
    #[error("the cursor {0:?} is already in use")]
    InUse(String),
}

fn in_parentheses(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// What could not be made safe when the journal was closed.
#[derive(Debug, thiserror::Error)]
#[error("{unsynced} records could not be synced to the journal: {cause}")]
pub struct CloseError {
    /// Appended records that may be lost.
    pub unsynced: u64,
    pub cause: io::Error,
}
