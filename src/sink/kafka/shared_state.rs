//! What a sink knows over all the producers that are built for it, one after the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use super::BATCH_BYTES;
use super::events::log_limiter::Complaints;
use super::events::outage::Outage;
use super::events::statistics::Statistics;
use super::registry::Prefixes;
use crate::sync::lock;

/// A batch that was too large is followed by ones of this part of its size: each step costs a
/// producer.
const SMALLER: usize = 16;

#[derive(Debug)]
pub(crate) struct Memory {
    producers: AtomicU64,
    /// Topics that the cluster did not know, with the first producer that was told so.
    missing: Mutex<HashMap<String, u64>>,
    /// Whether there are any: asked for each record.
    any_missing: AtomicBool,
    /// Topics that were seen to exist, or that could not be made, where that is our business.
    pub(crate) created: Mutex<HashMap<String, Creation>>,
    batch_bytes: AtomicUsize,
    statistics: Mutex<Statistics>,
    pub(crate) complaints: Complaints,
    pub(crate) outage: Outage,
    /// What the schema registry said.
    pub(crate) prefixes: Mutex<Prefixes>,
}

/// How it went to make a topic.
#[derive(Clone, Debug)]
pub(crate) enum Creation {
    Exists,
    Failed { why: String, at: Instant },
}

/// What the size of a record that was turned away says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooLarge {
    /// It was alone in its batch.
    Record,
    /// It may have been the batch; the next one will be smaller.
    Batch,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            producers: AtomicU64::new(0),
            missing: Mutex::default(),
            any_missing: AtomicBool::new(false),
            created: Mutex::default(),
            batch_bytes: AtomicUsize::new(BATCH_BYTES),
            statistics: Mutex::default(),
            complaints: Complaints::default(),
            outage: Outage::default(),
            prefixes: Mutex::default(),
        }
    }
}

impl Memory {
    /// The number of the next producer.
    pub(crate) fn next_producer(&self) -> u64 {
        self.producers.fetch_add(1, Ordering::Relaxed)
    }

    /// A producer was told that there is no such topic; `true` if one before it was told so too, and
    /// nothing has been written to it since.
    ///
    /// Each producer asks for as long as `topic.metadata.propagation.max.ms` says. One is not
    /// believed alone: a broker that has just come back may not know its topics yet.
    pub(crate) fn is_missing(&self, topic: &str, producer: u64) -> bool {
        lock(&self.created).remove(topic);
        let mut missing = lock(&self.missing);
        let first = *missing.entry(topic.to_owned()).or_insert(producer);
        self.any_missing.store(true, Ordering::Relaxed);
        first < producer
    }

    /// A record was written to this topic; it is asked for only where that matters.
    pub(crate) fn is_there<'a>(&self, topic: impl FnOnce() -> &'a str) {
        if self.any_missing.load(Ordering::Relaxed) {
            let mut missing = lock(&self.missing);
            missing.remove(topic());
            self.any_missing
                .store(!missing.is_empty(), Ordering::Relaxed);
        }
    }

    /// Brokers limit batches, and librdkafka fails all records of one that is too large. What is to
    /// blame is found by smaller batches.
    pub(crate) fn too_large(&self, record_bytes: usize, producer_batch: usize) -> TooLarge {
        if record_bytes >= producer_batch {
            return TooLarge::Record;
        }
        self.batch_bytes
            .fetch_min((producer_batch / SMALLER).max(1), Ordering::Relaxed);
        TooLarge::Batch
    }

    /// How large batches may be; `None`: as librdkafka likes.
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
    fn a_topic_is_missing_when_two_producers_were_told_so_and_none_has_written_between() {
        let memory = Memory::default();
        let [first, second, third] = [(); 3].map(|()| memory.next_producer());
        assert!(!memory.is_missing("t", first));
        assert!(!memory.is_missing("t", first), "the same producer again");
        assert!(memory.is_missing("t", second));
        memory.is_there(|| "t");
        assert!(!memory.is_missing("t", second));
        assert!(!memory.is_missing("u", third));
        assert!(memory.is_missing("t", third));
    }

    #[test]
    fn batches_become_smaller_until_a_record_was_alone() {
        let memory = Memory::default();
        let mut batch = 1_000_000;
        let mut tries = 0;
        while memory.too_large(150_000, batch) == TooLarge::Batch {
            batch = memory.batch_bytes().unwrap();
            tries += 1;
        }
        assert_eq!((tries, batch), (1, 62_500));
        assert_eq!(memory.too_large(100, batch), TooLarge::Batch);
        assert_eq!(memory.batch_bytes(), Some(3906));
    }
}
