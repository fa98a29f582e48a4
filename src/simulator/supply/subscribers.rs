//! Which subscriber gets which events of New Central.
//!
//! Connections that share a `Subscriber-Id` are one subscriber: they split its events between them.
//! Another id gets a full copy of its own (documented by HPE). Without the header all are one
//! subscriber too. While a subscriber has no connection its events are kept for it, up to 15 minutes,
//! unless it closed its last connection with code 1000.
//!
//! Only numbers are stored for that: frames are made from their numbers.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::pace::Pace;
use crate::simulator::frames::Ring;

/// The most events that are kept for a subscriber. Beyond that the oldest are dropped.
const QUEUE_EVENTS: u64 = 100_000;

/// The most subscribers that are known. Beyond that the one that has been away longest is forgotten.
const MAX_SUBSCRIBERS: usize = 10_000;

/// How long a connection that has taken its share leaves the rest to the subscriber's other ones.
const REST: Duration = Duration::from_millis(2);

/// Who a subscriber is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// Path and filter of the stream.
    pub(crate) stream: String,
    pub(crate) subscriber: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Subscribers {
    queue_time: Duration,
    rate: u32,
    count: Option<u64>,
    known: Mutex<HashMap<Identity, Arc<Subscriber>>>,
}

#[derive(Debug)]
struct Subscriber {
    ring: Arc<Ring>,
    state: Mutex<SubscriberState>,
}

#[derive(Debug)]
struct SubscriberState {
    pace: Pace,
    /// Numbers that were taken and not sent.
    returned: VecDeque<Range<u64>>,
    connections: u64,
    away: Option<Away>,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    since: Instant,
    for_good: bool,
}

/// One connection of a subscriber, until it is dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    subscriber: Arc<Subscriber>,
    /// Until then the subscriber's other connections come first.
    rests_until: Option<Instant>,
    for_good: bool,
}

impl Subscribers {
    /// Each gets `rate` events a second, 0 being no limit, and `count` in all.
    pub(crate) fn new(queue_time: Duration, rate: u32, count: Option<u64>) -> Self {
        Self {
            queue_time,
            rate,
            count,
            known: Mutex::default(),
        }
    }

    /// A connection begins. A new subscriber gets the frames of `ring`.
    pub(crate) fn join(&self, who: Identity, ring: Arc<Ring>, now: Instant) -> Membership {
        let mut known = self.known.lock().expect("no code panics with the lock");
        if known.len() >= MAX_SUBSCRIBERS && !known.contains_key(&who) {
            forget_one(&mut known);
        }
        let subscriber = known.entry(who).or_insert_with(|| {
            Arc::new(Subscriber {
                ring,
                state: Mutex::new(SubscriberState {
                    pace: Pace::new(self.rate, self.count, now),
                    returned: VecDeque::new(),
                    connections: 0,
                    away: None,
                }),
            })
        });
        let mut state = subscriber.state();
        if let Some(away) = state.away.take() {
            if away.for_good {
                state.returned.clear();
            }
            let kept = if away.for_good { 0 } else { QUEUE_EVENTS };
            state.pace.keep(now, self.queue_time, kept);
        }
        state.connections += 1;
        drop(state);
        Membership {
            subscriber: Arc::clone(subscriber),
            rests_until: None,
            for_good: false,
        }
    }
}

fn forget_one(known: &mut HashMap<Identity, Arc<Subscriber>>) {
    let longest = known
        .iter()
        .filter_map(|(who, subscriber)| Some((subscriber.state().away?.since, who)))
        .min_by_key(|(since, _)| *since)
        .map(|(_, who)| who.clone());
    if let Some(who) = longest {
        known.remove(&who);
    }
}

impl Subscriber {
    fn state(&self) -> MutexGuard<'_, SubscriberState> {
        self.state.lock().expect("no code panics with the lock")
    }
}

impl Membership {
    pub(crate) fn ring(&self) -> &Arc<Ring> {
        &self.subscriber.ring
    }

    /// This connection's share of the numbers that are due, up to `most`.
    pub(crate) fn take(&mut self, now: Instant, most: u64) -> Range<u64> {
        let mut state = self.subscriber.state();
        if let Some(returned) = state.returned.pop_front() {
            return returned;
        }
        if self.rests_until.is_some_and(|until| now < until) {
            return 0..0;
        }
        let share = state.pace.due(now).div_ceil(state.connections.max(1));
        let first = state.pace.total() + 1;
        let taken = share.min(most);
        state.pace.sent(taken);
        self.rests_until = (state.connections > 1 && taken > 0).then(|| now + REST);
        first..first + taken
    }

    /// These were not sent: the subscriber's next connection to ask sends them.
    pub(crate) fn give_back(&self, numbers: Range<u64>) {
        self.subscriber.state().returned.push_back(numbers);
    }

    pub(crate) fn burst(&self, events: u64) {
        self.subscriber.state().pace.burst(events);
    }

    pub(crate) fn wake(&self, now: Instant) -> Option<Instant> {
        let state = self.subscriber.state();
        if !state.returned.is_empty() {
            return Some(now);
        }
        let wake = state.pace.wake(now, state.connections)?;
        Some(self.rests_until.map_or(wake, |until| until.max(wake)))
    }

    /// The client has closed the connection with code 1000.
    pub(crate) fn leaves_for_good(&mut self) {
        self.for_good = true;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.subscriber.state();
        state.connections -= 1;
        if state.connections == 0 {
            state.away = Some(Away {
                since: Instant::now(),
                for_good: self.for_good,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::EVENTS;
    use crate::simulator::frames::site::Site;

    const SECOND: Duration = Duration::from_secs(1);

    fn ring() -> Arc<Ring> {
        Arc::new(Ring::new_central(
            EVENTS[0],
            false,
            &Site::new(1),
            1,
            1_700_000_000,
        ))
    }

    fn who(subscriber: &str) -> Identity {
        Identity {
            stream: EVENTS[0].to_owned(),
            subscriber: Some(subscriber.to_owned()),
        }
    }

    fn ten_a_second() -> Subscribers {
        Subscribers::new(60 * SECOND, 10, None)
    }

    #[test]
    fn connections_with_one_id_split_its_events() {
        let (subscribers, start) = (ten_a_second(), Instant::now());
        let mut one = subscribers.join(who("a"), ring(), start);
        let mut other = subscribers.join(who("a"), ring(), start);
        assert_eq!(one.take(start + SECOND, 64), 1..6);
        assert!(
            one.take(start + SECOND, 64).is_empty(),
            "it is the other's turn"
        );
        assert_eq!(other.take(start + SECOND, 2), 6..8);
    }

    #[test]
    fn another_id_gets_a_copy() {
        let (subscribers, start) = (ten_a_second(), Instant::now());
        for id in ["a", "b"] {
            let mut membership = subscribers.join(who(id), ring(), start);
            assert_eq!(membership.take(start + SECOND, 64), 1..11);
        }
    }

    #[test]
    fn what_is_sent_while_a_subscriber_is_away_is_kept_for_a_while() {
        let (subscribers, start) = (ten_a_second(), Instant::now());
        drop(subscribers.join(who("a"), ring(), start));
        let mut back = subscribers.join(who("a"), ring(), start + 10 * SECOND);
        assert_eq!(back.take(start + 10 * SECOND, u64::MAX), 1..101);
        drop(back);
        let mut late = subscribers.join(who("a"), ring(), start + 100 * SECOND);
        assert_eq!(late.take(start + 100 * SECOND, u64::MAX), 401..1001);
    }

    #[test]
    fn nothing_is_kept_for_one_that_left_for_good() {
        let (subscribers, start) = (ten_a_second(), Instant::now());
        subscribers.join(who("a"), ring(), start).leaves_for_good();
        let mut back = subscribers.join(who("a"), ring(), start + SECOND);
        assert!(back.take(start + SECOND, u64::MAX).is_empty());
        assert_eq!(back.take(start + 2 * SECOND, u64::MAX), 11..21);
    }

    #[test]
    fn what_did_not_get_out_comes_first() {
        let (subscribers, start) = (ten_a_second(), Instant::now());
        let mut one = subscribers.join(who("a"), ring(), start);
        let taken = one.take(start + SECOND, 3);
        one.give_back(taken);
        drop(one);
        let mut back = subscribers.join(who("a"), ring(), start + SECOND);
        assert_eq!(back.take(start + SECOND, 64), 1..4);
        assert_eq!(back.take(start + SECOND, 64), 4..11);
    }
}
