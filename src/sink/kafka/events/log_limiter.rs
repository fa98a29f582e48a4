//! What librdkafka complains about: it says the same several times a second for as long as a broker is
//! away, of each partition, and two brokers take turns.

use std::iter::once;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// When the same is said again, with how often it was heard meanwhile.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Kinds that are told apart: a few for each broker of a large cluster. Of more, the eldest is forgotten,
/// and is new when it is heard again.
const KINDS: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Complaints {
    said: Mutex<Vec<Said>>,
}

#[derive(Debug)]
struct Said {
    kind: String,
    at: Instant,
    kept_back: u64,
}

impl Complaints {
    /// What to say of a complaint, if anything.
    pub(crate) fn hear(&self, reason: &str, now: Instant) -> Option<String> {
        let kind = kind(reason);
        let mut said = lock(&self.said);
        let Some(before) = said.iter_mut().find(|said| said.kind == kind) else {
            if said.len() == KINDS {
                said.remove(0);
            }
            said.push(Said {
                kind,
                at: now,
                kept_back: 0,
            });
            return Some(reason.to_owned());
        };
        if now.duration_since(before.at) < AGAIN_AFTER {
            before.kept_back += 1;
            return None;
        }
        let times = before.kept_back + 1;
        (before.at, before.kept_back) = (now, 0);
        Some(format!(
            "{reason} (heard {times} times since it was last said)"
        ))
    }

    /// Everything is worth saying again.
    pub(crate) fn forget(&self) {
        lock(&self.said).clear();
    }
}

/// Whom it is about, and of the rest the words without a number: times, counts, partitions and their
/// leaders differ each time.
fn kind(reason: &str) -> String {
    let reason = reason.split(" (after ").next().unwrap_or(reason);
    let (first, rest) = reason.split_once(' ').unwrap_or((reason, ""));
    let has_number = |word: &&str| word.contains(|letter: char| letter.is_ascii_digit());
    let rest = rest.split(' ').filter(|word| !has_number(word));
    let words: Vec<&str> = once(address(first)).chain(rest).collect();
    words.join(" ")
}

/// librdkafka knows a broker as `HOST:PORT/bootstrap` and as `HOST:PORT/ID`.
fn address(broker: &str) -> &str {
    broker
        .rsplit_once('/')
        .map_or(broker, |(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_turns_is_said_once_then_once_a_minute_and_anew_after_an_outage() {
        let complaints = Complaints::default();
        let start = Instant::now();
        let hear = |broker: u32, tenths: u32| {
            let reason =
                format!("b{broker}:9092: Connect failed (after {tenths}ms in state CONNECT)");
            complaints.hear(&reason, start + Duration::from_millis(100) * tenths)
        };
        let mut said = Vec::new();
        for tenths in 0..=600 {
            said.extend((1..=2).filter_map(|broker| hear(broker, tenths)));
        }
        assert_eq!(
            said,
            [
                "b1:9092: Connect failed (after 0ms in state CONNECT)",
                "b2:9092: Connect failed (after 0ms in state CONNECT)",
                "b1:9092: Connect failed (after 600ms in state CONNECT) (heard 600 times since it was last said)",
                "b2:9092: Connect failed (after 600ms in state CONNECT) (heard 600 times since it was last said)",
            ]
        );
        assert_eq!(hear(1, 601), None);
        complaints.forget();
        assert!(hear(1, 602).is_some());
    }

    #[test]
    fn numbers_make_no_other_kind_and_another_broker_or_another_cause_does() {
        for (one, other) in [
            (
                "b1:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)",
                "b1:9092/1: Connect to ipv4#10.0.0.2:9092 failed: Connection refused (after 3ms in state CONNECT, 4 identical error(s) suppressed)",
            ),
            (
                "Partition central.audit(iEgG)[0]: new leader-1 not found in cache",
                "Partition central.apprf(TVM/e8)[7]: new leader-1 not found in cache",
            ),
            (
                "b1:9092/1: Timed out 5 in-flight, 0 retry-queued, 1 out-queue, 0 partially-sent requests",
                "b1:9092/1: Timed out 12 in-flight, 3 retry-queued, 0 out-queue, 1 partially-sent requests",
            ),
            (
                "b1:9092/1: Timed out ProduceRequest in flight (after 60921ms, timeout #0)",
                "b1:9092/1: Timed out ProduceRequest in flight (after 60891ms, timeout #4)",
            ),
            (
                "b1:9092/1: Metadata request failed: periodic: Local: Timed out (60001ms): Permanent",
                "b1:9092/1: Metadata request failed: periodic: Local: Timed out (60123ms): Permanent",
            ),
        ] {
            assert_eq!(kind(one), kind(other));
        }
        for (one, other) in [
            (
                "sasl_ssl://b1:9092/bootstrap: Disconnected",
                "sasl_ssl://b2:9092/bootstrap: Disconnected",
            ),
            (
                "b1:9092/1: Connect to ipv4#10.0.0.1:9092 failed: Connection refused",
                "b1:9092/1: Connect to ipv4#10.0.0.1:9092 failed: No route to host",
            ),
            (
                "Topic audit not found in cache",
                "Topic apprf not found in cache",
            ),
        ] {
            assert_ne!(kind(one), kind(other));
        }
    }

    #[test]
    fn kinds_without_end_are_not_kept_without_end() {
        let complaints = Complaints::default();
        for number in 0..=KINDS {
            complaints.hear(&format!("b{number}:9092/1: Disconnected"), Instant::now());
        }
        assert_eq!(lock(&complaints.said).len(), KINDS);
        let eldest = "b0:9092/1: Disconnected";
        assert!(complaints.hear(eldest, Instant::now()).is_some());
    }
}
