//! How much is handed to librdkafka before it has confirmed any of it.
//!
//! An idempotent producer of librdkafka has one request of several records under way for each
//! partition, whatever `max.in.flight.requests.per.connection` says, and while records have waited
//! behind it for longer than `linger.ms`, its thread asks the socket for the answer in a loop, without
//! a pause: a whole core for nothing. (Seen in librdkafka 2.12.1, `rd_kafka_toppar_producer_serve`;
//! pull request 4989 there is about it.) So it gets, for each partition, the request that is under way
//! and the next one: all of that where answers are quick, so that the broker never waits, and not quite
//! all where the next batch would become too old. What is beyond waits as well on our side.

use std::time::{Duration, Instant};

/// The part of the next batch that is handed over while one is under way, in percent: somewhat more
/// than all, because sizes are averages.
const QUICK_PERCENT: u64 = 110;

/// The same where answers are slow. The rest is quickly there once the answer is.
const SLOW_PERCENT: u64 = 90;

/// Sizes are averages over about so many of the last records.
const MEMORY: u64 = 4096;

/// What is known of the records of one producer.
#[derive(Debug)]
pub(crate) struct Appetite {
    batch: Batch,
    pace: Pace,
    records: u64,
    payload_bytes: u64,
    /// With keys: what librdkafka counts until a batch is ready.
    counted_bytes: u64,
    /// With headers too: what a request's size is limited by.
    whole_bytes: u64,
}

/// When a batch is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) bytes: usize,
    pub(crate) records: usize,
    /// How long a record waits for others.
    pub(crate) linger: Duration,
}

/// How long a batch took, from the last record of the one before to its own last record.
#[derive(Debug)]
struct Pace {
    payload_bytes: u64,
    began: Instant,
    took: Duration,
}

impl Appetite {
    pub(crate) fn new(batch: Batch) -> Self {
        Self {
            batch,
            pace: Pace::new(Instant::now()),
            records: 0,
            payload_bytes: 0,
            counted_bytes: 0,
            whole_bytes: 0,
        }
    }

    /// Notes the sizes of a record.
    pub(crate) fn note(&mut self, payload: usize, key: usize, headers: usize) {
        let [payload, key, headers] = [payload, key, headers].map(|bytes| bytes as u64);
        if self.records >= MEMORY {
            self.records /= 2;
            self.payload_bytes /= 2;
            self.counted_bytes /= 2;
            self.whole_bytes /= 2;
        }
        self.pace.payload_bytes += payload;
        self.records += 1;
        self.payload_bytes += payload;
        self.counted_bytes += payload + key;
        self.whole_bytes += payload + key + headers;
    }

    /// Payload bytes that may be unconfirmed while records go to so many partitions.
    pub(crate) fn bytes(&mut self, partitions: usize) -> usize {
        if self.payload_bytes == 0 {
            return usize::MAX;
        }
        let batch = self.batch.bytes as u64;
        let of_records = self.batch.records as u64 * self.payload_bytes / self.records;
        let under_way = (batch * self.payload_bytes / self.whole_bytes).min(of_records);
        let ready = (batch * self.payload_bytes / self.counted_bytes).min(of_records);
        self.pace.look(under_way, Instant::now);
        let percent = if self.is_quick(partitions) {
            QUICK_PERCENT
        } else {
            SLOW_PERCENT
        };
        let one = under_way + ready * percent / 100;
        usize::try_from(one)
            .unwrap_or(usize::MAX)
            .saturating_mul(partitions.max(1))
    }

    /// Whether the next batch is sent before its records are too old, with time to spare.
    fn is_quick(&self, partitions: usize) -> bool {
        let partitions = u32::try_from(partitions.max(1)).unwrap_or(u32::MAX);
        self.pace.took.saturating_mul(partitions) < self.batch.linger / 2
    }
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            payload_bytes: 0,
            began: now,
            took: Duration::MAX,
        }
    }

    /// `now` is asked once for each batch of so many payload bytes.
    fn look(&mut self, batch_bytes: u64, now: impl FnOnce() -> Instant) {
        if self.payload_bytes >= batch_bytes {
            let now = now();
            self.took = now.duration_since(self.began);
            self.began = now;
            self.payload_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No answer is quick where nothing may wait.
    const BATCH: Batch = Batch {
        bytes: 1_000_000,
        records: 10_000,
        linger: Duration::ZERO,
    };

    fn of_records(batch: Batch, payload: usize, key: usize, headers: usize) -> Appetite {
        let mut appetite = Appetite::new(batch);
        for _ in 0..10_000 {
            appetite.note(payload, key, headers);
        }
        appetite
    }

    #[test]
    fn where_answers_are_slow_a_partition_gets_less_than_two_batches_and_more_than_one() {
        for (payload, key, headers) in [
            (7000, 32, 400),
            (300, 32, 400),
            (90, 10, 0),
            (900_000, 0, 0),
        ] {
            let mut appetite = of_records(BATCH, payload, key, headers);
            let records = appetite.bytes(1) / payload;
            let under_way = (BATCH.bytes / (payload + key + headers)).min(BATCH.records);
            let ready = (BATCH.bytes / (payload + key)).min(BATCH.records);
            assert!(records >= under_way, "{payload}: {records} of {under_way}");
            assert!(records <= under_way + ready, "{payload}: {records}");
        }
    }

    #[test]
    fn where_answers_are_quick_the_next_batch_is_complete() {
        let mut appetite = of_records(BATCH, 1000, 0, 0);
        let slow = appetite.bytes(1);
        appetite.batch.linger = Duration::from_secs(3600);
        assert_eq!((slow, appetite.bytes(1)), (1_900_000, 2_100_000));
        // Each of many partitions has its turn after all others.
        assert!(!appetite.is_quick(usize::MAX));
    }

    #[test]
    fn the_clock_is_looked_at_once_a_batch() {
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        let mut pace = Pace::new(began);
        pace.payload_bytes = 99;
        pace.look(100, || unreachable!("the batch is not complete"));
        pace.payload_bytes += 1;
        pace.look(100, || after(3));
        assert_eq!(pace.took, Duration::from_millis(3));
        pace.payload_bytes += 100;
        pace.look(100, || after(10));
        assert_eq!(pace.took, Duration::from_millis(7));
    }

    #[test]
    fn batches_of_few_records_count_by_their_number() {
        let few = Batch {
            records: 10,
            ..BATCH
        };
        assert_eq!(of_records(few, 1000, 0, 0).bytes(1), 19_000);
    }

    #[test]
    fn each_partition_has_its_own_and_without_bytes_there_is_no_bound() {
        let mut appetite = of_records(BATCH, 7000, 32, 400);
        assert_eq!(appetite.bytes(12), 12 * appetite.bytes(1));
        assert_eq!(appetite.bytes(0), appetite.bytes(1));
        assert_eq!(of_records(BATCH, 0, 0, 400).bytes(1), usize::MAX);
    }
}
