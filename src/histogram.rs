//! How long something took, in buckets that are counted while others look.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets, in seconds; what took longer is in one more.
pub const BOUNDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
    3600.0,
];

/// One writer, any number of readers.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

/// A look at a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Durations {
    /// How many took no longer than each of [`BOUNDS`] and longer than the one before.
    pub counts: [u64; BOUNDS.len() + 1],
    /// All together.
    pub sum: Duration,
}

impl Histogram {
    pub(crate) fn record(&self, micros: u64) {
        let duration = Duration::from_micros(micros).as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < duration);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Durations {
        Durations {
            counts: self.counts.each_ref().map(|count| count.load(Relaxed)),
            sum: Duration::from_micros(self.sum_micros.load(Relaxed)),
        }
    }
}

impl Durations {
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
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
}
