//! A sink's own view of the journal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{io, mem};

use tokio::sync::watch;

use super::losses::Losses;
use super::reader::{Place, Reader, Window};
use super::record::Refusal;
use super::registered::{Behind, Outside, Registered};
use super::{OpenError, Progress, Shared, Start, lock};
use crate::config::Backlog;
use crate::frame::Frame;

/// How much is read at once to find one record.
const ONE_RECORD_BYTES: usize = 64 << 10;

/// How often a place is read that the disk does not give back, before it counts as damaged.
const READ_TRIES: u32 = 5;

/// A frame and its number in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub offset: u64,
    pub frame: Frame,
    /// It is a dead letter, and concerns the sink that refused it alone.
    pub refusal: Option<Box<Refusal>>,
}

/// Frames in the order in which they were appended. Their payloads share one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The offset at which reading it began; behind what was skipped.
    pub from: u64,
    /// Records between the batch before and this one that were dropped unread, by a limit.
    pub skipped: u64,
    /// Records between `from` and the first entry that are damaged beyond reading.
    pub damaged: u64,
    /// Records of a kind that this version does not know, passed over on the way to this batch's end.
    pub unknown: u64,
    /// Empty only where all that lies between `from` and `end` cannot be read.
    pub entries: Vec<Entry>,
    /// Everything below this offset is in this batch or those before it, or passed over.
    pub end: u64,
}

/// Why there is no batch.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The journal was closed, and everything in it has been read.
    #[error("the journal is closed")]
    Closed,
    /// It may work later, from the same place.
    #[error("the journal cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads from its own place on, and says how far its sink has come. One at a time for each name.
#[derive(Debug)]
pub struct Cursor {
    registered: Arc<Registered>,
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    reader: Reader,
    place: Place,
    /// What was let go of and is to be said with the next batch.
    skipped: u64,
    /// How often reading at this place has failed.
    failures: u32,
}

/// Says how far a sink has come, also while its [`Cursor`] is being read from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Committer {
    registered: Arc<Registered>,
    shared: Arc<Shared>,
    /// The cursor's when this was made or renewed.
    epoch: u64,
    epochs: watch::Receiver<u64>,
}

impl Committer {
    /// Everything below `offset` is done and will not be asked for again. Cheap: it is stored by the
    /// writer thread, with its next sync. An offset below an earlier one changes nothing, and one
    /// beyond what was read counts as that. After a [`Committer::rewind`] nothing is done until
    /// [`Committer::renew`].
    pub fn commit(&self, offset: u64) {
        if self.registered.commit(self.epoch, offset) {
            self.shared.queue.note_commit();
        }
    }

    /// The offset below which everything is done.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.registered.committed()
    }

    /// Moves the cursor back, or forth, to `offset`, while it may be read from: whoever reads finds
    /// out by [`Committer::rewound`], and what was read before is not to be committed. Durable with
    /// the writer thread's next sync.
    ///
    /// # Errors
    /// The journal does not hold that offset.
    pub fn rewind(&self, offset: u64) -> Result<(), Outside> {
        self.registered.rewind(&self.shared, offset)?;
        self.shared.queue.note_commit();
        Ok(())
    }

    /// Waits until the cursor was moved since this was made or renewed.
    pub async fn rewound(&mut self) {
        let epoch = self.epoch;
        // The sender is in `registered`: it is always there.
        let _ = self.epochs.wait_for(|now| *now != epoch).await;
    }

    /// Goes on from where the cursor is now; tells whether it was moved.
    pub fn renew(&mut self) -> bool {
        let before = std::mem::replace(&mut self.epoch, *self.epochs.borrow_and_update());
        before != self.epoch
    }

    /// How much is not done.
    #[must_use]
    pub fn behind(&self) -> Behind {
        self.registered.behind(&self.shared)
    }

    /// What the cursor passes over for good, from here on or not told yet. One listener at a time.
    #[must_use]
    pub fn losses(&self) -> Losses {
        Losses::of(Arc::clone(&self.registered))
    }

    /// Says how far the sink may lag behind from now on. Whole segments are skipped, and never the
    /// newest.
    pub fn limit(&self, backlog: Backlog) {
        *lock(&self.registered.backlog) = Some(backlog);
    }

    /// Reads one record again that was read and is not done; `None` if it is gone. Works on the disk.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_again(&self, offset: u64) -> io::Result<Option<Entry>> {
        let place = self.registered.place(&self.shared, offset);
        let mut reader = Reader::new(Arc::clone(&self.shared));
        let window = reader.read(place, ONE_RECORD_BYTES)?;
        let mut entries = window.entries.into_iter();
        Ok(entries.next().filter(|entry| entry.offset == offset))
    }
}

impl Cursor {
    /// Takes up the cursor `name` where it was, or begins it at `start`, on the disk too.
    pub(super) fn register(
        shared: &Arc<Shared>,
        name: &str,
        start: Start,
    ) -> Result<Self, OpenError> {
        let mut cursors = shared.cursors();
        let registered = match cursors.get(name) {
            Some(known) => Arc::clone(known),
            None => Arc::new(Registered::open(shared, name, start)?),
        };
        if registered.in_use.swap(true, Ordering::AcqRel) {
            return Err(OpenError::InUse(name.to_owned()));
        }
        cursors.insert(name.to_owned(), Arc::clone(&registered));
        // Segments may be gone that it had not passed.
        let oldest = shared.index().oldest().unwrap_or_default();
        let skipped = registered.skip_to(oldest);
        let place = registered.resume(shared);
        Ok(Self {
            registered,
            shared: Arc::clone(shared),
            progress: shared.progress.subscribe(),
            reader: Reader::new(Arc::clone(shared)),
            place,
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
            self.heed_floor();
            if progress.written > self.place.offset {
                let window = self.pass(max_bytes).await?;
                if let Some(batch) = self.accept(window) {
                    return Ok(batch);
                }
            }
            if progress.closed || self.progress.changed().await.is_err() {
                return Err(ReadError::Closed);
            }
        }
    }

    async fn pass(&mut self, max_bytes: usize) -> Result<(Reader, Window), ReadError> {
        let mut reader = self.reader.clone();
        let place = self.place;
        let past_errors = self.failures >= READ_TRIES;
        let pass = tokio::task::spawn_blocking(move || {
            let window = if past_errors {
                reader.read_past_errors(place)?
            } else {
                reader.read(place, max_bytes)?
            };
            Ok((reader, window))
        });
        let result = pass.await.map_err(io::Error::other)?;
        self.failures = match result {
            Ok(_) => 0,
            Err(_) => self.failures + 1,
        };
        result
    }

    /// [`Cursor::read`] without a runtime, and without waiting.
    #[cfg(test)]
    pub(super) fn read_now(&mut self, max_bytes: usize) -> io::Result<Option<Batch>> {
        self.heed_floor();
        let mut reader = self.reader.clone();
        let window = reader.read(self.place, max_bytes)?;
        Ok(self.accept((reader, window)))
    }

    /// Passes over what was skipped for this cursor.
    fn heed_floor(&mut self) {
        let floor = self.registered.floor.load(Ordering::Acquire);
        if self.place.offset < floor {
            self.skipped += floor - self.place.offset;
            self.place = Place {
                segment: floor,
                position: 0,
                offset: floor,
            };
        }
    }

    fn accept(&mut self, (reader, window): (Reader, Window)) -> Option<Batch> {
        let from = self.place.offset;
        self.reader = reader;
        self.place = window.next;
        self.skipped += window.skipped;
        let end = self.place.offset;
        if end == from {
            return None;
        }
        self.registered.was_read(window.first, self.place);
        let batch = Batch {
            from,
            skipped: mem::take(&mut self.skipped),
            damaged: window.damaged,
            unknown: window.unknown,
            entries: window.entries,
            end,
        };
        self.registered.count(&batch);
        Some(batch)
    }

    /// Reads on at `offset`: back to a record whose sending failed.
    pub fn seek(&mut self, offset: u64) {
        self.skipped = 0;
        self.place = self.registered.place(&self.shared, offset);
    }

    /// A handle that says how far the sink has come.
    #[must_use]
    pub fn committer(&self) -> Committer {
        let epochs = self.registered.epoch.subscribe();
        let epoch = *epochs.borrow();
        Committer {
            registered: Arc::clone(&self.registered),
            shared: Arc::clone(&self.shared),
            epoch,
            epochs,
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.registered.in_use.store(false, Ordering::Release);
    }
}
