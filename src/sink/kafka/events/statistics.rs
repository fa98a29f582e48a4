//! librdkafka's statistics, reduced to a few numbers.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The state of a sink's producer, and the counts of all its producers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// Records in librdkafka's queues, in flight or not.
    pub queued_records: u64,
    pub queued_bytes: u64,
    /// Connected brokers, of those of the cluster that are known.
    pub brokers_up: u64,
    pub brokers: u64,
    /// From a request to its answer: the largest 99th percentile of any broker.
    pub round_trip_p99_seconds: f64,
    /// Requests that were sent again, since the start.
    pub retries: u64,
    /// Requests that were not answered in time, since the start.
    pub timeouts: u64,
    /// Connections that were lost, since the start.
    pub disconnects: u64,
    /// Bytes that were sent, since the start.
    pub sent_bytes: u64,
}

/// The part of librdkafka's JSON that is used. See its STATISTICS.md.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawStatistics {
    msg_cnt: u64,
    msg_size: u64,
    tx_bytes: u64,
    brokers: HashMap<String, RawBroker>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawBroker {
    nodeid: i32,
    state: String,
    txretries: u64,
    req_timeouts: u64,
    disconnects: u64,
    rtt: RawRoundTrip,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawRoundTrip {
    /// Microseconds.
    p99: u64,
}

impl RawStatistics {
    /// Also one that is known only by its address in the config.
    pub(crate) fn any_broker_is_up(&self) -> bool {
        self.brokers.values().any(|broker| broker.state == "UP")
    }
}

/// The counts of one producer in its last statistics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    retries: u64,
    timeouts: u64,
    disconnects: u64,
    sent_bytes: u64,
}

impl Statistics {
    /// Takes in a producer's statistics; `before` has the counts of its last ones.
    pub(crate) fn update(&mut self, raw: &RawStatistics, before: &mut Counted) {
        let brokers = || raw.brokers.values();
        let sum = |of: fn(&RawBroker) -> u64| brokers().map(of).sum();
        let now = Counted {
            retries: sum(|broker| broker.txretries),
            timeouts: sum(|broker| broker.req_timeouts),
            disconnects: sum(|broker| broker.disconnects),
            sent_bytes: raw.tx_bytes,
        };
        self.queued_records = raw.msg_cnt;
        self.queued_bytes = raw.msg_size;
        // Entries without an id are addresses of the config, or librdkafka's internal broker.
        self.brokers = sum(|broker| u64::from(broker.nodeid >= 0));
        self.brokers_up = sum(|broker| u64::from(broker.nodeid >= 0 && broker.state == "UP"));
        let p99 = brokers().map(|broker| broker.rtt.p99).max().unwrap_or(0);
        self.round_trip_p99_seconds = Duration::from_micros(p99).as_secs_f64();
        self.retries += now.retries.saturating_sub(before.retries);
        self.timeouts += now.timeouts.saturating_sub(before.timeouts);
        self.disconnects += now.disconnects.saturating_sub(before.disconnects);
        self.sent_bytes += now.sent_bytes.saturating_sub(before.sent_bytes);
        *before = now;
    }

    /// Keeps the counts, and resets what described the producer.
    pub(crate) fn producer_closed(&mut self) {
        *self = Self {
            retries: self.retries,
            timeouts: self.timeouts,
            disconnects: self.disconnects,
            sent_bytes: self.sent_bytes,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_on_over_producers_and_states_do_not() {
        let raw = |retries: u64, state: &str| -> RawStatistics {
            serde_json::from_str(&format!(
                r#"{{"name":"x","msg_cnt":3,"msg_size":30,"tx_bytes":{retries}00,"brokers":{{
                    "a:1/1":{{"nodeid":1,"state":"{state}","txretries":{retries},"rtt":{{"p99":1500}}}},
                    "a:1/bootstrap":{{"nodeid":-1,"state":"UP","txretries":0,"rtt":{{"p99":9}}}}}}}}"#
            ))
            .unwrap()
        };
        let mut statistics = Statistics::default();
        let mut first = Counted::default();
        statistics.update(&raw(2, "UP"), &mut first);
        statistics.update(&raw(5, "UP"), &mut first);
        assert_eq!((statistics.retries, statistics.sent_bytes), (5, 500));
        assert_eq!((statistics.brokers_up, statistics.brokers), (1, 1));
        let round_trip = Duration::from_secs_f64(statistics.round_trip_p99_seconds);
        assert_eq!(round_trip, Duration::from_micros(1500));
        statistics.producer_closed();
        assert_eq!((statistics.queued_records, statistics.brokers_up), (0, 0));
        statistics.update(&raw(1, "DOWN"), &mut Counted::default());
        assert_eq!((statistics.retries, statistics.brokers_up), (6, 0));
    }
}
