//! Which of the simulator's frames every sink must have in the end.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What was sent so long before its connection or the process ended is owed: the journal's sync
/// interval of 100 ms, and time for the frame to get there on a busy machine.
const SAFE_AFTER: Duration = Duration::from_millis(300);
const SAMPLE: Duration = Duration::from_millis(20);

/// The highest number that was given to a frame, now and in the last seconds.
pub(crate) struct Ledger {
    samples: Arc<Mutex<VecDeque<(Instant, u64)>>>,
    sampling: JoinHandle<()>,
    exempt: Vec<RangeInclusive<u64>>,
}

impl Ledger {
    pub(crate) fn new(last: impl Fn() -> u64 + Send + 'static) -> Self {
        let samples = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&samples);
        let sampling = tokio::spawn(async move {
            loop {
                let now = Instant::now();
                {
                    let mut samples = kept.lock().unwrap();
                    samples.push_back((now, last()));
                    while samples.len() > 2 && now - samples[1].0 > SAFE_AFTER {
                        samples.pop_front();
                    }
                }
                sleep(SAMPLE).await;
            }
        });
        Self {
            samples,
            sampling,
            exempt: Vec::new(),
        }
    }

    /// To be asked just before a connection to Central or the process ends: up to this number all
    /// is owed.
    pub(crate) fn safe(&self) -> u64 {
        self.samples
            .lock()
            .unwrap()
            .front()
            .map_or(0, |(_, number)| *number)
    }

    /// What was on its way meanwhile is not owed.
    pub(crate) fn exempt(&mut self, safe: u64, last: u64) {
        self.exempt.push(safe + 1..=last);
    }

    pub(crate) fn not_owed(&self) -> &[RangeInclusive<u64>] {
        &self.exempt
    }

    pub(crate) fn owed(&self, last: u64) -> BTreeSet<u64> {
        let exempt = |number: &u64| self.exempt.iter().any(|range| range.contains(number));
        (1..=last).filter(|number| !exempt(number)).collect()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.sampling.abort();
    }
}
