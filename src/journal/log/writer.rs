//! Everything that changes the log's files, step by step. The [thread](super::thread) says when.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::index::SegmentInfo;
use super::queue::QueuedBatch;
use super::recovery::{ActiveSegment, Recovery, recover};
use super::segment;
use super::syncing::{SyncJob, SyncOutcome, Syncing};
use crate::frame::Timestamp;
use crate::journal::cursor::file::StoredCursor;
use crate::journal::cursor::state::CursorState;
use crate::journal::options::{Limits, MAX_KEPT_BYTES, QUEUE_BYTES, SYNC_BYTES};
use crate::journal::shared::Shared;
use crate::journal::storage::{Storage, write_all_at};

/// Appenders get room each time that this much of a batch has been written.
const PART_BYTES: usize = 1 << 20;

/// Buffers of synced batches are reused, up to this many bytes together: new memory costs a page fault
/// for every 4 KiB.
const MAX_POOLED_BYTES: usize = 2 * QUEUE_BYTES as usize;

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
    pub(crate) active: ActiveSegment,
    /// The active segment's length when it was last synced.
    synced_len: u64,
    /// The offset after the last record that is synced.
    synced: u64,
    /// Written batches that no running sync covers, in order.
    unsynced: Vec<QueuedBatch>,
    unsynced_bytes: usize,
    /// The sync that is running.
    syncing: Option<Syncing>,
    /// The last sync failed: the active file's unsynced bytes may never reach the disk.
    sync_failed: bool,
    buffer_pool: Vec<Vec<u8>>,
}

impl Writer {
    pub(crate) fn open(storage: Arc<dyn Storage>, limits: Limits) -> io::Result<(Self, Recovery)> {
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
            sync_failed: false,
            buffer_pool: Vec::new(),
        };
        writer.shared.counters.recovered(&recovery);
        Ok((writer, recovery))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A buffer for the next batch.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        self.buffer_pool.pop().unwrap_or_default()
    }

    /// So much is unsynced that a sync should begin before its timer.
    pub(crate) fn must_sync(&self) -> bool {
        self.unsynced_bytes >= SYNC_BYTES
    }

    /// Whether nothing more may be written before the running sync has ended.
    pub(crate) fn is_full(&self) -> bool {
        let syncing = self.syncing.as_ref();
        syncing.is_some_and(|syncing| syncing.bytes + self.unsynced_bytes >= MAX_KEPT_BYTES)
    }

    pub(crate) fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// The last sync failed. [`Writer::sync`] repairs that.
    pub(crate) fn has_failed_sync(&self) -> bool {
        self.sync_failed
    }

    /// Records that were written and are not synced.
    pub(crate) fn unsynced_records(&self) -> u64 {
        self.shared.index().end - self.synced
    }

    /// Writes a batch at the end, and lets readers see it. After an error nothing has changed: the same
    /// batch can be written again.
    pub(crate) fn write(&mut self, mut batch: QueuedBatch) -> Result<(), (QueuedBatch, io::Error)> {
        if let Err(error) = self
            .prepare_file()
            .and_then(|()| self.write_parts(&mut batch))
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
        self.shared.counters.appended(&batch);
        self.shared.queue.release(std::mem::take(&mut batch.room));
        self.shared
            .progress
            .send_modify(|progress| progress.written = batch.end_offset);
        self.unsynced_bytes += batch.bytes.len();
        self.unsynced.push(batch);
        self.keep_limits();
        Ok(())
    }

    /// Gives appenders room part by part, so that they fill the next batch while this one is written.
    fn write_parts(&self, batch: &mut QueuedBatch) -> io::Result<()> {
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

    /// Whether the next write first needs a new file, and so waits for the running sync.
    pub(crate) fn needs_file(&self) -> bool {
        self.sync_failed || self.active.len >= self.limits.segment
    }

    /// Makes sure that the active file can be written to.
    fn prepare_file(&mut self) -> io::Result<()> {
        if self.needs_file() {
            self.sync()?;
        }
        if self.active.len >= self.limits.segment {
            self.rotate()?;
        }
        Ok(())
    }

    /// Begins a new segment. Everything written must be synced.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        let storage = &self.shared.storage;
        let base = self.synced;
        let file = storage.create(&segment::name(base))?;
        storage.sync_folder("")?;
        self.shared.index().insert(base, SegmentInfo::empty(0));
        self.active = ActiveSegment { base, file, len: 0 };
        self.synced_len = 0;
        Ok(())
    }

    /// Prepares a sync that makes everything written survive the loss of power, and then stores the
    /// cursors that have moved, if that is asked for. Writing may go on while the job runs. No sync may
    /// be running or have failed.
    pub(crate) fn start_sync(&mut self, with_cursors: bool) -> SyncJob {
        let cursors = if with_cursors {
            // What they have passed was read: it is written, and so this sync covers it.
            self.unstored_cursors().collect()
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

    /// Takes notice of the end of the running sync, if it has ended.
    pub(crate) fn poll_sync(&mut self) -> Option<SyncOutcome> {
        let outcome = self.syncing.as_ref()?.try_wait()?;
        Some(self.end_sync(outcome))
    }

    /// Waits for the running sync. An error is that of storing the cursors: a failed sync of the file is
    /// repaired by the next one.
    fn wait_for_sync(&mut self) -> io::Result<()> {
        let Some(syncing) = &self.syncing else {
            return Ok(());
        };
        let outcome = syncing.wait();
        let SyncOutcome {
            file_took, result, ..
        } = self.end_sync(outcome);
        file_took.map_or(Ok(()), |_| result)
    }

    fn end_sync(&mut self, outcome: SyncOutcome) -> SyncOutcome {
        let Some(syncing) = self.syncing.take() else {
            return outcome;
        };
        if let Some(took) = outcome.file_took {
            if !syncing.batches.is_empty() {
                self.shared.counters.synced(took);
            }
            self.note_synced(syncing.batches, syncing.len);
        } else {
            self.sync_failed = true;
            self.unsynced_bytes += syncing.bytes;
            self.unsynced.splice(0..0, syncing.batches);
        }
        outcome
    }

    /// Makes everything written survive the loss of power before it returns. It can be repeated after
    /// an error.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let stored = self.wait_for_sync();
        let start = Instant::now();
        if self.sync_failed {
            self.rewrite_unsynced()?;
        } else if !self.unsynced.is_empty() {
            self.active
                .file
                .sync()
                .inspect_err(|_| self.sync_failed = true)?;
        } else {
            return stored;
        }
        self.shared.counters.synced(start.elapsed());
        let batches = std::mem::take(&mut self.unsynced);
        self.unsynced_bytes = 0;
        self.note_synced(batches, self.active.len);
        stored
    }

    /// `len`: of the active segment.
    fn note_synced(&mut self, batches: Vec<QueuedBatch>, len: u64) {
        self.sync_failed = false;
        self.synced_len = len;
        if let Some(last) = batches.last() {
            self.synced = last.end_offset;
        }
        let mut pooled: usize = self.buffer_pool.iter().map(Vec::capacity).sum();
        for mut batch in batches {
            pooled += batch.bytes.capacity();
            if pooled > MAX_POOLED_BYTES {
                break;
            }
            batch.bytes.clear();
            self.buffer_pool.push(batch.bytes);
        }
        let synced = self.synced;
        self.shared
            .progress
            .send_modify(|progress| progress.synced = synced);
    }

    /// After a failed sync: writes the unsynced batches to a new file, since the old file's pages may be
    /// marked as clean without being on the disk. The new file becomes a segment once it is durable.
    fn rewrite_unsynced(&mut self) -> io::Result<()> {
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
            // If this fails, readers still do not see the bytes after: the next segment begins there.
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
                SegmentInfo {
                    len,
                    generation,
                    received_at: self.unsynced.first().and_then(|batch| batch.received_at),
                },
            );
        }
        self.active = ActiveSegment { base, file, len };
        Ok(())
    }

    /// Stores the cursors that have moved, except those that have passed unsynced records.
    pub(crate) fn store_cursors(&mut self) -> io::Result<()> {
        let synced = self.synced;
        let unstored: Vec<_> = self.unstored_cursors().collect();
        for (cursor, to) in unstored {
            if to.offset <= synced {
                cursor.store(&to)?;
            }
        }
        Ok(())
    }

    fn unstored_cursors(&self) -> impl Iterator<Item = (Arc<CursorState>, StoredCursor)> {
        let cursors: Vec<_> = self.shared.cursors().values().cloned().collect();
        cursors
            .into_iter()
            .filter_map(|cursor| cursor.unstored().map(|to| (cursor, to)))
    }

    /// Removes the segments that every cursor has passed in its stored form, and whose time of retention
    /// is over.
    pub(crate) fn remove_passed(&mut self) -> io::Result<()> {
        let now = Timestamp::now().0;
        self.remove_passed_before(now.saturating_sub(self.limits.retain_micros))
    }

    /// The same, where frames received before `keep_from`, in microseconds since the epoch, need not be
    /// retained.
    pub(crate) fn remove_passed_before(&mut self, keep_from: i64) -> io::Result<()> {
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

    /// Takes the oldest segment out of the index, if it need not be kept. The locks exclude a rewind: it
    /// comes before, and keeps the segment, or after, and does not find it.
    fn take_passed(&self, keep_from: i64) -> Option<(u64, SegmentInfo)> {
        let cursors = self.shared.cursors();
        let mut index = self.shared.index();
        let needed = cursors.values().map(|cursor| cursor.needed()).min();
        let (base, end) = index.oldest_closed()?;
        // A segment is as old as its last frame, which is older than the first one of the next segment.
        let received_at = index.get(end).and_then(|next| next.received_at);
        let is_passed = end <= needed.unwrap_or(self.synced);
        let is_old = received_at.is_none_or(|received_at| received_at.0 <= keep_from);
        let segment = (is_passed && is_old).then(|| index.remove(base))??;
        Some((base, segment))
    }

    pub(crate) fn oldest_closed(&self) -> Option<(u64, u64)> {
        self.shared.index().oldest_closed()
    }

    /// Removes the file of a segment that was taken out of the index, or puts the segment back if that
    /// fails. Readers that look for it go on at the next one; those that have it open keep it.
    pub(crate) fn remove_file(&mut self, base: u64, segment: SegmentInfo) -> io::Result<()> {
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
