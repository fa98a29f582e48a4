//! Limits repeated log lines. While a broker is away, librdkafka reports the same error several times a
//! second for each partition, and the errors of several brokers alternate.

use std::iter::once;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// A message of the same kind is logged again after this time, with the number of its repetitions.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Kinds that are remembered: a few for each broker of a large cluster. One more replaces the oldest,
/// whose next message is logged at once.
const MAX_KINDS: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct LogLimiter {
    recent: Mutex<Vec<Recent>>,
}

#[derive(Debug)]
struct Recent {
    kind: String,
    logged_at: Instant,
    suppressed: u64,
}

impl LogLimiter {
    /// The line to log for this message; `None` if one of its kind was logged a short time ago.
    pub(crate) fn admit(&self, message: &str, now: Instant) -> Option<String> {
        let kind = kind(message);
        let mut recent = lock(&self.recent);
        let Some(known) = recent.iter_mut().find(|recent| recent.kind == kind) else {
            if recent.len() == MAX_KINDS {
                recent.remove(0);
            }
            recent.push(Recent {
                kind,
                logged_at: now,
                suppressed: 0,
            });
            return Some(message.to_owned());
        };
        if now.duration_since(known.logged_at) < REPEAT_AFTER {
            known.suppressed += 1;
            return None;
        }
        let times = known.suppressed + 1;
        (known.logged_at, known.suppressed) = (now, 0);
        Some(format!(
            "{message} (repeated {times} times since it was last logged)"
        ))
    }

    /// Forgets all messages: the next one of each kind is logged.
    pub(crate) fn reset(&self) {
        lock(&self.recent).clear();
    }
}

/// The broker that a message is about, and its words without those that contain a digit: times, counts,
/// partitions and their leaders differ in each repetition.
fn kind(message: &str) -> String {
    let message = message.split(" (after ").next().unwrap_or(message);
    let (first, rest) = message.split_once(' ').unwrap_or((message, ""));
    let has_digit = |word: &&str| word.contains(|letter: char| letter.is_ascii_digit());
    let rest = rest.split(' ').filter(|word| !has_digit(word));
    let words: Vec<&str> = once(broker_address(first)).chain(rest).collect();
    words.join(" ")
}

/// librdkafka names a broker as `HOST:PORT/bootstrap` and as `HOST:PORT/ID`.
fn broker_address(broker: &str) -> &str {
    broker
        .rsplit_once('/')
        .map_or(broker, |(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternating_messages_are_logged_once_then_once_a_minute_and_again_after_an_outage() {
        let limiter = LogLimiter::default();
        let start = Instant::now();
        let admit = |broker: u32, tenths: u32| {
            let reason =
                format!("b{broker}:9092: Connect failed (after {tenths}ms in state CONNECT)");
            limiter.admit(&reason, start + Duration::from_millis(100) * tenths)
        };
        let mut said = Vec::new();
        for tenths in 0..=600 {
            said.extend((1..=2).filter_map(|broker| admit(broker, tenths)));
        }
        assert_eq!(
            said,
            [
                "b1:9092: Connect failed (after 0ms in state CONNECT)",
                "b2:9092: Connect failed (after 0ms in state CONNECT)",
                "b1:9092: Connect failed (after 600ms in state CONNECT) (repeated 600 times since it was last logged)",
                "b2:9092: Connect failed (after 600ms in state CONNECT) (repeated 600 times since it was last logged)",
            ]
        );
        assert_eq!(admit(1, 601), None);
        limiter.reset();
        assert!(admit(1, 602).is_some());
    }

    #[test]
    fn numbers_do_not_change_the_kind_but_another_broker_or_cause_does() {
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
    fn the_number_of_kinds_is_bounded() {
        let limiter = LogLimiter::default();
        for number in 0..=MAX_KINDS {
            limiter.admit(&format!("b{number}:9092/1: Disconnected"), Instant::now());
        }
        assert_eq!(lock(&limiter.recent).len(), MAX_KINDS);
        let oldest = "b0:9092/1: Disconnected";
        assert!(limiter.admit(oldest, Instant::now()).is_some());
    }
}
