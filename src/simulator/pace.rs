//! How many frames are due. Pure: the caller brings the time.

use std::time::Duration;

use tokio::time::Instant;

/// Frames are sent together at most this often; between, the connection sleeps.
const TICK: Duration = Duration::from_millis(5);

/// A rate that does not drift: what is due follows from the start, not from the last tick.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    /// Frames a second; 0: no limit.
    rate: u32,
    sent: u64,
    /// Frames left to send.
    left: u64,
}

impl Pace {
    pub(super) fn new(rate: u32, count: Option<u64>, start: Instant) -> Self {
        Self {
            start,
            rate,
            sent: 0,
            left: count.unwrap_or(u64::MAX),
        }
    }

    pub(super) fn due(&self, now: Instant) -> u64 {
        let due = match self.rate {
            0 => u64::MAX,
            rate => {
                let elapsed = now.saturating_duration_since(self.start);
                let wanted = elapsed.as_nanos() * u128::from(rate) / 1_000_000_000;
                u64::try_from(wanted)
                    .unwrap_or(u64::MAX)
                    .saturating_sub(self.sent)
            }
        };
        due.min(self.left)
    }

    pub(super) fn sent(&mut self, frames: u64) {
        self.sent += frames;
        self.left -= frames;
    }

    /// When something is due again; `None`: never.
    pub(super) fn wake(&self, now: Instant) -> Option<Instant> {
        if self.left == 0 {
            return None;
        }
        let next = Duration::from_secs(self.sent + 1) / self.rate.max(1);
        Some((self.start + next).max(now + TICK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_any_time_as_much_was_sent_as_the_rate_says() {
        let start = Instant::now();
        let mut pace = Pace::new(333, None, start);
        let mut now = start;
        let mut wakes = 0;
        while now < start + Duration::from_secs(10) {
            now = pace.wake(now).unwrap();
            pace.sent(pace.due(now));
            wakes += 1;
        }
        assert!((3330..=3333).contains(&pace.sent), "{pace:?}");
        assert!(wakes <= 2001, "{wakes}");
    }

    #[test]
    fn a_slow_rate_sleeps_until_the_next_frame() {
        let start = Instant::now();
        let pace = Pace::new(2, None, start);
        assert_eq!(pace.wake(start), Some(start + Duration::from_millis(500)));
    }

    #[test]
    fn a_count_ends_it() {
        let start = Instant::now();
        let mut pace = Pace::new(0, Some(3), start);
        assert_eq!(pace.due(start), 3);
        pace.sent(3);
        assert_eq!(pace.due(start), 0);
        assert_eq!(pace.wake(start), None);
    }
}
