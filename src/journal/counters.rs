//! What the writer thread counts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::log::queue::QueuedBatch;
use super::log::recovery::Recovery;
use crate::histogram::Histogram;
use crate::sync::lock;

/// Counters that the writer thread keeps.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(super) appended_records: AtomicU64,
    pub(super) appended_bytes: AtomicU64,
    pub(super) sync_latency: Histogram,
    pub(super) last_sync_micros: AtomicU64,
    pub(super) incomplete_bytes: AtomicU64,
    pub(super) damaged_places: AtomicU64,
    pub(crate) dropped_segments: AtomicU64,
    /// Why the journal cannot be written now.
    pub(super) trouble: Mutex<Option<String>>,
}

impl Counters {
    pub(crate) fn appended(&self, batch: &QueuedBatch) {
        let records = batch.end_offset - batch.first_offset;
        self.appended_records.fetch_add(records, Ordering::Relaxed);
        self.appended_bytes
            .fetch_add(batch.bytes.len() as u64, Ordering::Relaxed);
    }

    pub(crate) fn synced(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sync_latency.record(micros);
        self.last_sync_micros.store(micros, Ordering::Relaxed);
    }

    pub(crate) fn recovered(&self, recovery: &Recovery) {
        let places = recovery.damage.len() as u64;
        self.incomplete_bytes
            .store(recovery.incomplete_bytes, Ordering::Relaxed);
        self.damaged_places.store(places, Ordering::Relaxed);
    }

    /// Notes why the journal cannot be written, or that it can. Whether that is a change.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) -> bool {
        let mut current = lock(&self.trouble);
        let changed = *current != trouble;
        *current = trouble;
        changed
    }
}
