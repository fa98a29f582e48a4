//! How much is handed to librdkafka before it has confirmed any of it.
//!
//! An idempotent producer of librdkafka has one request of several records under way for each
//! partition, whatever `max.in.flight.requests.per.connection` says, and while records have waited
//! behind it for longer than `linger.ms`, its thread asks the socket for the answer in a loop, without
//! a pause: a whole core for nothing. (Seen in librdkafka 2.12.1, `rd_kafka_toppar_producer_serve`;
//! pull request 4989 there is about it.) So it gets, for each partition, the request that is under way
//! and not quite the next one. What is beyond waits as well on our side.

/// The part of the next batch that is handed over while one is under way, in percent. The rest is
/// quickly there once the answer is.
const NEXT_BATCH_PERCENT: u64 = 90;

/// Sizes are averages over about so many of the last records.
const MEMORY: u64 = 4096;

/// What is known of the records of one producer.
#[derive(Debug)]
pub(super) struct Appetite {
    batch: Batch,
    records: u64,
    payload_bytes: u64,
    /// With keys: what librdkafka counts until a batch is ready.
    counted_bytes: u64,
    /// With headers too: what a request's size is limited by.
    whole_bytes: u64,
}

/// When a batch is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) bytes: usize,
    pub(super) records: usize,
}

impl Appetite {
    pub(super) fn new(batch: Batch) -> Self {
        Self {
            batch,
            records: 0,
            payload_bytes: 0,
            counted_bytes: 0,
            whole_bytes: 0,
        }
    }

    /// Notes the sizes of a record.
    pub(super) fn note(&mut self, payload: usize, key: usize, headers: usize) {
        let [payload, key, headers] = [payload, key, headers].map(|bytes| bytes as u64);
        if self.records >= MEMORY {
            self.records /= 2;
            self.payload_bytes /= 2;
            self.counted_bytes /= 2;
            self.whole_bytes /= 2;
        }
        self.records += 1;
        self.payload_bytes += payload;
        self.counted_bytes += payload + key;
        self.whole_bytes += payload + key + headers;
    }

    /// Payload bytes that may be unconfirmed while records go to so many partitions.
    pub(super) fn bytes(&self, partitions: usize) -> usize {
        if self.payload_bytes == 0 {
            return usize::MAX;
        }
        let batch = self.batch.bytes as u64;
        let of_records = self.batch.records as u64 * self.payload_bytes / self.records;
        let under_way = (batch * self.payload_bytes / self.whole_bytes).min(of_records);
        let ready = (batch * self.payload_bytes / self.counted_bytes).min(of_records);
        let one = under_way + ready * NEXT_BATCH_PERCENT / 100;
        usize::try_from(one)
            .unwrap_or(usize::MAX)
            .saturating_mul(partitions.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Batch = Batch {
        bytes: 1_000_000,
        records: 10_000,
    };

    fn of_records(batch: Batch, payload: usize, key: usize, headers: usize) -> Appetite {
        let mut appetite = Appetite::new(batch);
        for _ in 0..10_000 {
            appetite.note(payload, key, headers);
        }
        appetite
    }

    #[test]
    fn a_partition_gets_less_than_two_batches_and_more_than_one() {
        for (payload, key, headers) in [
            (7000, 32, 400),
            (300, 32, 400),
            (90, 10, 0),
            (900_000, 0, 0),
        ] {
            let appetite = of_records(BATCH, payload, key, headers);
            let records = appetite.bytes(1) / payload;
            let under_way = (BATCH.bytes / (payload + key + headers)).min(BATCH.records);
            let ready = (BATCH.bytes / (payload + key)).min(BATCH.records);
            assert!(records >= under_way, "{payload}: {records} of {under_way}");
            assert!(records <= under_way + ready, "{payload}: {records}");
        }
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
        let appetite = of_records(BATCH, 7000, 32, 400);
        assert_eq!(appetite.bytes(12), 12 * appetite.bytes(1));
        assert_eq!(appetite.bytes(0), appetite.bytes(1));
        assert_eq!(of_records(BATCH, 0, 0, 400).bytes(1), usize::MAX);
    }
}
