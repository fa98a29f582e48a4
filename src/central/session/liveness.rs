//! When to ask whether the peer is there, and when to give it up. Pure: the caller brings the time.
//!
//! Two clocks run. *Heard*: any message, pongs too, shows that the peer lives; a pong is required
//! only once one was seen on the connection, since Central is said not to answer pings (seen in
//! clients). *Fed*: data, which a topic never lacks for long; a peer that lives but sends nothing may
//! have forgotten the subscription.
//!
//! Pings of all connections go out on the beats of one clock: a process with ten thousand of them
//! wakes up for many at a time, which costs half of waking up for each.
//!
//! Time that we spend on storing what was read counts for neither: both clocks begin again when it is
//! over, so our own backpressure is never taken for a dead peer.

use std::time::Duration;

use tokio::time::Instant;

use crate::central::error::{Cause, Error};
use crate::central::settings::Settings;

/// Beats between two pings of a connection.
const BEATS: u32 = 20;

#[derive(Debug)]
pub(crate) struct Liveness {
    /// When the clock began that all connections share.
    origin: Instant,
    ping_interval: Duration,
    pong_timeout: Duration,
    idle_timeout: Duration,
    fed: Instant,
    next_ping: Instant,
    /// The first ping since the peer was last heard.
    asked: Option<Instant>,
    answers_pings: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Ping,
    Dead(Error),
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
            fed: now,
            next_ping: beat_from(now + settings.ping_interval, origin, settings.ping_interval),
            asked: None,
            answers_pings: false,
        }
    }

    /// Data came, and is stored.
    pub(crate) fn fed(&mut self, now: Instant) {
        self.fed = now;
        self.heard();
    }

    /// Anything came.
    pub(crate) fn heard(&mut self) {
        self.asked = None;
    }

    pub(crate) fn pong(&mut self) {
        self.answers_pings = true;
        self.heard();
    }

    /// When to look again.
    pub(crate) fn deadline(&self) -> Instant {
        let silent = self.fed + self.idle_timeout;
        let earliest = silent.min(self.next_ping);
        match self.unanswered() {
            Some(unanswered) => earliest.min(unanswered),
            None => earliest,
        }
    }

    /// What is to be done at `now`, if anything.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        if now >= self.fed + self.idle_timeout {
            return Some(Due::Dead(Error::broken(
                Cause::Silent,
                format!("no data for {:?}", self.idle_timeout),
            )));
        }
        if self.unanswered().is_some_and(|deadline| now >= deadline) {
            return Some(Due::Dead(Error::broken(
                Cause::Unanswered,
                format!("no answer to a ping for {:?}", self.pong_timeout),
            )));
        }
        if now < self.next_ping {
            return None;
        }
        self.next_ping = beat_from(now + self.ping_interval, self.origin, self.ping_interval);
        self.asked.get_or_insert(now);
        Some(Due::Ping)
    }

    fn unanswered(&self) -> Option<Instant> {
        let asked = self.asked.filter(|_| self.answers_pings)?;
        Some(asked + self.pong_timeout)
    }
}

/// The first beat that is not before `at`.
fn beat_from(at: Instant, origin: Instant, ping_interval: Duration) -> Instant {
    let beat = (ping_interval / BEATS).as_nanos().max(1);
    let beats = at
        .saturating_duration_since(origin)
        .as_nanos()
        .div_ceil(beat);
    let since_origin = u64::try_from(beats * beat).unwrap_or(u64::MAX);
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

    fn cause(due: Option<Due>) -> Option<Cause> {
        match due? {
            Due::Dead(error) => Some(error.cause()),
            Due::Ping => None,
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
            let beat = if late == 0 { 27 } else { 28 };
            assert_eq!(liveness.deadline(), origin + beat * SECOND);
        }
    }

    #[test]
    fn a_peer_that_never_answered_a_ping_is_not_given_up_for_that() {
        let (mut liveness, start) = liveness();
        assert_eq!(liveness.due(start + 20 * SECOND), Some(Due::Ping));
        assert_eq!(liveness.due(start + 36 * SECOND), None);
        assert_eq!(liveness.due(start + 40 * SECOND), Some(Due::Ping));
    }

    #[test]
    fn a_peer_that_answered_once_must_answer_again() {
        let (mut liveness, start) = liveness();
        assert_eq!(liveness.due(start + 20 * SECOND), Some(Due::Ping));
        liveness.pong();
        assert_eq!(liveness.due(start + 40 * SECOND), Some(Due::Ping));
        assert_eq!(liveness.deadline(), start + 55 * SECOND);
        assert_eq!(liveness.due(start + 54 * SECOND), None);
        let due = liveness.due(start + 55 * SECOND);
        assert_eq!(cause(due), Some(Cause::Unanswered));
    }

    #[test]
    fn anything_that_comes_answers_a_ping() {
        let (mut liveness, start) = liveness();
        liveness.due(start + 20 * SECOND);
        liveness.pong();
        liveness.due(start + 40 * SECOND);
        liveness.heard();
        assert_eq!(liveness.due(start + 56 * SECOND), None);
    }

    #[test]
    fn pongs_do_not_stand_in_for_data() {
        let (mut liveness, start) = liveness();
        for second in (20..100).step_by(20) {
            assert_eq!(liveness.due(start + second * SECOND), Some(Due::Ping));
            liveness.pong();
        }
        assert_eq!(
            cause(liveness.due(start + 100 * SECOND)),
            Some(Cause::Silent)
        );
    }

    #[test]
    fn the_time_we_take_to_store_does_not_count() {
        let (mut liveness, start) = liveness();
        liveness.due(start + 20 * SECOND);
        liveness.pong();
        liveness.due(start + 40 * SECOND);
        let stored = start + 4000 * SECOND;
        liveness.fed(stored);
        assert_eq!(liveness.due(stored), Some(Due::Ping));
        assert_eq!(liveness.due(stored + 14 * SECOND), None);
    }
}
