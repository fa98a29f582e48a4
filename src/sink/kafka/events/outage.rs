//! Times when librdkafka is connected to no broker.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// A connection that was cut, or closed while it was idle, is made anew within this time.
const SETTLES_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Outage {
    now: Mutex<Option<Since>>,
    /// Asked for each record.
    is_on: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Since {
    began: Instant,
    is_told: bool,
}

impl Outage {
    pub(crate) fn begins(&self, at: Instant) {
        lock(&self.now).get_or_insert(Since {
            began: at,
            is_told: false,
        });
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// Whether it has lasted for so long that statistics know of it.
    pub(crate) fn is_settled(&self, at: Instant) -> bool {
        let since = *lock(&self.now);
        since.is_some_and(|since| at.duration_since(since.began) >= SETTLES_AFTER)
    }

    /// `true` once for each.
    pub(crate) fn is_to_be_told(&self) -> bool {
        let mut now = lock(&self.now);
        now.as_mut()
            .is_some_and(|since| !std::mem::replace(&mut since.is_told, true))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// A broker is there: how long none was.
    pub(crate) fn ends(&self, at: Instant) -> Option<Duration> {
        let since = lock(&self.now).take();
        self.is_on.store(false, Ordering::Relaxed);
        since.map(|since| at.duration_since(since.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_and_lasts_from_the_first_word_of_it() {
        let outage = Outage::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!outage.is_settled(start) && !outage.is_to_be_told());
        assert_eq!(outage.ends(start), None);
        for _ in 0..2 {
            outage.begins(start);
            assert!(!outage.is_settled(start));
            outage.begins(after(5));
            assert!(outage.is_settled(after(5)));
            assert!(outage.is_to_be_told());
            assert!(!outage.is_to_be_told());
            assert_eq!(outage.ends(after(7)), Some(Duration::from_secs(7)));
            assert_eq!(outage.ends(after(8)), None);
        }
    }
}
