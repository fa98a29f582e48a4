//! Keeps the service manager informed: ready, reloading, the status line, the sign of life.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use super::status;
use super::view::View;
use super::watchdog::Watchdog;
use crate::connection::ConnectionState;
use crate::process::notify;

/// How often the status line is updated.
const TICK: Duration = Duration::from_secs(5);

/// The start counts as done after so long at the latest: if Central answers a thousand subscriptions
/// slowly, the service manager must not take the forwarder for one that cannot start.
const FIRST_TRIES: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Service {
    ready: bool,
    /// The status line that the service manager has.
    line: String,
    ticks: Interval,
    watchdog: Watchdog,
    stuck: Vec<String>,
}

impl Service {
    pub(super) fn new() -> Self {
        // Twice as often as it has to be, and a little more.
        let every = notify::watchdog().map_or(TICK, |watchdog| TICK.min(watchdog / 3));
        let mut ticks = interval(every.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ready: false,
            line: String::new(),
            ticks,
            watchdog: Watchdog::default(),
            stuck: Vec::new(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(super) fn ready(&mut self, view: &View) {
        self.ready = true;
        self.line = status::line(view);
        notify::ready(&self.line);
        tracing::info!("ready: {}", self.line);
    }

    pub(super) fn reloading(&self) {
        if self.ready {
            notify::reloading();
        }
    }

    /// Whether or not the reload succeeded.
    pub(super) fn reloaded(&mut self, view: &View) {
        if self.ready {
            self.line = status::line(view);
            notify::ready(&self.line);
        }
    }

    pub(super) async fn next_tick(&mut self) {
        self.ticks.tick().await;
    }

    /// Sends the status line if it has changed, and the watchdog's sign of life if everything moves.
    pub(super) fn tick(&mut self, view: &View) {
        let line = status::line(view);
        if line != self.line {
            notify::status(&line);
            self.line = line;
        }
        let stuck = self.watchdog.stuck_parts(view, Instant::now().into_std());
        if stuck.is_empty() {
            notify::alive();
        } else if stuck != self.stuck {
            tracing::error!("a bug: no movement any more in {}", stuck.join(", "));
        }
        self.stuck = stuck;
    }
}

/// Waits until each subscription and each sink had its first try.
pub(super) async fn first_tries(view: Arc<View>) {
    let tries = async {
        for subscription in &view.subscriptions {
            let mut state = subscription.state();
            // An error means that its task has ended.
            let _ = state
                .wait_for(|state| *state != ConnectionState::Connecting)
                .await;
        }
        for delivery in &view.deliveries {
            delivery.first_try().await;
        }
    };
    tokio::select! {
        () = tries => {}
        () = sleep(FIRST_TRIES) => {}
    }
}
