//! A journal's numbers, for metrics and the status page.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::shared::Shared;
use crate::frame::Timestamp;
use crate::histogram::Durations;
use crate::sync::lock;

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
    /// When the oldest frame was received that the journal holds.
    pub oldest: Option<Timestamp>,
    pub appended_records: u64,
    pub appended_bytes: u64,
    /// Bytes that wait to be written.
    pub queued_bytes: u64,
    /// How long all appenders together have waited because the queue was full.
    pub append_wait: Duration,
    pub syncs: u64,
    pub last_sync: Duration,
    pub sync_latency: Durations,
    /// Bytes of incomplete records that were cut off the end when the journal was opened.
    pub incomplete_bytes: u64,
    /// Damaged places of the last segment when the journal was opened.
    pub damaged_places: u64,
    /// Segments that were dropped unread because the journal was full.
    pub dropped_segments: u64,
    /// Why the journal cannot be written now; `None` while it can.
    pub trouble: Option<String>,
    /// In the order of their names.
    pub cursors: Vec<CursorStats>,
}

/// One cursor's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CursorStats {
    pub name: String,
    /// Everything below is done.
    pub committed: u64,
    /// Everything below is done as the cursor's file says: after a crash the sink goes on here, or, if
    /// the file could not be written, perhaps further on.
    pub stored: u64,
    /// Records that are not done.
    pub lag: u64,
    /// Their bytes in the journal; perhaps a little more.
    pub lag_bytes: u64,
    /// Records that were dropped before they were done; each is counted once.
    pub skipped: u64,
    /// Records that could not be read.
    pub damaged: u64,
    /// Records of a kind that this version does not know.
    pub unknown: u64,
}

impl Stats {
    pub(crate) fn of(shared: &Shared) -> Self {
        let counters = &shared.counters;
        let (end, segments, bytes, oldest) = {
            let index = shared.index();
            let oldest = index.segments().find_map(|segment| segment.received_at);
            (index.end, index.segments().count(), index.bytes(), oldest)
        };
        let cursors = shared.cursors();
        let sync_latency = counters.sync_latency.snapshot();
        Self {
            end,
            synced: shared.progress.borrow().synced,
            segments,
            bytes,
            oldest,
            appended_records: counters.appended_records.load(Ordering::Relaxed),
            appended_bytes: counters.appended_bytes.load(Ordering::Relaxed),
            queued_bytes: shared.queue.bytes(),
            append_wait: shared.queue.waited(),
            syncs: sync_latency.count(),
            sync_latency,
            incomplete_bytes: counters.incomplete_bytes.load(Ordering::Relaxed),
            damaged_places: counters.damaged_places.load(Ordering::Relaxed),
            last_sync: Duration::from_micros(counters.last_sync_micros.load(Ordering::Relaxed)),
            dropped_segments: counters.dropped_segments.load(Ordering::Relaxed),
            trouble: lock(&counters.trouble).clone(),
            cursors: cursors
                .iter()
                .map(|(name, cursor)| CursorStats {
                    name: name.clone(),
                    committed: cursor.committed(),
                    stored: cursor.stored(),
                    lag: end.saturating_sub(cursor.committed()),
                    lag_bytes: cursor.lag(&shared.index()).bytes,
                    skipped: cursor.skipped.load(Ordering::Relaxed),
                    damaged: cursor.damaged.load(Ordering::Relaxed),
                    unknown: cursor.unknown.load(Ordering::Relaxed),
                })
                .collect(),
        }
    }
}
