//! Which frames a connection sends, and when.

pub(super) mod ledger;
pub(super) mod pace;
pub(super) mod subscribers;

use std::ops::Range;

use tokio::time::Instant;

use self::pace::Pace;
use self::subscribers::Membership;

/// Where a connection's frames come from.
#[derive(Debug)]
pub(crate) enum Supply {
    /// Classic: each connection has frames of its own. Those that cannot be sent are lost.
    Own(Pace),
    /// New Central: the connection's share of its subscriber's frames.
    Shared(Membership),
}

impl Supply {
    /// The numbers of the frames that are due, up to `most`.
    pub(crate) fn take(
        &mut self,
        ledger: &ledger::StreamLedger,
        now: Instant,
        most: u64,
    ) -> Range<u64> {
        match self {
            Self::Own(pace) => {
                let taken = pace.due(now).min(most);
                if taken == 0 {
                    return 0..0;
                }
                pace.sent(taken);
                let first = ledger.number(taken);
                first..first + taken
            }
            Self::Shared(membership) => {
                let numbers = membership.take(now, most);
                ledger.numbered(numbers.end.saturating_sub(1));
                numbers
            }
        }
    }

    /// These frames may not have been sent.
    pub(crate) fn give_back(&self, numbers: Range<u64>) {
        if let Self::Shared(membership) = self {
            membership.give_back(numbers);
        }
    }

    /// When the next frame is due; `None`: never.
    pub(crate) fn wake(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Own(pace) => pace.wake(now, 1),
            Self::Shared(membership) => membership.wake(now),
        }
    }

    /// Makes this many more frames due at once.
    pub(crate) fn burst(&mut self, frames: u64) {
        match self {
            Self::Own(pace) => pace.burst(frames),
            Self::Shared(membership) => membership.burst(frames),
        }
    }

    /// The client has closed the connection with this code.
    pub(crate) fn closed_with(&mut self, code: u16) {
        if let (Self::Shared(membership), 1000) = (self, code) {
            membership.leaves_for_good();
        }
    }
}
