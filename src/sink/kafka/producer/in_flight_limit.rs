//! How many bytes librdkafka is given before it has confirmed any of them.
//!
//! An idempotent producer has one produce request of several records in flight for each partition,
//! whatever `max.in.flight.requests.per.connection` says. While further records wait behind it for longer
//! than `linger.ms`, librdkafka's thread polls the socket for the answer in a loop without a pause: it
//! takes a whole core for nothing. (Seen in librdkafka 2.12.1, `rd_kafka_toppar_producer_serve`; its pull
//! request 4989 is about it.) So for each partition it gets the batch in flight and the next one: all of
//! the next one where answers are quick, so that the broker never waits, and not quite all of it where
//! the next batch would exceed `linger.ms`. Further records wait in this process as well as there.

use std::time::{Duration, Instant};

/// The part of the next batch that is handed over while one is in flight, in percent: somewhat more
/// than all of it, because sizes are averages.
const QUICK_PERCENT: u64 = 110;

/// The same where answers are slow. The rest follows quickly once the answer has come.
const SLOW_PERCENT: u64 = 90;

/// Sizes are averages over about this many of the last records.
const AVERAGED_RECORDS: u64 = 4096;

/// The limit for one producer, computed from the sizes of its records.
#[derive(Debug)]
pub(crate) struct InFlightLimit {
    batch: BatchSettings,
    pace: BatchPace,
    records: u64,
    payload_bytes: u64,
    /// Payloads and keys: what librdkafka counts until a batch is complete.
    batched_bytes: u64,
    /// Headers too: what the size of a request is limited by.
    request_bytes: u64,
}

/// When librdkafka takes a batch for complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchSettings {
    pub(crate) bytes: usize,
    pub(crate) records: usize,
    /// How long a record waits for others.
    pub(crate) linger: Duration,
}

/// How long it took to hand over the last batch.
#[derive(Debug)]
struct BatchPace {
    payload_bytes: u64,
    began: Instant,
    took: Duration,
}

impl InFlightLimit {
    pub(crate) fn new(batch: BatchSettings) -> Self {
        Self {
            batch,
            pace: BatchPace::new(Instant::now()),
            records: 0,
            payload_bytes: 0,
            batched_bytes: 0,
            request_bytes: 0,
        }
    }

    /// Takes the sizes of a record, in bytes, into the averages.
    pub(crate) fn add(&mut self, payload: usize, key: usize, headers: usize) {
        let [payload, key, headers] = [payload, key, headers].map(|bytes| bytes as u64);
        if self.records >= AVERAGED_RECORDS {
            self.records /= 2;
            self.payload_bytes /= 2;
            self.batched_bytes /= 2;
            self.request_bytes /= 2;
        }
        self.pace.payload_bytes += payload;
        self.records += 1;
        self.payload_bytes += payload;
        self.batched_bytes += payload + key;
        self.request_bytes += payload + key + headers;
    }

    /// Payload bytes that may be unconfirmed while records go to so many partitions.
    pub(crate) fn payload_bytes(&mut self, partitions: usize) -> usize {
        if self.payload_bytes == 0 {
            return usize::MAX;
        }
        let batch = self.batch.bytes as u64;
        let by_records = self.batch.records as u64 * self.payload_bytes / self.records;
        let in_flight = (batch * self.payload_bytes / self.request_bytes).min(by_records);
        let next = (batch * self.payload_bytes / self.batched_bytes).min(by_records);
        self.pace.update(in_flight, Instant::now);
        let percent = if self.is_quick(partitions) {
            QUICK_PERCENT
        } else {
            SLOW_PERCENT
        };
        let for_one = in_flight + next * percent / 100;
        usize::try_from(for_one)
            .unwrap_or(usize::MAX)
            .saturating_mul(partitions.max(1))
    }

    /// Whether the next batch is sent well before its records exceed `linger.ms`.
    fn is_quick(&self, partitions: usize) -> bool {
        let partitions = u32::try_from(partitions.max(1)).unwrap_or(u32::MAX);
        self.pace.took.saturating_mul(partitions) < self.batch.linger / 2
    }
}

impl BatchPace {
    fn new(now: Instant) -> Self {
        Self {
            payload_bytes: 0,
            began: now,
            took: Duration::MAX,
        }
    }

    /// Measures a batch once so many payload bytes were handed over; only then is `now` called.
    fn update(&mut self, batch_bytes: u64, now: impl FnOnce() -> Instant) {
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
    const BATCH: BatchSettings = BatchSettings {
        bytes: 1_000_000,
        records: 10_000,
        linger: Duration::ZERO,
    };

    fn of_records(
        batch: BatchSettings,
        payload: usize,
        key: usize,
        headers: usize,
    ) -> InFlightLimit {
        let mut limit = InFlightLimit::new(batch);
        for _ in 0..10_000 {
            limit.add(payload, key, headers);
        }
        limit
    }

    #[test]
    fn where_answers_are_slow_a_partition_gets_less_than_two_batches_and_more_than_one() {
        for (payload, key, headers) in [
            (7000, 32, 400),
            (300, 32, 400),
            (90, 10, 0),
            (900_000, 0, 0),
        ] {
            let mut limit = of_records(BATCH, payload, key, headers);
            let records = limit.payload_bytes(1) / payload;
            let in_flight = (BATCH.bytes / (payload + key + headers)).min(BATCH.records);
            let next = (BATCH.bytes / (payload + key)).min(BATCH.records);
            assert!(records >= in_flight, "{payload}: {records} of {in_flight}");
            assert!(records <= in_flight + next, "{payload}: {records}");
        }
    }

    #[test]
    fn where_answers_are_quick_the_next_batch_is_complete() {
        let mut limit = of_records(BATCH, 1000, 0, 0);
        let slow = limit.payload_bytes(1);
        limit.batch.linger = Duration::from_secs(3600);
        assert_eq!((slow, limit.payload_bytes(1)), (1_900_000, 2_100_000));
        // Each of many partitions has its turn after all others.
        assert!(!limit.is_quick(usize::MAX));
    }

    #[test]
    fn the_clock_is_looked_at_once_a_batch() {
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        let mut pace = BatchPace::new(began);
        pace.payload_bytes = 99;
        pace.update(100, || unreachable!("the batch is not complete"));
        pace.payload_bytes += 1;
        pace.update(100, || after(3));
        assert_eq!(pace.took, Duration::from_millis(3));
        pace.payload_bytes += 100;
        pace.update(100, || after(10));
        assert_eq!(pace.took, Duration::from_millis(7));
    }

    #[test]
    fn batches_of_few_records_count_by_their_number() {
        let few = BatchSettings {
            records: 10,
            ..BATCH
        };
        assert_eq!(of_records(few, 1000, 0, 0).payload_bytes(1), 19_000);
    }

    #[test]
    fn each_partition_has_its_own_and_without_bytes_there_is_no_bound() {
        let mut limit = of_records(BATCH, 7000, 32, 400);
        assert_eq!(limit.payload_bytes(12), 12 * limit.payload_bytes(1));
        assert_eq!(limit.payload_bytes(0), limit.payload_bytes(1));
        assert_eq!(of_records(BATCH, 0, 0, 400).payload_bytes(1), usize::MAX);
    }
}
