//! Which frames a connection sends, and when.

use std::ops::Range;

use tokio::time::Instant;

use super::ledger;
use super::pace::Pace;
use super::subscribers::Membership;

#[derive(Debug)]
pub(super) enum Supply {
    /// Classic: each connection has its own; what does not get out is lost.
    Own(Pace),
    /// New Central: its part of a subscriber's.
    Shared(Membership),
}

impl Supply {
    /// The numbers of the frames that are due, up to `most`.
    pub(super) fn take(&mut self, ledger: &ledger::Topic, now: Instant, most: u64) -> Range<u64> {
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

    /// These may not have got out.
    pub(super) fn give_back(&self, numbers: Range<u64>) {
        if let Self::Shared(membership) = self {
            membership.give_back(numbers);
        }
    }

    /// When something is due again; `None`: never.
    pub(super) fn wake(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Own(pace) => pace.wake(now, 1),
            Self::Shared(membership) => membership.wake(now),
        }
    }

    /// So many more are due at once.
    pub(super) fn burst(&mut self, frames: u64) {
        match self {
            Self::Own(pace) => pace.burst(frames),
            Self::Shared(membership) => membership.burst(frames),
        }
    }

    /// The client has closed with this code.
    pub(super) fn closed_with(&mut self, code: u16) {
        if let (Self::Shared(membership), 1000) = (self, code) {
            membership.leaves_for_good();
        }
    }
}
