//! Numbers for people and metrics.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::queue::Batch;
use super::recovery::Recovery;
use super::{Shared, lock};
use crate::frame::Timestamp;
use crate::histogram::{Durations, Histogram};

/// All numbers of a journal at one moment. Counts begin when the journal is opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// The offset after the last record that readers can see.
    pub end: u64,
    /// The offset after the last record that survives the loss of power.
    pub synced: u64,
    pub segments: usize,
    /// Bytes in all segments.
    pub bytes: u64,
    /// When the oldest frame that is still there was received.
    pub oldest: Option<Timestamp>,
    pub appended_records: u64,
    pub appended_bytes: u64,
    /// Bytes that wait to be written.
    pub queued_bytes: u64,
    /// How long appenders have waited because the queue was full, all together.
    pub append_wait: Duration,
    pub syncs: u64,
    pub last_sync: Duration,
    pub sync_latency: Durations,
    /// Bytes that were cut from the end when the journal was opened.
    pub torn_bytes: u64,
    /// Places in the last segment that held no record when the journal was opened.
    pub damaged_places: u64,
    /// Segments that were dropped unread because the journal was full.
    pub dropped_segments: u64,
    /// Why the journal cannot be written, while it cannot.
    pub trouble: Option<String>,
    /// In the order of their names.
    pub cursors: Vec<CursorStats>,
}

/// One cursor's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CursorStats {
    pub name: String,
    /// Everything below is done.
    pub committed: u64,
    /// Everything below is done by the cursor's file: it begins again here after a crash, or further
    /// on where the file could not be written.
    pub stored: u64,
    /// Records that are not done.
    pub lag: u64,
    /// Their bytes in the journal; perhaps a little more.
    pub lag_bytes: u64,
    /// Records that were let go of before they were done; each is counted once.
    pub skipped: u64,
    /// Records that could not be read.
    pub damaged: u64,
    /// Records of a kind that this version does not know.
    pub unknown: u64,
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    appended_records: AtomicU64,
    appended_bytes: AtomicU64,
    sync_latency: Histogram,
    last_sync_micros: AtomicU64,
    torn_bytes: AtomicU64,
    damaged_places: AtomicU64,
    pub(super) dropped_segments: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Numbers {
    pub(super) fn appended(&self, batch: &Batch) {
        let records = batch.end_offset - batch.first_offset;
        self.appended_records.fetch_add(records, Ordering::Relaxed);
        self.appended_bytes
            .fetch_add(batch.bytes.len() as u64, Ordering::Relaxed);
    }

    pub(super) fn synced(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sync_latency.record(micros);
        self.last_sync_micros.store(micros, Ordering::Relaxed);
    }

    pub(super) fn recovered(&self, recovery: &Recovery) {
        let places = recovery.damage.len() as u64;
        self.torn_bytes
            .store(recovery.torn_bytes, Ordering::Relaxed);
        self.damaged_places.store(places, Ordering::Relaxed);
    }

    /// Whether that is news.
    pub(super) fn set_trouble(&self, trouble: Option<String>) -> bool {
        let mut current = lock(&self.trouble);
        let news = *current != trouble;
        *current = trouble;
        news
    }
}

impl Stats {
    pub(super) fn of(shared: &Shared) -> Self {
        let numbers = &shared.numbers;
        let (end, segments, bytes, oldest) = {
            let index = shared.index();
            let oldest = index.segments().find_map(|segment| segment.received_at);
            (index.end, index.segments().count(), index.bytes(), oldest)
        };
        let cursors = shared.cursors();
        let sync_latency = numbers.sync_latency.snapshot();
        Self {
            end,
            synced: shared.progress.borrow().synced,
            segments,
            bytes,
            oldest,
            appended_records: numbers.appended_records.load(Ordering::Relaxed),
            appended_bytes: numbers.appended_bytes.load(Ordering::Relaxed),
            queued_bytes: shared.queue.bytes(),
            append_wait: shared.queue.waited(),
            syncs: sync_latency.count(),
            sync_latency,
            torn_bytes: numbers.torn_bytes.load(Ordering::Relaxed),
            damaged_places: numbers.damaged_places.load(Ordering::Relaxed),
            last_sync: Duration::from_micros(numbers.last_sync_micros.load(Ordering::Relaxed)),
            dropped_segments: numbers.dropped_segments.load(Ordering::Relaxed),
            trouble: lock(&numbers.trouble).clone(),
            cursors: cursors
                .iter()
                .map(|(name, cursor)| CursorStats {
                    name: name.clone(),
                    committed: cursor.committed(),
                    stored: cursor.stored(),
                    lag: end.saturating_sub(cursor.committed()),
                    lag_bytes: cursor.behind(shared).bytes,
                    skipped: cursor.skipped.load(Ordering::Relaxed),
                    damaged: cursor.damaged.load(Ordering::Relaxed),
                    unknown: cursor.unknown.load(Ordering::Relaxed),
                })
                .collect(),
        }
    }
}
