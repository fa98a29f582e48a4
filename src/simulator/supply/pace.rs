//! How many frames are due. Pure: the caller passes the time.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest pause between two groups of frames.
const TICK: Duration = Duration::from_millis(5);

/// A rate without drift: the number of frames due is computed from the start, not from the last group.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    /// Frames a second; 0: no limit.
    rate: u32,
    sent: u64,
    /// Frames that are due in addition to those of the rate.
    burst: u64,
    /// Frames left to send.
    left: u64,
}

impl Pace {
    pub(crate) fn new(rate: u32, count: Option<u64>, start: Instant) -> Self {
        Self {
            start,
            rate,
            sent: 0,
            burst: 0,
            left: count.unwrap_or(u64::MAX),
        }
    }

    pub(crate) fn due(&self, now: Instant) -> u64 {
        let due = match self.rate {
            0 => u64::MAX,
            rate => {
                let elapsed = now.saturating_duration_since(self.start);
                let wanted = elapsed.as_nanos() * u128::from(rate) / 1_000_000_000;
                u64::try_from(wanted)
                    .unwrap_or(u64::MAX)
                    .saturating_add(self.burst)
                    .saturating_sub(self.sent)
            }
        };
        due.min(self.left)
    }

    pub(crate) fn sent(&mut self, frames: u64) {
        self.sent += frames;
        self.left -= frames;
    }

    /// How many frames were sent or skipped.
    pub(crate) fn total(&self) -> u64 {
        self.sent
    }

    /// Makes this many more frames due at once.
    pub(crate) fn burst(&mut self, frames: u64) {
        self.burst += frames;
    }

    /// Skips frames that are due, except the last `kept` and those of the last `time`, whichever are fewer.
    pub(crate) fn keep(&mut self, now: Instant, time: Duration, kept: u64) {
        if self.rate == 0 {
            return;
        }
        let brought = time.as_nanos() * u128::from(self.rate) / 1_000_000_000;
        let kept = kept.min(u64::try_from(brought).unwrap_or(u64::MAX));
        self.sent(self.due(now).saturating_sub(kept));
    }

    /// When the next frame is due, if `sharing` connections take turns; `None`: never.
    pub(crate) fn wake(&self, now: Instant, sharing: u64) -> Option<Instant> {
        if self.left == 0 {
            return None;
        }
        // Each sleeps until one frame for each is due, so that none takes another's by waking first.
        let turn = sharing.clamp(1, self.left);
        let ahead = (self.sent + turn).saturating_sub(self.burst);
        let next = Duration::from_secs(ahead) / self.rate.max(1);
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
            now = pace.wake(now, 1).unwrap();
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
        assert_eq!(
            pace.wake(start, 1),
            Some(start + Duration::from_millis(500))
        );
        assert_eq!(pace.wake(start, 2), Some(start + Duration::from_secs(1)));
    }

    #[test]
    fn a_count_ends_it() {
        let start = Instant::now();
        let mut pace = Pace::new(0, Some(3), start);
        assert_eq!(pace.due(start), 3);
        pace.sent(3);
        assert_eq!(pace.due(start), 0);
        assert_eq!(pace.wake(start, 1), None);
    }

    #[test]
    fn a_burst_comes_at_once_and_the_rate_goes_on_after_it() {
        let start = Instant::now();
        let mut pace = Pace::new(2, None, start);
        pace.burst(100);
        assert_eq!(pace.due(start), 100);
        pace.sent(100);
        assert_eq!(
            pace.wake(start, 1),
            Some(start + Duration::from_millis(500))
        );
    }

    #[test]
    fn what_nobody_fetches_is_kept_for_a_time_and_up_to_a_number() {
        let start = Instant::now();
        let later = start + Duration::from_secs(100);
        for (seconds, most, due) in [(20, u64::MAX, 200), (20, 50, 50), (200, u64::MAX, 1000)] {
            let mut pace = Pace::new(10, None, start);
            pace.keep(later, Duration::from_secs(seconds), most);
            assert_eq!(pace.due(later), due);
            assert_eq!(pace.total(), 1000 - due);
        }
    }
}
