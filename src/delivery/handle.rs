//! What others may ask of a running delivery, and what it says at its end.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::watch;

use super::status::{Counters, Status};
use crate::journal::{Committer, OffsetOutOfRange};

/// Latencies are kept from a microsecond to a day, to two digits; a longer one counts as a day.
const LONGEST_LATENCY: Duration = Duration::from_secs(24 * 60 * 60);
const LATENCY_DIGITS: u8 = 2;

/// How a delivery is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Run,
    /// Settle everything before this offset, then end.
    Drain(u64),
    /// End now; what is unsettled is sent again after the next start.
    Stop,
}

/// What others may ask of a running delivery. Dropping it does not stop the task.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) sink: String,
    pub(super) mode: watch::Sender<Mode>,
    /// Whether a first try to reach the broker has come to its end.
    pub(super) tried: watch::Sender<bool>,
    pub(super) counters: Arc<Counters>,
    committer: Committer,
}

impl Handle {
    pub(super) fn new(sink: String, committer: Committer) -> Self {
        Self {
            sink,
            mode: watch::Sender::new(Mode::Run),
            tried: watch::Sender::new(false),
            counters: Arc::default(),
            committer,
        }
    }

    /// The sink's name in the config.
    #[must_use]
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// Asks for an end as soon as everything before `end` is settled.
    pub fn drain_to(&self, end: u64) {
        self.mode.send_replace(Mode::Drain(end));
    }

    /// Asks for an end now.
    pub fn stop(&self) {
        self.mode.send_replace(Mode::Stop);
    }

    /// Waits until a first try to reach the broker has come to its end, well or not.
    pub async fn first_try(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.tried.subscribe().wait_for(|tried| *tried).await;
    }

    /// How often it failed by a bug of ours and was begun anew.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.counters.panics()
    }

    /// Has everything from `offset` on sent once more, or goes on there. What is in flight is given up.
    ///
    /// # Errors
    /// The journal does not hold that offset.
    pub fn rewind(&self, offset: u64) -> Result<(), OffsetOutOfRange> {
        self.committer.rewind(offset)?;
        tracing::info!(sink = self.sink, offset, "rewound");
        Ok(())
    }

    /// How it is doing. Takes a few short locks, no disk work.
    #[must_use]
    pub fn status(&self) -> Status {
        let mode = *self.mode.borrow();
        self.counters.status(mode, &self.committer)
    }
}

/// What a delivery did while it ran.
#[derive(Debug)]
pub struct Summary {
    pub confirmed: u64,
    pub refused: u64,
    pub undecodable: u64,
    /// Records that were handed over again after a failure.
    pub resent: u64,
    /// From the socket to the confirmation, in microseconds.
    pub latency: Histogram<u64>,
    /// The first offset in the journal that is not settled.
    pub settled_to: u64,
}

impl Summary {
    pub(super) fn of(counters: &Counters, latency: Histogram<u64>, settled_to: u64) -> Self {
        let (refused, undecodable) = counters.refused_records();
        Self {
            confirmed: counters.confirmed_records(),
            refused: refused - undecodable,
            undecodable,
            resent: counters.resent_records(),
            latency,
            settled_to,
        }
    }
}

pub(super) fn latencies() -> Histogram<u64> {
    let longest = u64::try_from(LONGEST_LATENCY.as_micros()).unwrap_or(u64::MAX);
    Histogram::new_with_max(longest, LATENCY_DIGITS).expect("the bounds are within its range")
}

/// Waits until the end is asked for, or nobody can ask any more.
pub(super) async fn stopped(mode: &mut watch::Receiver<Mode>) {
    let _ = mode.wait_for(|mode| *mode == Mode::Stop).await;
}
