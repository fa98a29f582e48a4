//! One log on disk, many readers: frames are appended as they come from Central's sockets, and each
//! sink reads them with a cursor of its own.
//!
//! ```text
//!  Appender ─┐                          ┌─ Cursor "lake"
//!  Appender ─┼─▶ queue ─▶ writer thread ┤     segments are read with their own file handles
//!  Appender ─┘   (bytes)  write ─▶ sync └─ Cursor "work"
//! ```
//!
//! # Layout
//!
//! ```text
//! journal/
//!   lock                          held while a process has the journal open; its pid
//!   00000000000000000000.log      a segment: records 0 to 41 999
//!   00000000000000042000.log      the next one; only the last segment is written to
//!   cursors/lake.cursor           how far the sink `lake` has come
//!   damaged/                      copies of damaged bytes, named after segment and position
//! ```
//!
//! A segment is named after the offset of its first record: the number of records that were
//! appended before it since the journal began. It holds records one after the other, nothing else.
//! A segment ends where the next one begins: records in it whose offset is not below the next
//! segment's name do not count.
//!
//! # Record
//!
//! All integers are little-endian.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic, `F7 43 46 31`: a reader looks for it after damage |
//! | 4 | 4 | CRC32C of everything after it, up to the record's end |
//! | 8 | 4 | length of the body |
//! | 12 | 1 | kind: 1 is a frame, 2 a dead letter; a reader passes over kinds that it does not know |
//! | 13 | 3 | zero |
//! | 16 | 8 | offset: the record's number, one more than that of the record before |
//! | 24 | 8 | when it was received: microseconds since the Unix epoch, signed |
//! | 32 | | body |
//!
//! The body of a frame: length of the account's name (2), length of the stream's text form (2), the
//! name, the text form ([`Stream`](crate::frame::Stream)'s `Display`), and the payload up to the end.
//!
//! A dead letter is a frame that a sink refused for good or that cannot be decoded. Its body is that
//! of the frame, and before the payload: when it was refused (8, as above), how often (4), length of
//! the sink's name (2), length of the reason (2), the name, the reason. Dead letters are a journal of
//! their own, in a folder `dead-letters` beside this one, with a cursor for each sink: the letters
//! before it were dealt with. A dead letter in the main journal is one that is to be tried again, by
//! that sink alone.
//!
//! # Cursor
//!
//! A cursor file has two slots of 4096 bytes, written in turn; the valid one with the higher count
//! is the cursor. A slot is text: the count, the offset below which everything is done, the position of
//! a record at or before that offset, and a CRC32C. The older slot is overwritten in place: that is
//! atomic, and needs one sync and no room, so that a full disk does not keep cursors from moving and
//! segments from being removed.
//!
//! # What is true when
//!
//! *Append.* What [`Appender::append`] has taken is in memory. The writer thread writes everything that
//! waits at once; from then on readers see it, and it survives the death of the process.
//!
//! *Sync.* At most `sync_interval` after the first unsynced byte a sync of the segment begins, by a
//! timer that needs no further append; when it has ended, what was written before it began survives
//! the loss of power. A thread of its own does it: writing goes on meanwhile, and what is written then
//! belongs to the next sync. Unsynced records are kept in memory too: after a failed sync the page
//! cache cannot be trusted, so they are written to a new file, which is synced and then renamed to a
//! segment that begins with the first of them. Until that has succeeded nothing more is written, and
//! appenders wait.
//!
//! *Cursors* are stored after a sync that covers what they have passed, never before: a stored
//! cursor does not point past what a loss of power leaves. If one does so all the same, the journal
//! goes on at the highest offset that any cursor has passed, so that no offset is given twice.
//!
//! *Rotation.* The old segment is synced, the new file is created and the folder synced before a
//! record in the new one is reported as synced. A crash in between leaves an empty last segment.
//!
//! *Removal.* A segment is removed when every cursor that is registered has passed it **in its
//! stored form**; oldest first, the folder synced after. Cursor files of sinks that are not
//! registered keep nothing alive.
//!
//! *Opening* checks every record of the last segment and only the first record of the others: they were
//! synced when they were closed, and are checked while they are read. What follows the last valid
//! record of the last segment is an incomplete write, and is cut off. Records that are damaged
//! elsewhere, or that the disk cannot read in several attempts, are passed over to the next valid one,
//! and reported by the cursor that meets them. What was cut off or passed over is copied to `damaged`,
//! within limits.
//!
//! *Full.* A cursor that lags further behind than its [`Backlog`](crate::config::Backlog) allows skips
//! forward to the start of a segment, without effect on other cursors; the newest segment is never
//! skipped. When the journal as a whole is beyond its limit, or the disk is full, the oldest segment is
//! dropped, and the cursors that had not passed it skip it. What a cursor skipped is counted, logged at
//! once, and reported in its next [`Batch`]. For cursors that must not skip, appenders wait instead. On
//! a full disk, segments that all cursors have passed, and that are only retained, are removed first.
//!
//! *In memory* ([`Location::Memory`]) the same code runs over files in memory.

mod batch;
mod counters;
mod cursor;
mod error;
mod inspect;
mod log;
mod options;
mod rewind_to;
mod shared;
mod stats;
mod storage;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;
use tokio_util::sync::WaitForCancellationFutureOwned;

pub use self::batch::{Batch, Entry};
pub use self::cursor::committer::Committer;
pub use self::cursor::loss::{Loss, LossCause};
pub use self::cursor::losses::Losses;
pub use self::cursor::state::{CursorLag, OffsetOutOfRange};
pub use self::cursor::{Cursor, ReadError};
pub use self::error::{CloseError, OpenError};
pub use self::inspect::{CursorInfo, Inspector, RewindError, SegmentSummary, forget, rewind};
pub use self::log::appender::Appender;
pub use self::log::queue::AppendError;
pub use self::log::record::{MAX_PAYLOAD_BYTES, Refusal};
pub use self::log::recovery::Recovery;
pub use self::log::scan::Damage;
pub use self::options::{Location, Options, Start};
pub use self::rewind_to::{InvalidRewindTarget, RewindTo};
pub use self::shared::Progress;
pub use self::stats::{CursorStats, Stats};

use self::log::thread;
use self::log::writer::Writer;
use self::options::Limits;
use self::shared::Shared;
use self::storage::Storage;
use self::storage::disk::{Disk, Lock};
use self::storage::memory::Memory;

/// An open journal. Dropping it closes it as [`Journal::close`] does, but errors are only logged.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    recovery: Recovery,
    thread: Option<JoinHandle<Result<(), CloseError>>>,
    /// Released when the thread has ended.
    _lock: Option<Lock>,
}

impl Journal {
    /// Opens or creates a journal, repairs what a crash left, and registers a cursor for each sink.
    /// Returns the cursors in the same order. From here on only these keep segments from being removed.
    ///
    /// Works on the disk: a few milliseconds, and up to a second for a large last segment that is
    /// not in the page cache.
    ///
    /// # Errors
    /// Another process has the journal open, a name is given twice, or the disk fails.
    pub fn open(
        options: &Options,
        cursors: &[(&str, Start)],
    ) -> Result<(Self, Vec<Cursor>), OpenError> {
        let (storage, lock): (Arc<dyn Storage>, _) = match &options.location {
            Location::Directory(folder) => {
                let (disk, lock) = Disk::open(folder)?;
                (Arc::new(disk), Some(lock))
            }
            Location::Memory { .. } => (Arc::new(Memory::default()), None),
        };
        Self::start(storage, lock, options, cursors)
    }

    fn start(
        storage: Arc<dyn Storage>,
        lock: Option<Lock>,
        options: &Options,
        cursors: &[(&str, Start)],
    ) -> Result<(Self, Vec<Cursor>), OpenError> {
        let (writer, recovery) = Writer::open(storage, Limits::new(options))?;
        let shared = Arc::clone(writer.shared());
        let cursors = cursors
            .iter()
            .map(|(name, start)| Cursor::register(&shared, name, *start))
            .collect::<Result<_, _>>()?;
        warn_of_unused_cursors(&shared)?;
        let thread = thread::spawn(writer, options.sync_interval)?;
        let journal = Self {
            shared,
            recovery,
            thread: Some(thread),
            _lock: lock,
        };
        Ok((journal, cursors))
    }

    /// A handle to append with; clones share one queue.
    #[must_use]
    pub fn appender(&self) -> Appender {
        Appender::new(Arc::clone(&self.shared))
    }

    /// Registers one more cursor while the journal is open, or continues one whose [`Cursor`] was
    /// dropped. Works on the disk.
    ///
    /// # Errors
    /// The cursor is in use, or the disk fails.
    pub fn register(&self, name: &str, start: Start) -> Result<Cursor, OpenError> {
        Cursor::register(&self.shared, name, start)
    }

    /// Keeps no segment for this cursor any longer. Its file stays, so that it can be registered again.
    pub fn unregister(&self, name: &str) {
        self.shared.cursors().remove(name);
        self.shared.queue.note_commit();
    }

    /// How far the journal has come, and each change of it.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// Waits until the writer thread has ended, whether the journal was closed or the thread panicked.
    pub fn ended(&self) -> WaitForCancellationFutureOwned {
        self.shared.ended.clone().cancelled_owned()
    }

    /// The offset that the next frame will get. Frames before it may still wait to be written.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.shared.queue.next_offset()
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The journal's numbers at this moment. Takes a few locks for a short time, and no disk work.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.shared)
    }

    /// A handle that gives [`Stats`], also after [`Journal::close`].
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer(Arc::clone(&self.shared))
    }

    /// Takes no more frames, writes and syncs those that wait, stores the cursors, and releases the
    /// lock. Cursors that are still read from end with [`ReadError::Closed`].
    ///
    /// # Errors
    /// The disk failed, so that frames that are not synced may be lost.
    pub async fn close(mut self) -> Result<(), CloseError> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        self.shared.queue.close();
        let joined = tokio::task::spawn_blocking(move || join(thread)).await;
        joined.unwrap_or_else(|stopped| {
            Err(CloseError {
                unsynced: 0,
                cause: io::Error::other(stopped),
            })
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.queue.close();
            if let Err(error) = join(thread) {
                tracing::error!(%error, "the journal was not closed cleanly");
            }
        }
    }
}

/// A cursor whose sink is no longer in the config keeps no segment from being removed. Its file stays,
/// in case the sink returns.
fn warn_of_unused_cursors(shared: &Shared) -> io::Result<()> {
    let used = shared.cursors();
    for name in cursor::file::names(&*shared.storage)? {
        if !used.contains_key(&name) {
            tracing::warn!(
                cursor = name,
                "no sink has this name: nothing is kept for it (`journal forget --sink NAME` forgets it)"
            );
        }
    }
    Ok(())
}

fn join(thread: JoinHandle<Result<(), CloseError>>) -> Result<(), CloseError> {
    thread.join().unwrap_or_else(|_| {
        Err(CloseError {
            unsynced: 0,
            cause: io::Error::other("the writer thread panicked"),
        })
    })
}

/// Observes an open journal without keeping it open.
#[derive(Clone, Debug)]
pub struct Observer(Arc<Shared>);

impl Observer {
    /// The journal's numbers at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.0)
    }

    /// Reads the records. Works on the disk.
    #[must_use]
    pub fn inspect(&self) -> Inspector {
        Inspector::of(&self.0)
    }
}
