//! What the service manager is told: ready, reloading, stopping, how it goes, and that all moves.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use super::watchdog::Watchdog;
use super::{View, status};
use crate::central::subscription::State;
use crate::notify;

/// How often the status line is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The start is over at the latest after so long: a Central that answers slowly to a thousand
/// subscriptions is no reason to be taken for one that cannot start.
const FIRST_TRIES: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Service {
    ready: bool,
    /// The status line that it has.
    said: String,
    looks: Interval,
    watchdog: Watchdog,
    stuck: Vec<String>,
}

impl Service {
    pub(super) fn new() -> Self {
        // Twice as often as it has to be, and a little more.
        let every = notify::watchdog().map_or(LOOK, |watchdog| LOOK.min(watchdog / 3));
        let mut looks = interval(every.max(Duration::from_millis(1)));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ready: false,
            said: String::new(),
            looks,
            watchdog: Watchdog::default(),
            stuck: Vec::new(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(super) fn ready(&mut self, view: &View) {
        self.ready = true;
        self.said = status::line(view);
        notify::ready(&self.said);
        tracing::info!("ready: {}", self.said);
    }

    pub(super) fn reloading(&self) {
        if self.ready {
            notify::reloading();
        }
    }

    /// However it went.
    pub(super) fn reloaded(&mut self, view: &View) {
        if self.ready {
            self.said = status::line(view);
            notify::ready(&self.said);
        }
    }

    /// Waits until it is time to look.
    pub(super) async fn time_to_look(&mut self) {
        self.looks.tick().await;
    }

    /// Tells how it goes, if that is news, and that all moves, if it does.
    pub(super) fn look(&mut self, view: &View) {
        let line = status::line(view);
        if line != self.said {
            notify::status(&line);
            self.said = line;
        }
        let stuck = self.watchdog.look(view, Instant::now().into_std());
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
            // An error: its task has ended.
            let _ = state.wait_for(|state| *state != State::Connecting).await;
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
