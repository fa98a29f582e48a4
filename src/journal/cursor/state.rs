//! What the journal knows of a cursor: how far its sink has come, and how much of that is stored.

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

use super::file::{CursorFile, StoredCursor};
use super::loss::{Loss, LossCause, UnreportedLosses};
use crate::config::Backlog;
use crate::frame::Timestamp;
use crate::journal::batch::Batch;
use crate::journal::log::index::Index;
use crate::journal::log::position::Position;
use crate::sync::lock;

/// A cursor, as it is shared by its [`Cursor`](super::Cursor), its committers and the writer thread.
#[derive(Debug)]
pub(crate) struct CursorState {
    /// A [`Cursor`](super::Cursor) reads from it.
    pub(super) in_use: AtomicBool,
    committed: Mutex<Committed>,
    /// Records below this offset that were not read yet are skipped.
    pub(super) skip_below: AtomicU64,
    /// How far the cursor may lag behind; `None`: without limit.
    pub(super) backlog: Mutex<Option<Backlog>>,
    /// The lowest offset that the cursor's file may hold.
    stored: AtomicU64,
    /// The last attempt to write the file has not succeeded: it may hold that offset or `stored`.
    store_failed: AtomicBool,
    file: Mutex<CursorFile>,
    pub(crate) skipped: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(super) unreported_losses: UnreportedLosses,
    /// Changes with each rewind: what was read before then must not be committed.
    pub(super) epoch: watch::Sender<u64>,
    /// Damaged and unknown records below this offset have been counted. After a rewind they are read
    /// again, and not counted again.
    counted_to: AtomicU64,
}

/// What a cursor's sink has yet to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CursorLag {
    pub records: u64,
    /// Bytes in the journal's files; perhaps a little more than those of `records`.
    pub bytes: u64,
    /// When the first frame was received of the segment in which the lag begins.
    pub since: Option<Timestamp>,
}

/// The journal does not hold this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal holds the offsets {oldest} to {end}")]
pub struct OffsetOutOfRange {
    pub oldest: u64,
    pub end: u64,
}

#[derive(Debug)]
struct Committed {
    /// Everything below is done.
    offset: u64,
    /// The newest known position of a record that is not beyond `offset`.
    near: Position,
    /// The first record of each batch that was read and is not done yet.
    batch_starts: VecDeque<Position>,
    /// The end of what was read so far.
    read_to: Position,
}

impl Committed {
    fn at(offset: u64, near: Position) -> Self {
        Self {
            offset,
            near,
            batch_starts: VecDeque::new(),
            read_to: near.seek(offset),
        }
    }
}

impl CursorState {
    pub(super) fn new(stored: StoredCursor, file: CursorFile) -> Self {
        Self {
            in_use: AtomicBool::new(false),
            committed: Mutex::new(Committed::at(stored.offset, stored.near)),
            skip_below: AtomicU64::new(0),
            backlog: Mutex::default(),
            stored: AtomicU64::new(stored.offset),
            store_failed: AtomicBool::new(false),
            file: Mutex::new(file),
            skipped: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            unreported_losses: UnreportedLosses::default(),
            epoch: watch::Sender::new(0),
            counted_to: AtomicU64::new(0),
        }
    }

    /// Everything below this offset is done.
    pub(crate) fn committed(&self) -> u64 {
        lock(&self.committed).offset
    }

    /// The lowest offset that the cursor's file may hold.
    pub(crate) fn stored(&self) -> u64 {
        self.stored.load(Ordering::Acquire)
    }

    /// Nothing from this offset on may be removed.
    pub(crate) fn needed(&self) -> u64 {
        // After a rewind the stored offset is the higher one.
        self.stored().min(self.committed())
    }

    pub(crate) fn backlog(&self) -> Option<Backlog> {
        *lock(&self.backlog)
    }

    /// How much is not done.
    pub(crate) fn lag(&self, index: &Index) -> CursorLag {
        let committed = self.committed();
        let records = index.end.saturating_sub(committed);
        if records == 0 {
            return CursorLag::default();
        }
        let segment = index.containing(committed).and_then(|base| index.get(base));
        CursorLag {
            records,
            bytes: self.lag_bytes(index),
            since: segment.and_then(|segment| segment.received_at),
        }
    }

    /// Bytes of what is not done, and perhaps of a little before.
    pub(crate) fn lag_bytes(&self, index: &Index) -> u64 {
        let (offset, near) = {
            let committed = lock(&self.committed);
            (committed.offset, committed.near)
        };
        match index.containing(offset) {
            // The end of the segment of `near` was rewritten to another one after a failed sync.
            Some(base) if base != near.segment => index.bytes_from(base, 0),
            _ => index.bytes_from(near.segment, near.byte),
        }
    }

    /// Begins to read anew at the first record that is not done. Its offset, and the nearest position
    /// that is known.
    pub(super) fn restart(&self) -> (u64, Position) {
        let mut committed = lock(&self.committed);
        committed.batch_starts.clear();
        (committed.offset, committed.near)
    }

    /// Notes what was read: `first` is the first record of the batch, if there is one, and `to` the
    /// position behind it.
    pub(super) fn note_read(&self, first: Option<Position>, to: Position) {
        let mut committed = lock(&self.committed);
        if committed.read_to.offset < to.offset {
            committed.read_to = to;
        }
        let last = committed.batch_starts.back().map(|last| last.offset);
        if let Some(first) = first
            && last.is_none_or(|last| last < first.offset)
        {
            committed.batch_starts.push_back(first);
        }
    }

    /// Counts what could not be read on the way to a batch's end, unless it was counted before.
    /// Damaged records lie before the batch's first entry.
    pub(super) fn count_unreadable(&self, batch: &Batch) {
        let first = batch
            .entries
            .first()
            .map_or(batch.end, |entry| entry.offset);
        let counted_to = self.counted_to.fetch_max(batch.end, Ordering::Relaxed);
        if batch.damaged > 0 && first > counted_to {
            self.damaged.fetch_add(batch.damaged, Ordering::Relaxed);
            self.unreported_losses.add(Loss {
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

    /// Where to read on at `offset`.
    pub(super) fn position_of(&self, index: &Index, offset: u64) -> Position {
        match self.position_before(offset) {
            Some(position) => position.seek(offset),
            None => Position::of(index, offset),
        }
    }

    /// The newest known position of a record at or before `offset`.
    fn position_before(&self, offset: u64) -> Option<Position> {
        let committed = lock(&self.committed);
        let known = committed.batch_starts.iter().rev().chain([&committed.near]);
        known.copied().find(|position| position.offset <= offset)
    }

    /// Marks everything below `offset` as done. Whether that changed anything.
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
        while let Some(start) = committed
            .batch_starts
            .front()
            .copied()
            .filter(|start| start.offset <= offset)
        {
            committed.near = start;
            committed.batch_starts.pop_front();
        }
        if offset == read_to.offset {
            committed.near = read_to;
        }
        true
    }

    /// Moves the cursor to `offset`, back or forward.
    pub(super) fn rewind(&self, index: &Index, offset: u64) -> Result<(), OffsetOutOfRange> {
        let (oldest, end) = (index.oldest().unwrap_or_default(), index.end);
        if !(oldest..=end).contains(&offset) {
            return Err(OffsetOutOfRange { oldest, end });
        }
        let near = Position::start_of(index.containing(offset).unwrap_or_default());
        let mut committed = lock(&self.committed);
        *committed = Committed::at(offset, near);
        self.skip_below.store(0, Ordering::Release);
        self.epoch.send_modify(|epoch| *epoch += 1);
        Ok(())
    }

    /// Skips everything that is not done before `base`, where a segment begins, and counts it. How
    /// many records that is.
    pub(crate) fn skip_to(&self, base: u64) -> u64 {
        let mut committed = lock(&self.committed);
        let skipped = base.saturating_sub(committed.offset);
        if skipped > 0 {
            let start = Position::start_of(base);
            committed.offset = base;
            committed.near = start;
            committed
                .batch_starts
                .retain(|position| position.offset > base);
            if committed.read_to.offset < base {
                committed.read_to = start;
            }
            self.skip_below.store(base, Ordering::Release);
            self.skipped.fetch_add(skipped, Ordering::Relaxed);
            self.unreported_losses.add(Loss {
                cause: LossCause::Skipped,
                records: skipped,
                first: base - skipped,
                end: base,
            });
        }
        skipped
    }

    /// What the cursor's file should hold, if that differs from what it holds for sure.
    pub(crate) fn unstored(&self) -> Option<StoredCursor> {
        let committed = lock(&self.committed);
        let differs =
            committed.offset != self.stored() || self.store_failed.load(Ordering::Acquire);
        differs.then(|| StoredCursor {
            offset: committed.offset,
            near: committed.near,
        })
    }

    /// Writes the cursor's file; durable when it returns. All records before `to` must be synced.
    pub(crate) fn store(&self, to: &StoredCursor) -> io::Result<()> {
        let mut file = lock(&self.file);
        self.store_failed.store(true, Ordering::Release);
        self.stored.fetch_min(to.offset, Ordering::AcqRel);
        file.write(to)?;
        self.stored.store(to.offset, Ordering::Release);
        self.store_failed.store(false, Ordering::Release);
        Ok(())
    }
}
