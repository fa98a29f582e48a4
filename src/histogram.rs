//! How long something took, counted in buckets while others read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets, in seconds; what took longer is in one more.
pub const BOUNDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
    3600.0,
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// Each bucket is divided into equal parts, so that [`Histogram::quantile`] is exact to a few per cent.
const PARTS: usize = 16;

/// Where the last part of the last bucket ends, in seconds: a day.
const LONGEST: f64 = 24.0 * 3600.0;

/// One writer, any number of readers.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [[AtomicU64; PARTS]; BUCKETS],
    sum_micros: AtomicU64,
}

/// What a histogram held at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Durations {
    /// How many took no longer than each of [`BOUNDS`], and longer than the one before.
    pub counts: [u64; BUCKETS],
    /// All together.
    pub sum: Duration,
}

impl Histogram {
    pub(crate) fn record(&self, micros: u64) {
        let (bucket, part) = place(Duration::from_micros(micros).as_secs_f64());
        self.counts[bucket][part].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Durations {
        let bucket =
            |parts: &[AtomicU64; PARTS]| parts.iter().map(|count| count.load(Relaxed)).sum();
        Durations {
            counts: self.counts.each_ref().map(bucket),
            sum: Duration::from_micros(self.sum_micros.load(Relaxed)),
        }
    }

    /// The duration that this share (0 to 1) of all was no longer than; zero if there are none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = share * as_f64(self.snapshot().count());
        let mut below = 0;
        for (bucket, parts) in self.counts.iter().enumerate() {
            for (part, count) in parts.iter().enumerate() {
                let count = count.load(Relaxed);
                below += count;
                if count > 0 && as_f64(below) >= rank {
                    return Duration::from_secs_f64(end_of(bucket, part));
                }
            }
        }
        Duration::ZERO
    }
}

impl Durations {
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The bucket and the part of it that a duration in seconds belongs to.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share is not negative, and a part that is too large is cut"
)]
fn place(seconds: f64) -> (usize, usize) {
    let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
    let (start, end) = edges(bucket);
    let share = (seconds - start) / (end - start);
    let part = (share * as_f64(PARTS as u64)) as usize;
    (bucket, part.min(PARTS - 1))
}

/// Where a part ends, in seconds.
fn end_of(bucket: usize, part: usize) -> f64 {
    let (start, end) = edges(bucket);
    start + (end - start) * as_f64(part as u64 + 1) / as_f64(PARTS as u64)
}

fn edges(bucket: usize) -> (f64, f64) {
    let start = bucket.checked_sub(1).map_or(0.0, |before| BOUNDS[before]);
    (start, BOUNDS.get(bucket).copied().unwrap_or(LONGEST))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rank may be off by one in 10^15"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for micros in [0, 1000, 1001, 3_600_000_000, 3_600_000_001] {
            histogram.record(micros);
        }
        let seen = histogram.snapshot();
        assert_eq!((seen.counts[0], seen.counts[1]), (2, 1));
        assert_eq!(seen.counts[BOUNDS.len() - 1..], [1, 1]);
        assert_eq!(seen.count(), 5);
        assert_eq!(seen.sum, Duration::from_micros(7_200_002_002));
    }

    #[test]
    fn a_quantile_is_exact_to_a_few_per_cent() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        for millis in 1..=1000 {
            histogram.record(millis * 1000);
        }
        for (share, millis) in [(0.5, 500.0), (0.99, 990.0), (0.07, 70.0), (1.0, 1000.0)] {
            let found = histogram.quantile(share).as_secs_f64() * 1000.0;
            assert!((1.0..1.07).contains(&(found / millis)), "{share}: {found}");
        }
        histogram.record(u64::MAX);
        assert_eq!(histogram.quantile(1.0), Duration::from_secs(24 * 3600));
    }
}
