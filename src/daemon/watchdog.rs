//! Finds parts of the daemon that are stuck. Each part shows a pulse while it has something to do; if
//! the pulse does not change for too long, the part is stuck, and only a restart helps.
//!
//! A part that waits to retry a broker or Central is not stuck: it has nothing to do until the next
//! try is due.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::view::View;
use crate::central::subscription;
use crate::config::{Config, OnFull};
use crate::connection::ConnectionState;
use crate::delivery;
use crate::frame::Timestamp;
use crate::journal::Stats;

/// Several times the longest deadline between two pulses: a connected subscription pings every 20 s
/// and gives up a write after another 20 s.
const STUCK_AFTER: Duration = Duration::from_secs(90);

/// Numbers of which at least one changes while a part moves.
type Pulse = [u64; 3];

#[derive(Debug, Default)]
pub(super) struct Watchdog {
    /// What each busy part showed, and since when.
    seen: HashMap<String, (Pulse, Instant)>,
}

impl Watchdog {
    /// The names of the parts that are stuck.
    pub(super) fn stuck_parts(&mut self, view: &View, now: Instant) -> Vec<String> {
        let journal = view.journal.stats();
        let mut parts = vec![("the journal".to_owned(), writer(&journal, &view.config))];
        for subscription in &view.subscriptions {
            let name = format!("subscription {}", subscription.id());
            parts.push((name, reader(subscription)));
        }
        for delivery in &view.deliveries {
            let name = format!("sink {}", delivery.sink());
            parts.push((name, sender(delivery, &journal)));
        }
        self.judge(parts, now)
    }

    fn judge(&mut self, parts: Vec<(String, Option<Pulse>)>, now: Instant) -> Vec<String> {
        let mut before = std::mem::take(&mut self.seen);
        let mut stuck = Vec::new();
        for (name, pulse) in parts {
            let Some(pulse) = pulse else {
                continue;
            };
            let since = match before.remove(&name) {
                Some((shown, since)) if shown == pulse => since,
                _ => now,
            };
            if now.duration_since(since) >= STUCK_AFTER {
                stuck.push(name.clone());
            }
            self.seen.insert(name, (pulse, since));
        }
        stuck
    }
}

/// The journal's writer, while frames wait to be written or synced. It says itself when the disk
/// fails, and frames may have to wait for a sink that must not skip.
fn writer(journal: &Stats, config: &Config) -> Option<Pulse> {
    let may_block = config
        .backlogs
        .values()
        .any(|backlog| backlog.on_full == OnFull::Block);
    let waits = (journal.queued_bytes > 0 && !may_block) || journal.synced < journal.end;
    let pulse = [journal.appended_records, journal.synced, journal.syncs];
    (waits && journal.trouble.is_none()).then_some(pulse)
}

fn reader(subscription: &subscription::Handle) -> Option<Pulse> {
    match *subscription.state().borrow() {
        ConnectionState::Connected { since } => {
            let since = u64::try_from(since.0).unwrap_or_default();
            subscription.progress().map(|progress| [since, progress, 0])
        }
        ConnectionState::BackingOff { until, .. } => overdue(until),
        // Each step of a try has its deadline.
        ConnectionState::Connecting | ConnectionState::Stopped => None,
    }
}

/// While there are frames to be sent and none is on its way: what a broker does not confirm, the
/// sink gives up by itself.
fn sender(delivery: &delivery::Handle, journal: &Stats) -> Option<Pulse> {
    let status = delivery.status();
    match status.connection {
        ConnectionState::Connected { since } => {
            let cursor = journal
                .cursors
                .iter()
                .find(|one| one.name == delivery.sink())?;
            let since = u64::try_from(since.0).unwrap_or_default();
            let busy = cursor.lag > 0 && status.in_flight_records == 0;
            busy.then_some([since, status.sent, cursor.committed])
        }
        ConnectionState::BackingOff { until, .. } => overdue(until),
        ConnectionState::Connecting | ConnectionState::Stopped => None,
    }
}

/// The next try is due; until then there is nothing to do.
fn overdue(until: Timestamp) -> Option<Pulse> {
    let due = u64::try_from(until.0).unwrap_or_default();
    (until < Timestamp::now()).then_some([due, 0, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pulse: Option<Pulse>) -> Vec<(String, Option<Pulse>)> {
        vec![("sink lake".to_owned(), pulse)]
    }

    #[test]
    fn a_part_that_shows_the_same_for_too_long_is_stuck() {
        let start = Instant::now();
        let mut watchdog = Watchdog::default();
        let mut judge = |pulse, after| watchdog.judge(shown(pulse), start + after);
        assert!(judge(Some([1, 0, 0]), Duration::ZERO).is_empty());
        assert!(judge(Some([1, 0, 0]), STUCK_AFTER / 2).is_empty());
        assert_eq!(judge(Some([1, 0, 0]), STUCK_AFTER), ["sink lake"]);
        assert!(
            judge(Some([2, 0, 0]), STUCK_AFTER * 2).is_empty(),
            "it moves again"
        );
    }

    #[test]
    fn a_part_that_moves_or_has_nothing_to_do_is_not_stuck() {
        let start = Instant::now();
        let mut watchdog = Watchdog::default();
        for step in 0..10 {
            let pulse = (step % 3 > 0).then_some([7, 7, 7]);
            let now = start + STUCK_AFTER / 2 * step;
            assert!(
                watchdog.judge(shown(pulse), now).is_empty(),
                "idle in between"
            );
        }
        for step in 0..10_u32 {
            let now = start + STUCK_AFTER * (10 + step);
            let stuck = watchdog.judge(shown(Some([step.into(), 0, 0])), now);
            assert!(stuck.is_empty(), "it moves");
        }
    }
}
