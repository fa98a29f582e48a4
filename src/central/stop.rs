//! How a subscription is told to end, and why.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio_util::sync::CancellationToken;

/// Why a subscription ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It is wanted again soon: New Central keeps its events for up to 15 minutes (documented by
    /// HPE).
    ForNow,
    /// It is wanted no more: Central is told so, by close code 1000 (documented by HPE).
    ForGood,
}

#[derive(Debug, Default)]
pub(crate) struct Stop {
    asked: CancellationToken,
    for_good: AtomicBool,
}

impl Stop {
    pub(crate) fn ask(&self, leave: Leave) {
        self.for_good.store(leave == Leave::ForGood, Relaxed);
        self.asked.cancel();
    }

    /// Ready once it was asked.
    pub(crate) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    pub(crate) fn leave(&self) -> Leave {
        if self.for_good.load(Relaxed) {
            Leave::ForGood
        } else {
            Leave::ForNow
        }
    }
}
