//! Payload bytes that librdkafka has and has not reported on, and the partitions that they go to.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

use tokio::sync::Notify;

use crate::sync::lock;

/// Shared by the sink, which adds, and the delivery reports, which remove.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    payload_bytes: AtomicUsize,
    /// The waiting sink is woken when no more bytes than these are left.
    wake_at: AtomicUsize,
    drained: Notify,
    partitions: Partitions,
}

/// The partitions that have confirmed a record.
#[derive(Debug, Default)]
struct Partitions {
    known: Mutex<HashSet<(String, i32)>>,
    count: AtomicUsize,
    /// Reports come in runs of one partition: only the first of a run is looked up.
    last_topic: AtomicUsize,
    last: AtomicI32,
}

impl InFlight {
    /// A record is handed to librdkafka.
    pub(crate) fn add(&self, payload_bytes: usize) {
        self.payload_bytes.fetch_add(payload_bytes, SeqCst);
    }

    /// librdkafka has reported on a record, whatever became of it.
    pub(crate) fn remove(&self, payload_bytes: usize) {
        let before = self.payload_bytes.fetch_sub(payload_bytes, SeqCst);
        let wake_at = self.wake_at.load(SeqCst);
        if before > wake_at && before - payload_bytes <= wake_at {
            self.drained.notify_one();
        }
    }

    pub(crate) fn payload_bytes(&self) -> usize {
        self.payload_bytes.load(SeqCst)
    }

    /// Waits until at most these bytes are left. Only one task may wait at a time.
    pub(crate) async fn drained_to(&self, payload_bytes: usize) {
        self.wake_at.store(payload_bytes, SeqCst);
        while self.payload_bytes() > payload_bytes {
            self.drained.notified().await;
        }
    }

    /// A partition has confirmed a record. `topic_address` is that of librdkafka's topic, which stays
    /// the same for the life of the producer. Called by one thread.
    pub(crate) fn note_partition<'a>(
        &self,
        topic_address: usize,
        partition: i32,
        topic: impl FnOnce() -> &'a str,
    ) {
        let all = &self.partitions;
        if all.last_topic.load(Relaxed) == topic_address && all.last.load(Relaxed) == partition {
            return;
        }
        all.last_topic.store(topic_address, Relaxed);
        all.last.store(partition, Relaxed);
        let mut known = lock(&all.known);
        known.insert((topic().to_owned(), partition));
        all.count.store(known.len(), Relaxed);
    }

    /// How many partitions have confirmed a record.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions.count.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn the_waiting_sink_goes_on_once_enough_is_reported() {
        let in_flight = Arc::new(InFlight::default());
        in_flight.add(100);
        in_flight.drained_to(100).await;
        let waiting = tokio::spawn({
            let in_flight = Arc::clone(&in_flight);
            async move { in_flight.drained_to(50).await }
        });
        for _ in 0..4 {
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            in_flight.remove(10);
        }
        in_flight.remove(10);
        waiting.await.unwrap();
        assert_eq!(in_flight.payload_bytes(), 50);
    }

    #[test]
    fn a_partition_counts_once() {
        let in_flight = InFlight::default();
        for (address, topic, partition) in [
            (8, "a", 0),
            (8, "a", 0),
            (8, "a", 1),
            (8, "a", 0),
            (16, "b", 0),
            (24, "b", 0),
        ] {
            in_flight.note_partition(address, partition, || topic);
        }
        assert_eq!(in_flight.partitions(), 3);
    }
}
