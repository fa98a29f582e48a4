//! Times when librdkafka has no connection to any broker.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// A connection that was cut, or that was closed because it was idle, is replaced within this time.
const CONFIRMED_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Outage {
    current: Mutex<Option<Current>>,
    /// Read for each record.
    is_on: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    began: Instant,
    is_reported: bool,
}

impl Outage {
    /// No broker is connected; a call during an outage changes nothing.
    pub(crate) fn begin(&self, at: Instant) {
        lock(&self.current).get_or_insert(Current {
            began: at,
            is_reported: false,
        });
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// Whether it has lasted so long that librdkafka's statistics reflect it.
    pub(crate) fn is_confirmed(&self, at: Instant) -> bool {
        let current = *lock(&self.current);
        current.is_some_and(|outage| at.duration_since(outage.began) >= CONFIRMED_AFTER)
    }

    /// `true` once for each outage.
    pub(crate) fn take_report(&self) -> bool {
        let mut current = lock(&self.current);
        current
            .as_mut()
            .is_some_and(|outage| !std::mem::replace(&mut outage.is_reported, true))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// A broker is connected. Returns how long none was.
    pub(crate) fn end(&self, at: Instant) -> Option<Duration> {
        let outage = lock(&self.current).take();
        self.is_on.store(false, Ordering::Relaxed);
        outage.map(|outage| at.duration_since(outage.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_reported_once_and_lasts_from_its_first_sign() {
        let outage = Outage::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!outage.is_confirmed(start) && !outage.take_report());
        assert_eq!(outage.end(start), None);
        for _ in 0..2 {
            outage.begin(start);
            assert!(!outage.is_confirmed(start));
            outage.begin(after(5));
            assert!(outage.is_confirmed(after(5)));
            assert!(outage.take_report());
            assert!(!outage.take_report());
            assert_eq!(outage.end(after(7)), Some(Duration::from_secs(7)));
            assert_eq!(outage.end(after(8)), None);
        }
    }
}
