//! Why the daemon cannot start, or ended by itself.

use std::path::PathBuf;

use crate::central;
use crate::config::ConfigErrors;
use crate::journal;
use crate::supervise::Panic;

/// Why the daemon could not start or end as it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    #[error("state_dir {}: {cause}", folder.display())]
    StateDir {
        folder: PathBuf,
        cause: journal::OpenError,
    },
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    #[error(transparent)]
    Close(#[from] journal::CloseError),
    #[error("account {account}: {cause}")]
    Account {
        account: String,
        cause: central::InvalidConfig,
    },
    #[error("the journal's writer has ended, and no frame can be kept any more (see the log)")]
    WriterEnded,
    #[error("the delivery to {sink} has ended: {why}")]
    DeliveryEnded { sink: String, why: String },
}

impl Error {
    /// Whether it could not even start, and will not until an operator has changed something.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Config(_) | Self::StateDir { .. } | Self::Account { .. }
        )
    }
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("{0}")]
    ConfigErrors(#[from] ConfigErrors),
    /// It has no mistakes, and cannot be put into effect.
    #[error(transparent)]
    Unusable(#[from] Error),
    #[error("the daemon is ending")]
    Ending,
    #[error(transparent)]
    Panicked(#[from] Panic),
}
