//! What librdkafka complains about: it says the same several times a second for as long as a broker is
//! away, and two brokers take turns.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::memory::lock;

/// When the same is said again, with how often it was heard meanwhile.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Kinds that are told apart: a few for each broker of a large cluster. Of more, the eldest is forgotten,
/// and is new when it is heard again.
const KINDS: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Complaints {
    said: Mutex<Vec<Said>>,
    /// No broker was left: with the next confirmation that is over.
    all_down: AtomicBool,
}

#[derive(Debug)]
struct Said {
    kind: String,
    at: Instant,
    kept_back: u64,
}

impl Complaints {
    /// What to say of a complaint, if anything.
    pub(super) fn hear(&self, reason: &str, now: Instant) -> Option<String> {
        let kind = kind(reason);
        let mut said = lock(&self.said);
        let Some(before) = said.iter_mut().find(|said| said.kind == kind) else {
            if said.len() == KINDS {
                said.remove(0);
            }
            said.push(Said {
                kind: kind.to_owned(),
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

    pub(super) fn all_brokers_are_down(&self) {
        self.all_down.store(true, Ordering::Relaxed);
    }

    /// A broker has confirmed something; `true` if none was left before. Then everything is worth
    /// saying again.
    pub(super) fn confirmed(&self) -> bool {
        let is_back =
            self.all_down.load(Ordering::Relaxed) && self.all_down.swap(false, Ordering::Relaxed);
        if is_back {
            lock(&self.said).clear();
        }
        is_back
    }
}

/// Without what differs each time: how long a try took, and how many librdkafka kept to itself.
fn kind(reason: &str) -> &str {
    reason.split(" (after ").next().unwrap_or(reason)
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
        assert!(
            !complaints.confirmed(),
            "one broker may be away, and another confirm"
        );
        assert_eq!(hear(1, 601), None);
        complaints.all_brokers_are_down();
        assert!(complaints.confirmed());
        assert!(!complaints.confirmed());
        assert!(hear(1, 602).is_some());
    }

    #[test]
    fn kinds_without_end_are_not_kept_without_end() {
        let complaints = Complaints::default();
        for number in 0..=KINDS {
            complaints.hear(&format!("number {number}"), Instant::now());
        }
        assert_eq!(lock(&complaints.said).len(), KINDS);
        assert!(complaints.hear("number 0", Instant::now()).is_some());
    }
}
