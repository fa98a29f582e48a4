//! What librdkafka has and has not reported on: counted by those who hand over and by its reports.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

use tokio::sync::Notify;

use crate::sync::lock;

#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    payload_bytes: AtomicUsize,
    /// Who waits is woken when there are no more bytes than this.
    mark: AtomicUsize,
    fallen: Notify,
    partitions: Partitions,
}

/// The partitions that have confirmed something.
#[derive(Debug, Default)]
struct Partitions {
    known: Mutex<HashSet<(String, i32)>>,
    count: AtomicUsize,
    /// Reports come in runs of one partition: the last one's, so that a run is looked up once.
    last_topic: AtomicUsize,
    last: AtomicI32,
}

impl UnderWay {
    pub(crate) fn handed_over(&self, payload_bytes: usize) {
        self.payload_bytes.fetch_add(payload_bytes, SeqCst);
    }

    /// A record is reported on, well or not.
    pub(crate) fn reported(&self, payload_bytes: usize) {
        let before = self.payload_bytes.fetch_sub(payload_bytes, SeqCst);
        let mark = self.mark.load(SeqCst);
        if before > mark && before - payload_bytes <= mark {
            self.fallen.notify_one();
        }
    }

    pub(crate) fn payload_bytes(&self) -> usize {
        self.payload_bytes.load(SeqCst)
    }

    /// Waits until no more than so many bytes are left. One may wait at a time.
    pub(crate) async fn falls_to(&self, payload_bytes: usize) {
        self.mark.store(payload_bytes, SeqCst);
        while self.payload_bytes() > payload_bytes {
            self.fallen.notified().await;
        }
    }

    /// A partition has confirmed a record. `address` is the topic's in librdkafka, for as long as the
    /// producer is there.
    pub(crate) fn confirmed_by<'a>(
        &self,
        address: usize,
        partition: i32,
        topic: impl FnOnce() -> &'a str,
    ) {
        let all = &self.partitions;
        // One thread calls this.
        if all.last_topic.load(Relaxed) == address && all.last.load(Relaxed) == partition {
            return;
        }
        all.last_topic.store(address, Relaxed);
        all.last.store(partition, Relaxed);
        let mut known = lock(&all.known);
        known.insert((topic().to_owned(), partition));
        all.count.store(known.len(), Relaxed);
    }

    /// How many partitions have confirmed something.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions.count.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn who_waits_goes_on_once_enough_is_reported() {
        let under_way = Arc::new(UnderWay::default());
        under_way.handed_over(100);
        under_way.falls_to(100).await;
        let waiting = tokio::spawn({
            let under_way = Arc::clone(&under_way);
            async move { under_way.falls_to(50).await }
        });
        for _ in 0..4 {
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            under_way.reported(10);
        }
        under_way.reported(10);
        waiting.await.unwrap();
        assert_eq!(under_way.payload_bytes(), 50);
    }

    #[test]
    fn a_partition_counts_once() {
        let under_way = UnderWay::default();
        for (address, topic, partition) in [
            (8, "a", 0),
            (8, "a", 0),
            (8, "a", 1),
            (8, "a", 0),
            (16, "b", 0),
            (24, "b", 0),
        ] {
            under_way.confirmed_by(address, partition, || topic);
        }
        assert_eq!(under_way.partitions(), 3);
    }
}
