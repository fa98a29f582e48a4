//! A sink's own view of the journal.
//!
//! | file | what |
//! |---|---|
//! | here | [`Cursor`], which reads |
//! | `committer` | [`Committer`], which says how far the sink has come |
//! | `register` | how a cursor is begun, or continued where it was |
//! | `state` | what the two share with the writer thread |
//! | `file` | the cursor on disk |
//! | `loss`, `losses` | records that it passed over for good, and how they are reported |

pub(super) mod committer;
pub(super) mod file;
pub(super) mod loss;
pub(super) mod losses;
mod register;
pub(super) mod state;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{io, mem};

use tokio::sync::watch;

use self::committer::Committer;
use self::state::CursorState;
use crate::journal::batch::Batch;
use crate::journal::error::OpenError;
use crate::journal::log::position::Position;
use crate::journal::log::reader::{LogReader, ReadRecords};
use crate::journal::options::Start;
use crate::journal::shared::{Progress, Shared};

/// How often reading at one position is tried before what the disk does not give back counts as
/// damaged.
const READ_ATTEMPTS: u32 = 5;

/// Why there is no batch.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The journal was closed, and everything in it has been read.
    #[error("the journal is closed")]
    Closed,
    /// The same read may succeed later.
    #[error("the journal cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads the journal for one sink. Only one exists at a time for each name.
#[derive(Debug)]
pub struct Cursor {
    state: Arc<CursorState>,
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    reader: LogReader,
    /// Where to read on.
    position: Position,
    /// Skipped records that the next batch will report.
    skipped: u64,
    /// Failed attempts to read at this position.
    failures: u32,
}

impl Cursor {
    /// Continues the cursor `name` where it was, or begins it at `start`, on the disk too.
    pub(super) fn register(
        shared: &Arc<Shared>,
        name: &str,
        start: Start,
    ) -> Result<Self, OpenError> {
        let mut cursors = shared.cursors();
        let state = match cursors.get(name) {
            Some(known) => Arc::clone(known),
            None => Arc::new(register::open(shared, name, start)?),
        };
        if state.in_use.swap(true, Ordering::AcqRel) {
            return Err(OpenError::InUse(name.to_owned()));
        }
        cursors.insert(name.to_owned(), Arc::clone(&state));
        // Segments that it had not passed may have been removed.
        let oldest = shared.index().oldest().unwrap_or_default();
        let skipped = state.skip_to(oldest);
        let position = register::resume(shared, &state);
        Ok(Self {
            state,
            shared: Arc::clone(shared),
            progress: shared.progress.subscribe(),
            reader: LogReader::new(Arc::clone(shared)),
            position,
            skipped,
            failures: 0,
        })
    }

    /// Waits until there is something to read, and reads about `max_bytes` of it: fewer where there
    /// is less, more where one record is larger. Dropping the future before it is ready loses nothing.
    ///
    /// # Errors
    /// See [`ReadError`]. The cursor stays where it is.
    pub async fn read(&mut self, max_bytes: usize) -> Result<Batch, ReadError> {
        loop {
            let progress = *self.progress.borrow_and_update();
            self.apply_skip();
            if progress.written > self.position.offset {
                let read = self.read_log(max_bytes).await?;
                if let Some(batch) = self.accept(read) {
                    return Ok(batch);
                }
            }
            if progress.closed || self.progress.changed().await.is_err() {
                return Err(ReadError::Closed);
            }
        }
    }

    async fn read_log(&mut self, max_bytes: usize) -> Result<(LogReader, ReadRecords), ReadError> {
        let mut reader = self.reader.clone();
        let position = self.position;
        let past_errors = self.failures >= READ_ATTEMPTS;
        let reading = tokio::task::spawn_blocking(move || {
            let read = if past_errors {
                reader.read_past_errors(position)?
            } else {
                reader.read(position, max_bytes)?
            };
            Ok((reader, read))
        });
        let result = reading.await.map_err(io::Error::other)?;
        self.failures = match result {
            Ok(_) => 0,
            Err(_) => self.failures + 1,
        };
        result
    }

    /// [`Cursor::read`] without a runtime, and without waiting.
    #[cfg(test)]
    pub(super) fn read_now(&mut self, max_bytes: usize) -> io::Result<Option<Batch>> {
        self.apply_skip();
        let mut reader = self.reader.clone();
        let read = reader.read(self.position, max_bytes)?;
        Ok(self.accept((reader, read)))
    }

    /// Moves forward to where the journal wants the cursor to be, if it was told to skip.
    fn apply_skip(&mut self) {
        let base = self.state.skip_below.load(Ordering::Acquire);
        if self.position.offset < base {
            self.skipped += base - self.position.offset;
            self.position = Position::start_of(base);
        }
    }

    fn accept(&mut self, (reader, read): (LogReader, ReadRecords)) -> Option<Batch> {
        let from = self.position.offset;
        self.reader = reader;
        self.position = read.next;
        self.skipped += read.skipped;
        let end = self.position.offset;
        if end == from {
            return None;
        }
        self.state.note_read(read.first, self.position);
        let batch = Batch {
            from,
            skipped: mem::take(&mut self.skipped),
            damaged: read.damaged,
            unknown: read.unknown,
            entries: read.entries,
            end,
        };
        self.state.count_unreadable(&batch);
        Some(batch)
    }

    /// Reads on at `offset`: back at a record whose sending failed.
    pub fn seek(&mut self, offset: u64) {
        self.skipped = 0;
        self.position = self.state.position_of(&self.shared.index(), offset);
    }

    /// A handle that says how far the sink has come.
    #[must_use]
    pub fn committer(&self) -> Committer {
        Committer::new(Arc::clone(&self.state), Arc::clone(&self.shared))
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.state.in_use.store(false, Ordering::Release);
    }
}
