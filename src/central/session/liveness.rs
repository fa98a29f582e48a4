//! When to send a ping, and when to give a connection up. Pure: the caller brings the time.
//!
//! Two deadlines run. Any message, pongs too, shows that the peer is alive; a pong is required only
//! once the connection has answered a ping, since Central is said not to answer them (seen in
//! clients). Data is required too: a topic is never silent for long, and a peer that is alive but
//! sends nothing may have forgotten the subscription.
//!
//! The pings of all connections go out on the ticks of one clock: in a process with ten thousand
//! connections, waking up for many at a time costs half of waking up for each.
//!
//! The time that it takes to store a frame counts for neither deadline: both begin again afterwards,
//! so that our own backpressure is never taken for a dead peer.

use std::time::Duration;

use tokio::time::Instant;

use crate::central::error::{Cause, Error};
use crate::central::settings::Settings;

/// Ticks of the shared clock between two pings of a connection.
const TICKS_PER_PING: u32 = 20;

#[derive(Debug)]
pub(crate) struct Liveness {
    /// When the shared clock began.
    origin: Instant,
    ping_interval: Duration,
    pong_timeout: Duration,
    idle_timeout: Duration,
    last_data: Instant,
    next_ping: Instant,
    /// The first ping since the last message.
    unanswered_ping: Option<Instant>,
    answers_pings: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Ping,
    GiveUp(Error),
}

impl Liveness {
    pub(crate) fn new(
        settings: &Settings,
        idle_timeout: Duration,
        origin: Instant,
        now: Instant,
    ) -> Self {
        Self {
            origin,
            ping_interval: settings.ping_interval,
            pong_timeout: settings.pong_timeout,
            idle_timeout,
            last_data: now,
            next_ping: next_tick(now + settings.ping_interval, origin, settings.ping_interval),
            unanswered_ping: None,
            answers_pings: false,
        }
    }

    /// A frame was received, and is stored.
    pub(crate) fn data_stored(&mut self, now: Instant) {
        self.last_data = now;
        self.message_received();
    }

    pub(crate) fn message_received(&mut self) {
        self.unanswered_ping = None;
    }

    pub(crate) fn pong_received(&mut self) {
        self.answers_pings = true;
        self.message_received();
    }

    /// When to call [`poll`](Self::poll) again.
    pub(crate) fn deadline(&self) -> Instant {
        let silent = self.last_data + self.idle_timeout;
        let earliest = silent.min(self.next_ping);
        match self.pong_deadline() {
            Some(deadline) => earliest.min(deadline),
            None => earliest,
        }
    }

    /// What is to be done at `now`, if anything.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Action> {
        if now >= self.last_data + self.idle_timeout {
            return Some(Action::GiveUp(Error::broken(
                Cause::Silent,
                format!("no data for {:?}", self.idle_timeout),
            )));
        }
        if self.pong_deadline().is_some_and(|deadline| now >= deadline) {
            return Some(Action::GiveUp(Error::broken(
                Cause::Unanswered,
                format!("no answer to a ping for {:?}", self.pong_timeout),
            )));
        }
        if now < self.next_ping {
            return None;
        }
        self.next_ping = next_tick(now + self.ping_interval, self.origin, self.ping_interval);
        self.unanswered_ping.get_or_insert(now);
        Some(Action::Ping)
    }

    fn pong_deadline(&self) -> Option<Instant> {
        let ping = self.unanswered_ping.filter(|_| self.answers_pings)?;
        Some(ping + self.pong_timeout)
    }
}

/// The first tick that is not before `at`.
fn next_tick(at: Instant, origin: Instant, ping_interval: Duration) -> Instant {
    let tick = (ping_interval / TICKS_PER_PING).as_nanos().max(1);
    let ticks = at
        .saturating_duration_since(origin)
        .as_nanos()
        .div_ceil(tick);
    let since_origin = u64::try_from(ticks * tick).unwrap_or(u64::MAX);
    origin + Duration::from_nanos(since_origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn liveness() -> (Liveness, Instant) {
        let settings = Settings {
            ping_interval: 20 * SECOND,
            pong_timeout: 15 * SECOND,
            ..Settings::default()
        };
        let start = Instant::now();
        (Liveness::new(&settings, 100 * SECOND, start, start), start)
    }

    fn cause(action: Option<Action>) -> Option<Cause> {
        match action? {
            Action::GiveUp(error) => Some(error.cause()),
            Action::Ping => None,
        }
    }

    #[test]
    fn connections_ping_together() {
        let (_, origin) = liveness();
        let settings = Settings {
            ping_interval: 20 * SECOND,
            ..Settings::default()
        };
        for late in [0, 1, 999_999_999] {
            let now = origin + 7 * SECOND + Duration::from_nanos(late);
            let liveness = Liveness::new(&settings, 100 * SECOND, origin, now);
            let tick = if late == 0 { 27 } else { 28 };
            assert_eq!(liveness.deadline(), origin + tick * SECOND);
        }
    }

    #[test]
    fn a_peer_that_never_answered_a_ping_is_not_given_up_for_that() {
        let (mut liveness, start) = liveness();
        assert_eq!(liveness.poll(start + 20 * SECOND), Some(Action::Ping));
        assert_eq!(liveness.poll(start + 36 * SECOND), None);
        assert_eq!(liveness.poll(start + 40 * SECOND), Some(Action::Ping));
    }

    #[test]
    fn a_peer_that_answered_once_must_answer_again() {
        let (mut liveness, start) = liveness();
        assert_eq!(liveness.poll(start + 20 * SECOND), Some(Action::Ping));
        liveness.pong_received();
        assert_eq!(liveness.poll(start + 40 * SECOND), Some(Action::Ping));
        assert_eq!(liveness.deadline(), start + 55 * SECOND);
        assert_eq!(liveness.poll(start + 54 * SECOND), None);
        let action = liveness.poll(start + 55 * SECOND);
        assert_eq!(cause(action), Some(Cause::Unanswered));
    }

    #[test]
    fn anything_that_comes_answers_a_ping() {
        let (mut liveness, start) = liveness();
        liveness.poll(start + 20 * SECOND);
        liveness.pong_received();
        liveness.poll(start + 40 * SECOND);
        liveness.message_received();
        assert_eq!(liveness.poll(start + 56 * SECOND), None);
    }

    #[test]
    fn pongs_do_not_stand_in_for_data() {
        let (mut liveness, start) = liveness();
        for second in (20..100).step_by(20) {
            assert_eq!(liveness.poll(start + second * SECOND), Some(Action::Ping));
            liveness.pong_received();
        }
        assert_eq!(
            cause(liveness.poll(start + 100 * SECOND)),
            Some(Cause::Silent)
        );
    }

    #[test]
    fn the_time_we_take_to_store_does_not_count() {
        let (mut liveness, start) = liveness();
        liveness.poll(start + 20 * SECOND);
        liveness.pong_received();
        liveness.poll(start + 40 * SECOND);
        let stored = start + 4000 * SECOND;
        liveness.data_stored(stored);
        assert_eq!(liveness.poll(stored), Some(Action::Ping));
        assert_eq!(liveness.poll(stored + 14 * SECOND), None);
    }
}
