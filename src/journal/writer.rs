//! Everything that changes the files, step by step; [`thread`](super::thread) says when.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::index::Segment;
use super::queue::Batch;
use super::recovery::{Active, Recovery, recover};
use super::storage::{Storage, write_all_at};
use super::{Limits, MAX_PAYLOAD_BYTES, QUEUE_BYTES, Shared, segment};
use crate::frame::Timestamp;

/// Written batches are kept until they are synced; with this much a sync is due at once. Bounds
/// memory beside the queue.
const UNSYNCED_BYTES: usize = 16 << 20;

/// More than this is never unsynced: what makes a sync due, and a batch of one record of the largest
/// size. A batch of several is smaller.
pub(super) const MOST_UNSYNCED_BYTES: u64 = (UNSYNCED_BYTES + 2 * MAX_PAYLOAD_BYTES) as u64;

/// Buffers of synced batches are kept for the next ones up to so many bytes, all together: fresh
/// memory costs a page fault every four kibibytes.
const SPARE_BYTES: usize = 2 * QUEUE_BYTES as usize;

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) limits: Limits,
    pub(super) active: Active,
    /// The active segment's length when it was last synced.
    synced_len: u64,
    synced: u64,
    /// Written since then, in order.
    unsynced: Vec<Batch>,
    /// A sync has failed: the active file's unsynced bytes may never reach the disk.
    suspect: bool,
    spare: Vec<Vec<u8>>,
}

impl Writer {
    pub(super) fn open(storage: Arc<dyn Storage>, limits: Limits) -> io::Result<(Self, Recovery)> {
        let (index, active, recovery) = recover(&*storage)?;
        let end = index.end;
        let writer = Self {
            shared: Arc::new(Shared::new(storage, index, limits.queue)),
            limits,
            synced_len: active.len,
            active,
            synced: end,
            unsynced: Vec::new(),
            suspect: false,
            spare: Vec::new(),
        };
        writer.shared.numbers.recovered(&recovery);
        Ok((writer, recovery))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A buffer for the next batch.
    pub(super) fn spare(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    pub(super) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// So much is unsynced that the timer should not be waited for.
    pub(super) fn must_sync(&self) -> bool {
        let bytes: usize = self.unsynced.iter().map(|batch| batch.bytes.len()).sum();
        bytes >= UNSYNCED_BYTES
    }

    /// Records that were written and not synced.
    pub(super) fn unsynced_records(&self) -> u64 {
        self.shared.index().end - self.synced
    }

    /// Writes a batch behind the last, and shows it to readers. After an error nothing has changed:
    /// the same batch can be written again.
    pub(super) fn write(&mut self, batch: Batch) -> Result<(), (Batch, io::Error)> {
        if let Err(error) = self
            .prepare()
            .and_then(|()| write_all_at(&*self.active.file, &batch.bytes, self.active.len))
        {
            return Err((batch, error));
        }
        self.active.len += batch.bytes.len() as u64;
        {
            let mut index = self.shared.index();
            index.end = batch.end_offset;
            if let Some(segment) = index.get_mut(self.active.base) {
                segment.len = self.active.len;
                segment.received_at = segment.received_at.or(batch.received_at);
            }
        }
        self.shared.numbers.appended(&batch);
        self.shared.queue.release(batch.room);
        self.shared
            .progress
            .send_modify(|progress| progress.written = batch.end_offset);
        self.unsynced.push(batch);
        self.keep_limits();
        Ok(())
    }

    /// Sees to a file that can be written to.
    fn prepare(&mut self) -> io::Result<()> {
        if self.suspect || self.active.len >= self.limits.segment {
            self.sync()?;
        }
        if self.active.len >= self.limits.segment {
            self.rotate()?;
        }
        Ok(())
    }

    /// Begins a new segment; all is synced.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        let storage = &self.shared.storage;
        let base = self.synced;
        let file = storage.create(&segment::name(base))?;
        storage.sync_folder("")?;
        self.shared.index().insert(base, Segment::empty(0));
        self.active = Active { base, file, len: 0 };
        self.synced_len = 0;
        Ok(())
    }

    /// Makes all that is written survive the loss of power. After an error it can be repeated.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let start = Instant::now();
        if self.suspect {
            self.begin_anew()?;
        } else if self.has_unsynced() {
            self.active
                .file
                .sync()
                .inspect_err(|_| self.suspect = true)?;
        } else {
            return Ok(());
        }
        self.shared.numbers.synced(start.elapsed());
        self.note_synced();
        Ok(())
    }

    fn note_synced(&mut self) {
        self.suspect = false;
        self.synced_len = self.active.len;
        if let Some(last) = self.unsynced.last() {
            self.synced = last.end_offset;
        }
        let mut kept: usize = self.spare.iter().map(Vec::capacity).sum();
        for mut batch in self.unsynced.drain(..) {
            kept += batch.bytes.capacity();
            if kept > SPARE_BYTES {
                break;
            }
            batch.bytes.clear();
            self.spare.push(batch.bytes);
        }
        let synced = self.synced;
        self.shared
            .progress
            .send_modify(|progress| progress.synced = synced);
    }

    /// After a failed sync: writes what is unsynced to a fresh file, since the old one's pages may
    /// be marked as clean without being on the disk. It becomes a segment only when it is durable.
    fn begin_anew(&mut self) -> io::Result<()> {
        let storage = &self.shared.storage;
        let base = self.synced;
        let file = storage.create(segment::UNFINISHED)?;
        let mut len = 0;
        for batch in &self.unsynced {
            write_all_at(&*file, &batch.bytes, len)?;
            len += batch.bytes.len() as u64;
        }
        file.sync()?;
        storage.rename(segment::UNFINISHED, &segment::name(base))?;
        storage.sync_folder("")?;
        if base != self.active.base {
            // Should this fail, what follows is still not read: the next segment begins before it.
            let _ = self.active.file.truncate(self.synced_len);
        }
        {
            let mut index = self.shared.index();
            let generation = index.get(base).map_or(0, |segment| segment.generation + 1);
            if let Some(old) = index.get_mut(self.active.base) {
                old.len = self.synced_len;
            }
            index.insert(
                base,
                Segment {
                    len,
                    generation,
                    received_at: self.unsynced.first().and_then(|batch| batch.received_at),
                },
            );
        }
        self.active = Active { base, file, len };
        Ok(())
    }

    /// Stores the cursors that have moved, as far as what they have passed is synced.
    pub(super) fn store_cursors(&mut self) -> io::Result<()> {
        let registered: Vec<_> = self.shared.cursors().values().cloned().collect();
        for cursor in registered {
            cursor.store(self.synced)?;
        }
        Ok(())
    }

    /// Removes the segments that every cursor has passed in its stored form, and that need not be
    /// kept longer.
    pub(super) fn remove_passed(&mut self) -> io::Result<()> {
        let now = Timestamp::now().0;
        self.remove_passed_before(now.saturating_sub(self.limits.retain_micros))
    }

    /// The same for frames that were received before `keep_from`, in microseconds.
    pub(super) fn remove_passed_before(&mut self, keep_from: i64) -> io::Result<()> {
        let cursors = self.shared.cursors();
        let passed = cursors.values().map(|cursor| cursor.needed()).min();
        drop(cursors);
        let passed = passed.unwrap_or(self.synced);
        let mut removed = false;
        while let Some((base, end)) = self.oldest_closed()
            && end <= passed
            && self.received_before(end, keep_from)
        {
            self.remove(base)?;
            removed = true;
        }
        if removed {
            self.shared.storage.sync_folder("")?;
        }
        Ok(())
    }

    /// Whether the frame that the segment `base` begins with came no later than a time: those of the
    /// segment before it came earlier still.
    fn received_before(&self, base: u64, micros: i64) -> bool {
        let segment = self.shared.index().get(base);
        let received_at = segment.and_then(|segment| segment.received_at);
        received_at.is_none_or(|received_at| received_at.0 <= micros)
    }

    pub(super) fn oldest_closed(&self) -> Option<(u64, u64)> {
        self.shared.index().oldest_closed()
    }

    /// Readers that look for the segment go on at the next; those that have it open keep it.
    pub(super) fn remove(&mut self, base: u64) -> io::Result<()> {
        let segment = self.shared.index().remove(base);
        match self.shared.storage.remove(&segment::name(base)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                if let Some(segment) = segment {
                    self.shared.index().insert(base, segment);
                }
                Err(error)
            }
            _ => Ok(()),
        }
    }
}
