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
//!   damaged/                      bytes of segments that are no records: segment, position
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
//! | 0 | 4 | magic, `F7 43 46 31`: where a reader finds its feet again after damage |
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
//! before it were dealt with. A dead letter in the main journal is one that is to be tried again: it
//! concerns that sink alone.
//!
//! # Cursor
//!
//! A cursor file has two slots of 4096 bytes, written in turn; the valid one with the higher count
//! is the cursor. A slot is text: the count, the offset below which everything is done, a place in a
//! segment from which that offset is near, and a CRC32C. Writing in place into the slot that is not
//! in force is atomic, needs one sync and no room, so that a full disk does not keep cursors from
//! moving and segments from being removed.
//!
//! # What is true when
//!
//! *Append.* What [`Appender::append`] has taken is in memory. The writer thread puts everything that
//! waits into one write; from then on readers see it, and it survives the death of the process.
//!
//! *Sync.* At most `sync_interval` after the first unsynced byte a sync of the segment begins, by a
//! timer that needs no further append; when it has ended, what was written before it began survives
//! the loss of power. It is done by a thread of its own: writing goes on meanwhile, and what is
//! written then belongs to the next sync. What is unsynced is kept in memory too: after a failed
//! sync the page cache cannot be trusted, so the unsynced records are written to a fresh file, which
//! is synced and then renamed to a segment that begins with the first of them. Until that has
//! succeeded nothing more is written, and appenders wait.
//!
//! *Cursors* are stored after a sync that covers what they have passed, never before: a stored
//! cursor does not point past what a power cut leaves. Should one do so all the same, the journal
//! goes on at the highest offset that any cursor has passed: no offset is given twice.
//!
//! *Rotation.* The old segment is synced, the new file is created and the folder synced before a
//! record in the new one is reported as synced. A crash in between leaves an empty last segment.
//!
//! *Removal.* A segment is removed when every cursor that is registered has passed it **in its
//! stored form**; oldest first, the folder synced after. Cursor files of sinks that are not
//! registered keep nothing alive.
//!
//! *Opening* checks every record of the last segment and only looks at the first record of the others:
//! they were synced when they were closed, and are checked while they are read. What follows the
//! last good record of the last segment is a torn tail, and is cut. Records that are damaged
//! elsewhere, or that the disk does not give back when it is asked several times, are passed over to
//! the next good one, and reported by the cursor that meets them. What was cut or passed over is
//! kept in `damaged`, within limits.
//!
//! *Full.* A cursor that lags further behind than its [`Backlog`](crate::config::Backlog) allows skips
//! forward to the start of a segment, alone; the newest is never skipped. When the journal as a whole
//! is beyond its limit, or the disk is full, the oldest segment is dropped, and the cursors that had
//! not passed it skip it. What a cursor skipped is counted, logged at once, and said in its next
//! [`Batch`]. Cursors that must not skip do not: appenders wait for them instead. Segments that all
//! cursors have passed, and that are only retained, are the first to go from a full disk.
//!
//! *In memory* ([`Location::Memory`]) the same code runs over files in memory.

mod aside;
mod cursor;
mod cursor_file;
mod index;
mod inspect;
mod limits;
mod losses;
#[cfg(test)]
mod model;
mod options;
mod queue;
mod reader;
mod record;
mod recovery;
mod registered;
mod rewind_to;
mod segment;
#[cfg(test)]
mod sim;
mod stats;
mod storage;
mod syncing;
mod thread;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

pub use self::cursor::{Batch, Committer, Cursor, Entry, ReadError};
pub use self::inspect::{CursorInfo, Inspector, RewindError, SegmentInfo, forget, rewind};
pub use self::losses::{Loss, LossCause, Losses};
pub use self::options::{Location, Options, Start};
pub use self::queue::{AppendError, Appender};
pub use self::record::{MAX_PAYLOAD_BYTES, Refusal};
pub use self::recovery::{Damage, Recovery};
pub use self::registered::{Behind, Outside};
pub use self::rewind_to::{NoPlace, RewindTo};
pub use self::stats::{CursorStats, Stats};

use self::index::Index;
use self::options::{Limits, QUEUE_BYTES};
use self::queue::Queue;
use self::registered::Registered;
use self::stats::Numbers;
use self::storage::{Disk, Lock, Memory, Storage};
use self::writer::Writer;
use crate::sync::lock;

/// How far the journal has come: offsets of the first record that is not yet so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub written: u64,
    pub synced: u64,
    /// The writer thread has ended: nothing more will come.
    pub closed: bool,
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the journal in {} is in use by another process{}", folder.display(), named(*pid))]
    Locked {
        folder: PathBuf,
        /// As that process wrote it down.
        pid: Option<u32>,
    },
    #[error("the journal cannot be opened: {0}")]
    Io(#[from] io::Error),
    #[error("the cursor {0:?} is already in use")]
    InUse(String),
}

fn named(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// What could not be made safe when the journal was closed.
#[derive(Debug, thiserror::Error)]
#[error("{unsynced} records could not be synced to the journal: {cause}")]
pub struct CloseError {
    /// Records that were appended, and may be lost.
    pub unsynced: u64,
    pub cause: io::Error,
}

/// An open journal. Dropped without [`Journal::close`] it is closed all the same, and errors are
/// only logged.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    recovery: Recovery,
    thread: Option<JoinHandle<Result<(), CloseError>>>,
    /// Given back when the thread has ended.
    _lock: Option<Lock>,
}

/// What the writer thread, appenders and cursors have in common.
#[derive(Debug)]
struct Shared {
    storage: Arc<dyn Storage>,
    queue: Queue,
    index: Mutex<Index>,
    cursors: Mutex<BTreeMap<String, Arc<Registered>>>,
    progress: watch::Sender<Progress>,
    /// Beside `progress`, which is told of each batch: who waits for the end sleeps until then.
    ended: CancellationToken,
    numbers: Numbers,
}

impl Journal {
    /// Opens or begins a journal, repairs what a crash left, and registers a cursor for each sink;
    /// the cursors come back in the same order. From here on only these keep segments alive.
    ///
    /// Works on the disk: a few milliseconds, and up to a second for a large last segment that is
    /// not in the page cache.
    ///
    /// # Errors
    /// Another process has the journal, the same name is given twice, or the disk fails.
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
        report_unused(&shared)?;
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

    /// Registers one more cursor while the journal runs, or takes up one whose [`Cursor`] is gone.
    /// Works on the disk.
    ///
    /// # Errors
    /// The cursor is in use, or the disk fails.
    pub fn register(&self, name: &str, start: Start) -> Result<Cursor, OpenError> {
        Cursor::register(&self.shared, name, start)
    }

    /// Keeps no segment alive for this cursor any longer. Its file stays, for its return.
    pub fn let_go(&self, name: &str) {
        self.shared.cursors().remove(name);
        self.shared.queue.note_commit();
    }

    /// How far the journal has come, and each change of it.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// Waits until the writer thread has ended, however that came.
    pub fn ended(&self) -> WaitForCancellationFutureOwned {
        self.shared.ended.clone().cancelled_owned()
    }

    /// The offset that the next frame gets: those before it were taken, and may wait to be written.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.shared.queue.next_offset()
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// All numbers at this moment. Takes a few short locks, no disk work.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.shared)
    }

    /// A handle that gives [`Stats`] for as long as it is kept, also after [`Journal::close`].
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer(Arc::clone(&self.shared))
    }

    /// Takes no more frames, writes and syncs what waits, stores the cursors, and gives the lock
    /// back. Cursors that are still read from end with [`ReadError::Closed`].
    ///
    /// # Errors
    /// The disk failed at the last: frames that are not synced may be lost.
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

/// A sink that is gone from the config keeps no segment alive; its cursor stays, for its return.
fn report_unused(shared: &Shared) -> io::Result<()> {
    let used = shared.cursors();
    for name in cursor_file::names(&*shared.storage)? {
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

/// Looks at a journal without owning it.
#[derive(Clone, Debug)]
pub struct Observer(Arc<Shared>);

impl Observer {
    /// All numbers at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.0)
    }

    /// Looks at the records. Reading works on the disk.
    #[must_use]
    pub fn inspect(&self) -> Inspector {
        Inspector::of(&self.0)
    }
}

impl Shared {
    fn new(storage: Arc<dyn Storage>, index: Index, queue_bytes: u32) -> Self {
        let end = index.end;
        Self {
            storage,
            queue: Queue::new(queue_bytes, end),
            index: Mutex::new(index),
            cursors: Mutex::default(),
            progress: watch::Sender::new(Progress {
                written: end,
                synced: end,
                closed: false,
            }),
            ended: CancellationToken::new(),
            numbers: Numbers::default(),
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    fn cursors(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Registered>>> {
        lock(&self.cursors)
    }
}
