//! The state of a connection that is kept up: to Central, or to a broker.

use std::time::Duration;

use crate::frame::Timestamp;

/// What a connection is doing. `F` says why it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState<F> {
    Connecting,
    Connected {
        since: Timestamp,
    },
    /// The last try failed, or the last connection ended. The next try is at `until`.
    BackingOff {
        until: Timestamp,
        why: F,
    },
    /// It is not tried again.
    Stopped,
}

impl<F> ConnectionState<F> {
    /// It came up just now.
    #[must_use]
    pub(crate) fn connected() -> Self {
        Self::Connected {
            since: Timestamp::now(),
        }
    }

    /// It failed just now, and is tried again after `pause`.
    #[must_use]
    pub(crate) fn backing_off(pause: Duration, why: F) -> Self {
        let pause = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
        Self::BackingOff {
            until: Timestamp(Timestamp::now().0.saturating_add(pause)),
            why,
        }
    }

    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }
}
