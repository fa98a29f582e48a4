//! What the writer thread knows of a cursor: how far it has come, and what is stored of that.

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

use super::cursor::Batch;
use super::cursor_file::{CursorFile, Found, Mark, Stored};
use super::index::Index;
use super::losses::{Loss, LossCause, Untold};
use super::reader::Place;
use super::record::{HEADER_BYTES, Header};
use super::storage::read_up_to;
use super::{Shared, Start, lock, segment};
use crate::config::Backlog;
use crate::frame::Timestamp;

/// What the writer thread knows of a cursor.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) in_use: AtomicBool,
    committed: Mutex<Committed>,
    /// What lies before is skipped, if it is not read yet.
    pub(super) floor: AtomicU64,
    /// How far the cursor may lag behind; `None`: as far as it likes.
    pub(super) backlog: Mutex<Option<Backlog>>,
    /// The lowest offset that the cursor's file may hold.
    stored: AtomicU64,
    /// Writing the file has begun and not ended well: it holds this offset or another.
    unsure: AtomicBool,
    file: Mutex<CursorFile>,
    pub(super) skipped: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) untold: Untold,
    /// Changes when the cursor is moved back: what was read before then is not to be committed.
    pub(super) epoch: watch::Sender<u64>,
    /// What was passed over below is counted: it may be read again.
    counted_to: AtomicU64,
}

/// What a cursor's sink has yet to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    pub records: u64,
    /// In the journal's files; perhaps a little more than what is not done.
    pub bytes: u64,
    /// When the first frame was received of the segment in which it begins.
    pub since: Option<Timestamp>,
}

/// The journal does not hold this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal holds the offsets {oldest} to {end}")]
pub struct Outside {
    pub oldest: u64,
    pub end: u64,
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

impl Registered {
    pub(super) fn open(shared: &Shared, name: &str, start: Start) -> io::Result<Self> {
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

    pub(super) fn new(stored: Stored, file: CursorFile) -> Self {
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
            unsure: AtomicBool::new(false),
            file: Mutex::new(file),
            skipped: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            untold: Untold::default(),
            epoch: watch::Sender::new(0),
            counted_to: AtomicU64::new(0),
        }
    }

    /// Counts what could not be read on the way to a batch's end, unless it was read before. What is
    /// damaged lies before the batch's first entry.
    pub(super) fn count(&self, batch: &Batch) {
        let first = batch
            .entries
            .first()
            .map_or(batch.end, |entry| entry.offset);
        let counted_to = self.counted_to.fetch_max(batch.end, Ordering::Relaxed);
        if batch.damaged > 0 && first > counted_to {
            self.damaged.fetch_add(batch.damaged, Ordering::Relaxed);
            self.untold.add(Loss {
                cause: LossCause::Damaged,
                records: batch.damaged,
                first: batch.from,
                end: first,
            });
        }
        if batch.from >= counted_to {
            self.unknown.fetch_add(batch.unknown, Ordering::Relaxed);
        }
    }

    /// Where to read on after the last that is done.
    pub(super) fn resume(&self, shared: &Shared) -> Place {
        let (offset, near) = {
            let mut committed = lock(&self.committed);
            committed.marks.clear();
            (committed.offset, committed.near)
        };
        if holds(shared, near) {
            Place::near(near, offset)
        } else {
            Place::of(shared, offset)
        }
    }

    pub(super) fn committed(&self) -> u64 {
        lock(&self.committed).offset
    }

    pub(super) fn stored(&self) -> u64 {
        self.stored.load(Ordering::Acquire)
    }

    /// Nothing from here on may be removed.
    pub(super) fn needed(&self) -> u64 {
        // A cursor that was just moved back is stored further on.
        self.stored().min(self.committed())
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

    pub(super) fn behind(&self, shared: &Shared) -> Behind {
        let index = shared.index();
        let committed = self.committed();
        let records = index.end.saturating_sub(committed);
        if records == 0 {
            return Behind::default();
        }
        let segment = index.containing(committed).and_then(|base| index.get(base));
        Behind {
            records,
            bytes: self.lag(&index),
            since: segment.and_then(|segment| segment.received_at),
        }
    }

    /// Lets go of everything before `base`, where a segment begins, and counts it. Tells how many
    /// records that is.
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
            self.skipped.fetch_add(skipped, Ordering::Relaxed);
            self.untold.add(Loss {
                cause: LossCause::Skipped,
                records: skipped,
                first: base - skipped,
                end: base,
            });
        }
        skipped
    }

    /// `mark`: of the first record that was read, if there is one.
    pub(super) fn was_read(&self, mark: Option<Mark>, to: Place) {
        let mut committed = lock(&self.committed);
        if committed.read_to.offset < to.offset {
            committed.read_to = to;
        }
        let last = committed.marks.back().map(|last| last.offset);
        if let Some(mark) = mark
            && last.is_none_or(|last| last < mark.offset)
        {
            committed.marks.push_back(mark);
        }
    }

    /// Where to read on at `offset`.
    pub(super) fn place(&self, shared: &Shared, offset: u64) -> Place {
        match self.mark_before(offset) {
            Some(mark) => Place::near(mark, offset),
            None => Place::of(shared, offset),
        }
    }

    /// The newest mark at or before `offset`.
    pub(super) fn mark_before(&self, offset: u64) -> Option<Mark> {
        let committed = lock(&self.committed);
        let marks = committed.marks.iter().rev().chain([&committed.near]);
        marks.copied().find(|mark| mark.offset <= offset)
    }

    /// Moves back to `offset`, or to the oldest record if that is gone.
    pub(super) fn rewind(&self, shared: &Shared, offset: u64) -> Result<(), Outside> {
        let index = shared.index();
        let (oldest, end) = (index.oldest().unwrap_or_default(), index.end);
        if !(oldest..=end).contains(&offset) {
            return Err(Outside { oldest, end });
        }
        let segment = index.containing(offset).unwrap_or_default();
        let near = Mark {
            offset: segment,
            segment,
            position: 0,
        };
        let mut committed = lock(&self.committed);
        *committed = Committed {
            offset,
            near,
            marks: VecDeque::new(),
            read_to: Place::near(near, offset),
        };
        self.floor.store(0, Ordering::Release);
        self.epoch.send_modify(|epoch| *epoch += 1);
        Ok(())
    }

    /// Whether something has changed.
    pub(super) fn commit(&self, epoch: u64, offset: u64) -> bool {
        let mut committed = lock(&self.committed);
        if *self.epoch.borrow() != epoch {
            return false;
        }
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

    /// What is to be stored, if the cursor has moved since.
    pub(super) fn moved(&self) -> Option<Stored> {
        let committed = lock(&self.committed);
        let moved = committed.offset != self.stored() || self.unsure.load(Ordering::Acquire);
        moved.then(|| Stored {
            offset: committed.offset,
            near: committed.near,
        })
    }

    /// Durable when it returns. What it has passed must be synced.
    pub(super) fn store(&self, to: &Stored) -> io::Result<()> {
        let mut file = lock(&self.file);
        self.unsure.store(true, Ordering::Release);
        self.stored.fetch_min(to.offset, Ordering::AcqRel);
        file.write(to)?;
        self.stored.store(to.offset, Ordering::Release);
        self.unsure.store(false, Ordering::Release);
        Ok(())
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
