//! What others may ask of a running delivery, and what it reports at its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::status::{Counters, Status};
use crate::journal::{Committer, OffsetOutOfRange};

/// What a delivery is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Run,
    /// Resolve everything before this offset, then end.
    Drain(u64),
    /// End now; what is in flight is sent again after the next start.
    Stop,
}

/// What others may ask of a running delivery. Dropping it does not stop the task.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) sink: String,
    pub(super) mode: watch::Sender<Mode>,
    /// Whether the first try to reach the broker is over.
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

    /// Asks for an end as soon as everything before `end` is resolved.
    pub fn drain_to(&self, end: u64) {
        self.mode.send_replace(Mode::Drain(end));
    }

    /// Asks for an end now.
    pub fn stop(&self) {
        self.mode.send_replace(Mode::Stop);
    }

    /// Waits until the first try to reach the broker has succeeded or failed.
    pub async fn first_try(&self) {
        // This handle holds a sender, so that the channel cannot be closed.
        let _ = self.tried.subscribe().wait_for(|tried| *tried).await;
    }

    /// How often it panicked, and started again.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.counters.panics()
    }

    /// Moves the cursor to `offset`, back or forward, and sends from there on. What is in flight may be
    /// sent again.
    ///
    /// # Errors
    /// The journal does not hold that offset.
    pub fn rewind(&self, offset: u64) -> Result<(), OffsetOutOfRange> {
        self.committer.rewind(offset)?;
        tracing::info!(sink = self.sink, offset, "rewound");
        Ok(())
    }

    /// What it is doing. Takes a few short locks, and does no disk work.
    #[must_use]
    pub fn status(&self) -> Status {
        let draining = matches!(*self.mode.borrow(), Mode::Drain(_));
        self.counters.status(draining, &self.committer)
    }
}

/// What a delivery has done since its counts began.
#[derive(Debug)]
pub struct Summary {
    pub confirmed: u64,
    pub refused: u64,
    pub undecodable: u64,
    /// Records that were sent again after a failure.
    pub resent: u64,
    /// From the socket to the confirmation: half of the records took no longer.
    pub latency_p50: Duration,
    /// 99 % of the records took no longer.
    pub latency_p99: Duration,
    /// The first offset in the journal that is not resolved.
    pub resolved_to: u64,
}

impl Summary {
    pub(super) fn of(counters: &Counters, resolved_to: u64) -> Self {
        let (refused, undecodable) = counters.refused_records();
        Self {
            confirmed: counters.confirmed_records(),
            refused: refused - undecodable,
            undecodable,
            resent: counters.resent_records(),
            latency_p50: counters.latency_quantile(0.5),
            latency_p99: counters.latency_quantile(0.99),
            resolved_to,
        }
    }
}

/// Waits until the end is asked for, or all handles are dropped.
pub(super) async fn stopped(mode: &mut watch::Receiver<Mode>) {
    let _ = mode.wait_for(|mode| *mode == Mode::Stop).await;
}
