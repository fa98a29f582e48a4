//! What the service manager is told (`sd_notify`). Where there is none, nothing is said.

use std::time::Duration;

use sd_notify::NotifyState::{self, MonotonicUsec, Ready, Reloading, Status, Stopping, Watchdog};

/// The start, or a reload, is over.
pub fn ready(status: &str) {
    say(&[Ready, Status(status)]);
}

/// A reload has begun; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(MonotonicUsec(now)) => say(&[Reloading, MonotonicUsec(now)]),
        _ => say(&[Reloading]),
    }
}

pub fn stopping(status: &str) {
    say(&[Stopping, Status(status)]);
}

/// One line for people.
pub fn status(status: &str) {
    say(&[Status(status)]);
}

/// All that must move does.
pub fn alive() {
    say(&[Watchdog]);
}

/// How often [`alive`] must be called at least; `None`: nobody waits for it.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager cannot be told how it goes: {error}");
    }
}
