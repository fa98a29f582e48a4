//! What all producers of a sink share: one replaces another after each failure.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use super::events::log_limiter::LogLimiter;
use super::events::outage::Outage;
use super::events::statistics::Statistics;
use super::schema_registry::Prefixes;
use super::settings::BATCH_BYTES;
use crate::sync::lock;

/// After a batch that was too large, batches are smaller by this factor. Each step costs a producer.
const BATCH_DIVISOR: usize = 16;

#[derive(Debug)]
pub(crate) struct SharedState {
    producers: AtomicU64,
    /// Topics that the cluster did not know, with the first producer that was told so.
    missing: Mutex<HashMap<String, u64>>,
    /// Whether there are any: read for each record.
    any_missing: AtomicBool,
    /// Topics that exist or could not be created, where the sink creates them.
    pub(crate) created: Mutex<HashMap<String, Creation>>,
    batch_bytes: AtomicUsize,
    statistics: Mutex<Statistics>,
    pub(crate) log_limiter: LogLimiter,
    pub(crate) outage: Outage,
    pub(crate) prefixes: Mutex<Prefixes>,
}

/// What came of creating a topic.
#[derive(Clone, Debug)]
pub(crate) enum Creation {
    Exists,
    Failed { why: String, at: Instant },
}

/// What was too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooLarge {
    /// The record: it was alone in its batch.
    Record,
    /// Perhaps the batch: the next one will be smaller.
    Batch,
}

impl Default for SharedState {
    fn default() -> Self {
        Self {
            producers: AtomicU64::new(0),
            missing: Mutex::default(),
            any_missing: AtomicBool::new(false),
            created: Mutex::default(),
            batch_bytes: AtomicUsize::new(BATCH_BYTES),
            statistics: Mutex::default(),
            log_limiter: LogLimiter::default(),
            outage: Outage::default(),
            prefixes: Mutex::default(),
        }
    }
}

impl SharedState {
    /// The number of the next producer.
    pub(crate) fn next_producer(&self) -> u64 {
        self.producers.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes that a producer was told that a topic does not exist. Returns `true` if an earlier producer
    /// was told the same and nothing has been written to the topic since.
    ///
    /// Each producer asks for as long as `topic.metadata.propagation.max.ms` says. The answer that one
    /// of them gets is not enough: a broker that has just started may not know its topics yet.
    pub(crate) fn note_missing(&self, topic: &str, producer: u64) -> bool {
        lock(&self.created).remove(topic);
        let mut missing = lock(&self.missing);
        let first = *missing.entry(topic.to_owned()).or_insert(producer);
        self.any_missing.store(true, Ordering::Relaxed);
        first < producer
    }

    /// Notes that a record was written to a topic. `topic` is called only if any topic is missing.
    pub(crate) fn note_present<'a>(&self, topic: impl FnOnce() -> &'a str) {
        if self.any_missing.load(Ordering::Relaxed) {
            let mut missing = lock(&self.missing);
            missing.remove(topic());
            self.any_missing
                .store(!missing.is_empty(), Ordering::Relaxed);
        }
    }

    /// Finds out what was too large. Brokers limit the size of batches, and librdkafka fails all records
    /// of a batch that exceeds it; smaller batches show which record it was.
    pub(crate) fn too_large(&self, record_bytes: usize, producer_batch: usize) -> TooLarge {
        if record_bytes >= producer_batch {
            return TooLarge::Record;
        }
        self.batch_bytes
            .fetch_min((producer_batch / BATCH_DIVISOR).max(1), Ordering::Relaxed);
        TooLarge::Batch
    }

    /// How large batches may be, in bytes; `None`: as librdkafka's settings say.
    pub(crate) fn batch_bytes(&self) -> Option<usize> {
        let bytes = self.batch_bytes.load(Ordering::Relaxed);
        (bytes < BATCH_BYTES).then_some(bytes)
    }

    pub(crate) fn statistics(&self) -> MutexGuard<'_, Statistics> {
        lock(&self.statistics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_missing_once_two_producers_were_told_so_without_a_write_in_between() {
        let state = SharedState::default();
        let [first, second, third] = [(); 3].map(|()| state.next_producer());
        assert!(!state.note_missing("t", first));
        assert!(!state.note_missing("t", first), "the same producer again");
        assert!(state.note_missing("t", second));
        state.note_present(|| "t");
        assert!(!state.note_missing("t", second));
        assert!(!state.note_missing("u", third));
        assert!(state.note_missing("t", third));
    }

    #[test]
    fn batches_become_smaller_until_a_record_was_alone() {
        let state = SharedState::default();
        let mut batch = 1_000_000;
        let mut tries = 0;
        while state.too_large(150_000, batch) == TooLarge::Batch {
            batch = state.batch_bytes().unwrap();
            tries += 1;
        }
        assert_eq!((tries, batch), (1, 62_500));
        assert_eq!(state.too_large(100, batch), TooLarge::Batch);
        assert_eq!(state.batch_bytes(), Some(3906));
    }
}
