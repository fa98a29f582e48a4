//! A sink's own view of the journal.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::{io, mem};

use tokio::sync::watch;

use super::cursor_file::{CursorFile, Found, Mark, Stored};
use super::index::Index;
use super::reader::{Place, Reader, Window};
use super::record::{HEADER_BYTES, Header, Refusal};
use super::storage::read_up_to;
use super::{OpenError, Progress, Shared, Start, lock, segment};
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
    /// Records between the batch before and this one that were dropped unread, by a limit.
    pub skipped: u64,
    /// Records between the batch before and this one that are damaged beyond reading.
    pub damaged: u64,
    /// Records of a kind that this version does not know, passed over on the way to this batch's end.
    pub unknown: u64,
    /// Never empty.
    pub entries: Vec<Entry>,
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
    /// What was passed over and belongs to the next batch.
    skipped: u64,
    damaged: u64,
    unknown: u64,
    /// How often reading at this place has failed.
    failures: u32,
}

/// What the writer thread knows of a cursor.
#[derive(Debug)]
pub(super) struct Registered {
    in_use: AtomicBool,
    committed: Mutex<Committed>,
    /// What lies before is skipped, if it is not read yet.
    floor: AtomicU64,
    /// How far the cursor may lag behind; `None`: as far as it likes.
    backlog: Mutex<Option<Backlog>>,
    /// The offset in the cursor's file.
    stored: AtomicU64,
    file: Mutex<CursorFile>,
    pub(super) skipped: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) unknown: AtomicU64,
    /// What was passed over below is counted: it may be read again.
    counted_to: AtomicU64,
}

#[derive(Debug)]
struct Committed {
    /// Everything below is done.
    offset: u64,
    /// The newest mark that is not beyond `offset`.
    near: Mark,
    /// The first record of each batch that was read and is not done yet.
    marks: VecDeque<Mark>,
    /// The furthest that was read to.
    read_to: Place,
}

/// Says how far a sink has come, also while its [`Cursor`] is being read from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Committer {
    registered: Arc<Registered>,
    shared: Arc<Shared>,
}

impl Committer {
    /// Everything below `offset` is done and will not be asked for again. Cheap: it is stored by the
    /// writer thread, with its next sync. An offset below an earlier one changes nothing, and one
    /// beyond what was read counts as that.
    pub fn commit(&self, offset: u64) {
        if self.registered.commit(offset) {
            self.shared.queue.note_commit();
        }
    }

    /// The offset below which everything is done.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.registered.committed()
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
        let place = registered.resume(shared);
        Ok(Self {
            registered,
            shared: Arc::clone(shared),
            progress: shared.progress.subscribe(),
            reader: Reader::new(Arc::clone(shared)),
            place,
            skipped: 0,
            damaged: 0,
            unknown: 0,
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
        self.reader = reader;
        self.place = window.next;
        self.skipped += window.skipped;
        self.damaged += window.damaged;
        self.unknown += window.unknown;
        let first = window.first?;
        self.registered.was_read(first, self.place);
        let batch = Batch {
            skipped: mem::take(&mut self.skipped),
            damaged: mem::take(&mut self.damaged),
            unknown: mem::take(&mut self.unknown),
            entries: window.entries,
        };
        self.registered.count(&batch, self.place.offset);
        Some(batch)
    }

    /// Reads on at `offset`: back to a record whose sending failed.
    pub fn seek(&mut self, offset: u64) {
        self.skipped = 0;
        self.damaged = 0;
        self.unknown = 0;
        self.place = self.registered.place(&self.shared, offset);
    }

    /// Says how far the sink may lag behind from now on. Whole segments are skipped, and never the
    /// newest.
    pub fn limit(&self, backlog: Backlog) {
        *lock(&self.registered.backlog) = Some(backlog);
    }

    /// A handle that says how far the sink has come.
    #[must_use]
    pub fn committer(&self) -> Committer {
        Committer {
            registered: Arc::clone(&self.registered),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.registered.in_use.store(false, Ordering::Release);
    }
}

impl Registered {
    fn open(shared: &Shared, name: &str, start: Start) -> io::Result<Self> {
        let storage = &*shared.storage;
        let begin = match CursorFile::open(storage, name) {
            Ok((mut file, Found::Good(stored))) => {
                file.settle(&stored)?;
                return Ok(Self::new(stored, file));
            }
            Ok((_, Found::Empty)) => start,
            Ok((_, Found::Bad)) => {
                tracing::error!(
                    cursor = name,
                    "the cursor's file is damaged: beginning at the oldest record"
                );
                Start::Oldest
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => start,
            Err(error) => return Err(error),
        };
        let stored = begin_at(shared, begin);
        let file = CursorFile::create(storage, name, &stored)?;
        Ok(Self::new(stored, file))
    }

    fn new(stored: Stored, file: CursorFile) -> Self {
        Self {
            in_use: AtomicBool::new(false),
            committed: Mutex::new(Committed {
                offset: stored.offset,
                near: stored.near,
                marks: VecDeque::new(),
                read_to: Place::near(stored.near, stored.offset),
            }),
            floor: AtomicU64::new(0),
            backlog: Mutex::default(),
            stored: AtomicU64::new(stored.offset),
            file: Mutex::new(file),
            skipped: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            counted_to: AtomicU64::new(0),
        }
    }

    /// Counts what was passed over before the offset `to`, unless it was counted when it was read
    /// before.
    fn count(&self, batch: &Batch, to: u64) {
        if self.counted_to.fetch_max(to, Ordering::Relaxed) < to {
            self.skipped.fetch_add(batch.skipped, Ordering::Relaxed);
            self.damaged.fetch_add(batch.damaged, Ordering::Relaxed);
            self.unknown.fetch_add(batch.unknown, Ordering::Relaxed);
        }
    }

    /// Where to read on after the last that is done.
    fn resume(&self, shared: &Shared) -> Place {
        let mut committed = lock(&self.committed);
        committed.marks.clear();
        if holds(shared, committed.near) {
            Place::near(committed.near, committed.offset)
        } else {
            Place::of(shared, committed.offset)
        }
    }

    pub(super) fn committed(&self) -> u64 {
        lock(&self.committed).offset
    }

    pub(super) fn stored(&self) -> u64 {
        self.stored.load(Ordering::Acquire)
    }

    pub(super) fn backlog(&self) -> Option<Backlog> {
        *lock(&self.backlog)
    }

    /// Bytes of what is not done, and perhaps of a little before. The mark may be in a segment whose
    /// end was written anew elsewhere.
    pub(super) fn lag(&self, index: &Index) -> u64 {
        let (offset, near) = {
            let committed = lock(&self.committed);
            (committed.offset, committed.near)
        };
        match index.containing(offset) {
            Some(base) if base != near.segment => index.bytes_from(base, 0),
            _ => index.bytes_from(near.segment, near.position),
        }
    }

    /// Lets go of everything before `base`, where a segment begins. Tells how many records that is.
    pub(super) fn skip_to(&self, base: u64) -> u64 {
        let mut committed = lock(&self.committed);
        let skipped = base.saturating_sub(committed.offset);
        if skipped > 0 {
            let near = Mark {
                offset: base,
                segment: base,
                position: 0,
            };
            committed.offset = base;
            committed.near = near;
            committed.marks.retain(|mark| mark.offset > base);
            if committed.read_to.offset < base {
                committed.read_to = Place::near(near, base);
            }
            self.floor.store(base, Ordering::Release);
        }
        skipped
    }

    fn was_read(&self, mark: Mark, to: Place) {
        let mut committed = lock(&self.committed);
        if committed.read_to.offset < to.offset {
            committed.read_to = to;
        }
        if committed
            .marks
            .back()
            .is_none_or(|last| last.offset < mark.offset)
        {
            committed.marks.push_back(mark);
        }
    }

    /// Where to read on at `offset`.
    fn place(&self, shared: &Shared, offset: u64) -> Place {
        match self.mark_before(offset) {
            Some(mark) => Place::near(mark, offset),
            None => Place::of(shared, offset),
        }
    }

    /// The newest mark at or before `offset`.
    fn mark_before(&self, offset: u64) -> Option<Mark> {
        let committed = lock(&self.committed);
        let marks = committed.marks.iter().rev().chain([&committed.near]);
        marks.copied().find(|mark| mark.offset <= offset)
    }

    /// Whether something has changed.
    fn commit(&self, offset: u64) -> bool {
        let mut committed = lock(&self.committed);
        let read_to = committed.read_to;
        let offset = offset.min(read_to.offset);
        if offset <= committed.offset {
            return false;
        }
        committed.offset = offset;
        while let Some(mark) = committed
            .marks
            .front()
            .copied()
            .filter(|mark| mark.offset <= offset)
        {
            committed.near = mark;
            committed.marks.pop_front();
        }
        if offset == read_to.offset {
            committed.near = Mark {
                offset,
                segment: read_to.segment,
                position: read_to.position,
            };
        }
        true
    }

    /// Stores the cursor, if it has moved. Nothing beyond `synced` must have been read, or it waits.
    pub(super) fn store(&self, synced: u64) -> io::Result<bool> {
        let stored = {
            let committed = lock(&self.committed);
            Stored {
                offset: committed.offset,
                near: committed.near,
            }
        };
        if stored.offset == self.stored() || stored.offset > synced {
            return Ok(false);
        }
        lock(&self.file).write(&stored)?;
        self.stored.store(stored.offset, Ordering::Release);
        Ok(true)
    }
}

fn begin_at(shared: &Shared, start: Start) -> Stored {
    let index = shared.index();
    let near = match (start, index.oldest(), index.last()) {
        (Start::Oldest, Some(oldest), _) => Mark {
            offset: oldest,
            segment: oldest,
            position: 0,
        },
        (_, _, last) => {
            let (segment, position) = last.unwrap_or_default();
            Mark {
                offset: index.end,
                segment,
                position,
            }
        }
    };
    Stored {
        offset: near.offset,
        near,
    }
}

/// Whether the mark's record is where the mark says. If it cannot be read now, it is not.
fn holds(shared: &Shared, mark: Mark) -> bool {
    let (segment, at_end) = {
        let index = shared.index();
        let Some(segment) = index.get(mark.segment) else {
            return false;
        };
        let last = index.last() == Some((mark.segment, mark.position));
        (segment, last && mark.offset == index.end)
    };
    let header = || {
        let file = shared.storage.open(&segment::name(mark.segment)).ok()?;
        Header::parse(&read_up_to(&*file, mark.position, HEADER_BYTES).ok()?)
    };
    at_end
        || (mark.position < segment.len
            && header().is_some_and(|header| header.offset == mark.offset))
}
