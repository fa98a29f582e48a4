//! Where the deliveries of one sink read and write.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::dead_letter_writer::DeadLetterJournal;
use crate::journal::{Appender, Committer, Cursor, Journal};

/// What the deliveries of one sink, one after the other, have in common: where they read, and where
/// they write what they cannot deliver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SinkContext {
    /// Locked by the prefetch of the delivery that runs.
    pub(super) cursor: Arc<Mutex<Cursor>>,
    pub(super) committer: Committer,
    /// Takes the forwarder's own events.
    pub(super) frames: Appender,
    pub(super) dead_letters: DeadLetterJournal,
}

impl SinkContext {
    #[must_use]
    pub fn new(cursor: Cursor, frames: &Journal, dead_letters: &Journal) -> Self {
        Self {
            frames: frames.appender(),
            committer: cursor.committer(),
            cursor: Arc::new(Mutex::new(cursor)),
            dead_letters: DeadLetterJournal::of(dead_letters),
        }
    }

    /// How far the sink has come.
    #[must_use]
    pub fn committer(&self) -> &Committer {
        &self.committer
    }
}
