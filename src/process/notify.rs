//! Messages to the service manager (`sd_notify`). Without one, nothing is sent.

use std::time::Duration;

use sd_notify::NotifyState::{self, MonotonicUsec, Ready, Reloading, Status, Stopping, Watchdog};

/// The start, or a reload, is done.
pub fn ready(status: &str) {
    send(&[Ready, Status(status)]);
}

/// A reload has begun; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(MonotonicUsec(now)) => send(&[Reloading, MonotonicUsec(now)]),
        _ => send(&[Reloading]),
    }
}

pub fn stopping(status: &str) {
    send(&[Stopping, Status(status)]);
}

/// A line for people, as `systemctl status` shows it.
pub fn status(status: &str) {
    send(&[Status(status)]);
}

/// The watchdog's sign of life.
pub fn alive() {
    send(&[Watchdog]);
}

/// The longest time between two calls of [`alive`]; `None`: there is no watchdog.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot notify the service manager: {error}");
    }
}
