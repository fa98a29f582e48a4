//! How far a sink has come.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use super::losses::Losses;
use super::state::{CursorLag, CursorState, OffsetOutOfRange};
use crate::config::Backlog;
use crate::journal::batch::Entry;
use crate::journal::log::reader::LogReader;
use crate::journal::shared::Shared;
use crate::sync::lock;

/// How much is read at once to find one record.
const ONE_RECORD_BYTES: usize = 64 << 10;

/// Says how far a sink has come, also while its [`Cursor`](super::Cursor) is being read from. Cheap
/// to clone.
#[derive(Clone, Debug)]
pub struct Committer {
    state: Arc<CursorState>,
    shared: Arc<Shared>,
    /// The cursor's epoch when this was made or renewed.
    epoch: u64,
    epochs: watch::Receiver<u64>,
}

impl Committer {
    pub(super) fn new(state: Arc<CursorState>, shared: Arc<Shared>) -> Self {
        let epochs = state.epoch.subscribe();
        let epoch = *epochs.borrow();
        Self {
            state,
            shared,
            epoch,
            epochs,
        }
    }

    /// Everything below `offset` is done and will not be asked for again. Cheap: the writer thread
    /// stores it with its next sync. An offset below an earlier one changes nothing, and one beyond
    /// what was read counts as the end of that. After a [`Committer::rewind`] this does nothing until
    /// [`Committer::renew`].
    pub fn commit(&self, offset: u64) {
        if self.state.commit(self.epoch, offset) {
            self.shared.queue.note_commit();
        }
    }

    /// The offset below which everything is done.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.state.committed()
    }

    /// Moves the cursor back, or forward, to `offset`. It may be read from meanwhile: the reader
    /// learns of it by [`Committer::rewound`], and must not commit what it read before. Durable with
    /// the writer thread's next sync.
    ///
    /// # Errors
    /// The journal does not hold that offset.
    pub fn rewind(&self, offset: u64) -> Result<(), OffsetOutOfRange> {
        self.state.rewind(&self.shared.index(), offset)?;
        self.shared.queue.note_commit();
        Ok(())
    }

    /// Waits until the cursor has been moved by [`Committer::rewind`] since this was made or renewed.
    pub async fn rewound(&mut self) {
        let epoch = self.epoch;
        // Cannot fail: `state` holds the sender.
        let _ = self.epochs.wait_for(|now| *now != epoch).await;
    }

    /// Accepts the cursor's present place, so that commits count again. Whether it had been moved.
    pub fn renew(&mut self) -> bool {
        let before = std::mem::replace(&mut self.epoch, *self.epochs.borrow_and_update());
        before != self.epoch
    }

    /// How much is not done.
    #[must_use]
    pub fn lag(&self) -> CursorLag {
        self.state.lag(&self.shared.index())
    }

    /// Waits for records that the cursor passes over for good, from here on or not reported yet. Only
    /// one such listener may exist at a time.
    #[must_use]
    pub fn losses(&self) -> Losses {
        Losses::of(Arc::clone(&self.state))
    }

    /// Sets how far the sink may lag behind from now on. Whole segments are skipped, never the newest.
    pub fn limit(&self, backlog: Backlog) {
        *lock(&self.state.backlog) = Some(backlog);
    }

    /// Reads one record again that was read and is not done; `None` if it was removed. Works on the
    /// disk.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_again(&self, offset: u64) -> io::Result<Option<Entry>> {
        let position = self.state.position_of(&self.shared.index(), offset);
        let mut reader = LogReader::new(Arc::clone(&self.shared));
        let read = reader.read(position, ONE_RECORD_BYTES)?;
        let mut entries = read.entries.into_iter();
        Ok(entries.next().filter(|entry| entry.offset == offset))
    }
}
