//! Everything that changes the files, step by step; [`thread`](super::thread) says when.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::cursor_file::Stored;
use super::index::Segment;
use super::queue::Batch;
use super::recovery::{Active, Recovery, recover};
use super::registered::Registered;
use super::storage::{Storage, write_all_at};
use super::syncing::{Ended, SyncJob, Syncing};
use super::{Limits, MAX_PAYLOAD_BYTES, QUEUE_BYTES, Shared, segment};
use crate::frame::Timestamp;

/// Room for appenders is made each time that so much of a batch is written.
const PART_BYTES: usize = 1 << 20;

/// With this much unsynced a sync is due at once.
const UNSYNCED_BYTES: usize = 12 << 20;

/// Written batches are kept until they are synced. While a sync is under way and so much is kept,
/// nothing more is written. Bounds memory beside the queue.
const KEPT_BYTES: usize = 2 * UNSYNCED_BYTES;

/// More than this is never unsynced: what may be kept, and a batch of one record of the largest
/// size. A batch of several is smaller.
pub(super) const MOST_UNSYNCED_BYTES: u64 = (KEPT_BYTES + 2 * MAX_PAYLOAD_BYTES) as u64;

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
    /// Written, and covered by no sync that has begun, in order.
    unsynced: Vec<Batch>,
    unsynced_bytes: usize,
    /// A sync that is under way.
    syncing: Option<Syncing>,
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
            unsynced_bytes: 0,
            syncing: None,
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

    /// So much is unsynced that the timer should not be waited for.
    pub(super) fn must_sync(&self) -> bool {
        self.unsynced_bytes >= UNSYNCED_BYTES
    }

    /// Whether nothing more is to be written before the sync that is under way has ended.
    pub(super) fn is_full(&self) -> bool {
        let syncing = self.syncing.as_ref();
        syncing.is_some_and(|syncing| syncing.bytes + self.unsynced_bytes >= KEPT_BYTES)
    }

    pub(super) fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// A sync has failed: only [`Writer::sync`] helps.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Records that were written and not synced.
    pub(super) fn unsynced_records(&self) -> u64 {
        self.shared.index().end - self.synced
    }

    /// Writes a batch behind the last, and shows it to readers. After an error nothing has changed:
    /// the same batch can be written again.
    pub(super) fn write(&mut self, mut batch: Batch) -> Result<(), (Batch, io::Error)> {
        if let Err(error) = self.prepare().and_then(|()| self.write_parts(&mut batch)) {
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
        self.shared.queue.release(std::mem::take(&mut batch.room));
        self.shared
            .progress
            .send_modify(|progress| progress.written = batch.end_offset);
        self.unsynced_bytes += batch.bytes.len();
        self.unsynced.push(batch);
        self.keep_limits();
        Ok(())
    }

    /// Appenders get room part by part, so that the next batch fills while this one is written.
    fn write_parts(&self, batch: &mut Batch) -> io::Result<()> {
        let mut position = self.active.len;
        for part in batch.bytes.chunks(PART_BYTES) {
            write_all_at(&*self.active.file, part, position)?;
            position += part.len() as u64;
            let room = part.len().min(batch.room);
            batch.room -= room;
            self.shared.queue.release(room);
        }
        Ok(())
    }

    /// Whether the next write needs another file first, and so the end of every sync.
    pub(super) fn needs_file(&self) -> bool {
        self.suspect || self.active.len >= self.limits.segment
    }

    /// Sees to a file that can be written to.
    fn prepare(&mut self) -> io::Result<()> {
        if self.needs_file() {
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

    /// Begins to make all that is written survive the loss of power, and then to store the cursors
    /// that have moved, if that is asked for. Writing may go on meanwhile. There must be no sync under
    /// way, nor one that has failed.
    pub(super) fn start_sync(&mut self, with_cursors: bool) -> SyncJob {
        let cursors = if with_cursors {
            // What they have passed was read, so it is written, and covered.
            self.moved_cursors().collect()
        } else {
            Vec::new()
        };
        let batches = std::mem::take(&mut self.unsynced);
        let file = (!batches.is_empty()).then(|| Arc::clone(&self.active.file));
        let bytes = std::mem::take(&mut self.unsynced_bytes);
        let shared = Arc::clone(&self.shared);
        let (job, syncing) = SyncJob::new(file, cursors, shared, batches, bytes, self.active.len);
        self.syncing = Some(syncing);
        job
    }

    /// Takes notice of the end of the sync that is under way, if it has ended.
    pub(super) fn poll_sync(&mut self) -> Option<Ended> {
        let ended = self.syncing.as_ref()?.try_wait()?;
        Some(self.end_sync(ended))
    }

    /// Waits for the sync that is under way, and tells whether the cursors were stored; that it has
    /// failed is made good by the next one.
    fn wait_for_sync(&mut self) -> io::Result<()> {
        let Some(syncing) = &self.syncing else {
            return Ok(());
        };
        let ended = syncing.wait();
        let Ended { synced, result, .. } = self.end_sync(ended);
        synced.map_or(Ok(()), |_| result)
    }

    fn end_sync(&mut self, ended: Ended) -> Ended {
        let Some(syncing) = self.syncing.take() else {
            return ended;
        };
        if let Some(took) = ended.synced {
            if !syncing.batches.is_empty() {
                self.shared.numbers.synced(took);
            }
            self.note_synced(syncing.batches, syncing.len);
        } else {
            self.suspect = true;
            self.unsynced_bytes += syncing.bytes;
            self.unsynced.splice(0..0, syncing.batches);
        }
        ended
    }

    /// Makes all that is written survive the loss of power before it returns. After an error it can
    /// be repeated.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let stored = self.wait_for_sync();
        let start = Instant::now();
        if self.suspect {
            self.begin_anew()?;
        } else if !self.unsynced.is_empty() {
            self.active
                .file
                .sync()
                .inspect_err(|_| self.suspect = true)?;
        } else {
            return stored;
        }
        self.shared.numbers.synced(start.elapsed());
        let batches = std::mem::take(&mut self.unsynced);
        self.unsynced_bytes = 0;
        self.note_synced(batches, self.active.len);
        stored
    }

    /// `len`: of the active segment.
    fn note_synced(&mut self, batches: Vec<Batch>, len: u64) {
        self.suspect = false;
        self.synced_len = len;
        if let Some(last) = batches.last() {
            self.synced = last.end_offset;
        }
        let mut kept: usize = self.spare.iter().map(Vec::capacity).sum();
        for mut batch in batches {
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
        let synced = self.synced;
        let moved: Vec<_> = self.moved_cursors().collect();
        for (cursor, to) in moved {
            if to.offset <= synced {
                cursor.store(&to)?;
            }
        }
        Ok(())
    }

    fn moved_cursors(&self) -> impl Iterator<Item = (Arc<Registered>, Stored)> {
        let registered: Vec<_> = self.shared.cursors().values().cloned().collect();
        registered
            .into_iter()
            .filter_map(|cursor| cursor.moved().map(|to| (cursor, to)))
    }

    /// Removes the segments that every cursor has passed in its stored form, and that need not be
    /// kept longer.
    pub(super) fn remove_passed(&mut self) -> io::Result<()> {
        let now = Timestamp::now().0;
        self.remove_passed_before(now.saturating_sub(self.limits.retain_micros))
    }

    /// The same for frames that were received before `keep_from`, in microseconds.
    pub(super) fn remove_passed_before(&mut self, keep_from: i64) -> io::Result<()> {
        let mut removed = false;
        while let Some((base, segment)) = self.take_passed(keep_from) {
            self.remove_file(base, segment)?;
            removed = true;
        }
        if removed {
            self.shared.storage.sync_folder("")?;
        }
        Ok(())
    }

    /// Takes the oldest segment out of the index, if it need not be kept. A cursor that is moved back
    /// meanwhile is so before, and keeps it, or after, and does not find it.
    fn take_passed(&self, keep_from: i64) -> Option<(u64, Segment)> {
        let cursors = self.shared.cursors();
        let mut index = self.shared.index();
        let needed = cursors.values().map(|cursor| cursor.needed()).min();
        let (base, end) = index.oldest_closed()?;
        // The frames of the segment before came earlier than the first of the next one.
        let received_at = index.get(end).and_then(|next| next.received_at);
        let is_passed = end <= needed.unwrap_or(self.synced);
        let is_old = received_at.is_none_or(|received_at| received_at.0 <= keep_from);
        let segment = (is_passed && is_old).then(|| index.remove(base))??;
        Some((base, segment))
    }

    pub(super) fn oldest_closed(&self) -> Option<(u64, u64)> {
        self.shared.index().oldest_closed()
    }

    /// Removes a segment that was taken out of the index, or puts it back. Readers that look for it
    /// go on at the next; those that have it open keep it.
    pub(super) fn remove_file(&mut self, base: u64, segment: Segment) -> io::Result<()> {
        let removed = self.shared.storage.remove(&segment::name(base));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.shared.index().insert(base, segment);
                Err(error)
            }
            _ => Ok(()),
        }
    }
}
