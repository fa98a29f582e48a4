//! How long to wait before the next try: exponential backoff with full jitter and a cap.
//!
//! Pure: the caller supplies the random numbers and does the waiting.

use std::time::Duration;

use rand::{Rng, RngExt as _};

/// The longest wait that a server may ask for: its mistake must not stop the forwarder for days.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// The shape of a backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Curve {
    /// The upper bound of the first wait; it doubles with each failure.
    pub first: Duration,
    /// No wait is longer, unless the server asks for it.
    pub cap: Duration,
    /// After something worked for this long, the next wait is a first one again.
    pub stable_after: Duration,
}

/// The failures in a row of one thing that is tried again and again.
#[derive(Clone, Debug)]
pub struct Backoff {
    curve: Curve,
    failures: u32,
}

impl Backoff {
    #[must_use]
    pub fn new(curve: Curve) -> Self {
        Self { curve, failures: 0 }
    }

    /// What is tried has worked for so long: after [`Curve::stable_after`] its failures are forgotten.
    pub fn worked(&mut self, held: Duration) {
        if held >= self.curve.stable_after {
            self.failures = 0;
        }
    }

    /// What is tried has made progress, however short it worked: its failures are forgotten.
    pub fn made_progress(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure.
    ///
    /// `retry_after` is what the server asks for; it wins over the curve, with up to [`Curve::first`] on
    /// top, so that many clients with the same answer do not come back at once.
    pub fn pause(&mut self, retry_after: Option<Duration>, rng: &mut impl Rng) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        match retry_after {
            Some(retry_after) => retry_after.min(MAX_RETRY_AFTER) + jitter(self.curve.first, rng),
            None => jitter(bound, rng),
        }
    }

    /// Failures since it was last healthy.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn bound(&self) -> Duration {
        let doubled = 2_u32
            .checked_pow(self.failures)
            .and_then(|factor| self.curve.first.checked_mul(factor));
        doubled.map_or(self.curve.cap, |bound| bound.min(self.curve.cap))
    }
}

fn jitter(bound: Duration, rng: &mut impl Rng) -> Duration {
    bound.mul_f64(rng.random::<f64>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::SmallRng;

    use super::*;

    const CURVE: Curve = Curve {
        first: Duration::from_secs(1),
        cap: Duration::from_secs(60),
        stable_after: Duration::from_secs(30),
    };

    fn rng() -> SmallRng {
        SmallRng::seed_from_u64(7)
    }

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let mut backoff = Backoff::new(CURVE);
        let mut bounds = Vec::new();
        for _ in 0..8 {
            bounds.push(backoff.bound().as_secs());
            backoff.pause(None, &mut rng());
        }
        assert_eq!(bounds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn waits_spread_over_the_whole_range() {
        let mut rng = rng();
        let waits: Vec<Duration> = (0..200)
            .map(|_| Backoff::new(CURVE).pause(None, &mut rng))
            .collect();
        assert!(waits.iter().any(|wait| *wait < Duration::from_millis(100)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_millis(900)));
    }

    #[test]
    fn a_short_success_does_not_reset_it() {
        let mut backoff = Backoff::new(CURVE);
        for _ in 0..3 {
            backoff.worked(Duration::from_secs(29));
            backoff.pause(None, &mut rng());
        }
        assert_eq!(backoff.failures(), 3);
        backoff.worked(Duration::from_secs(30));
        backoff.pause(None, &mut rng());
        assert_eq!(backoff.failures(), 1);
    }

    #[test]
    fn after_progress_it_begins_again() {
        let mut backoff = Backoff::new(CURVE);
        for _ in 0..5 {
            backoff.pause(None, &mut rng());
        }
        backoff.made_progress();
        assert!(backoff.pause(None, &mut rng()) <= CURVE.first);
    }

    #[test]
    fn what_the_server_asks_for_wins() {
        let mut backoff = Backoff::new(CURVE);
        let asked = Duration::from_secs(300);
        let wait = backoff.pause(Some(asked), &mut rng());
        assert!(wait >= asked && wait <= asked + CURVE.first, "{wait:?}");
    }

    proptest! {
        #[test]
        fn no_wait_passes_its_bound(failures in 0_u32..100_000, asked in any::<Option<u64>>(), seed: u64) {
            let mut backoff = Backoff { curve: CURVE, failures };
            let wait = backoff.pause(asked.map(Duration::from_secs),
                &mut SmallRng::seed_from_u64(seed),
            );
            let bound = if asked.is_some() { MAX_RETRY_AFTER + CURVE.first } else { CURVE.cap };
            prop_assert!(wait <= bound);
        }
    }
}
