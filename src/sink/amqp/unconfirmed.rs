//! Which records are unconfirmed, and which of them came back.
//!
//! The broker returns an unroutable message before it confirms it. lapin gives a returned message
//! to whichever confirmation it completes next, and completes several at a time in any order: the
//! message may come with another one's confirmation, and we may see that after our own. Two rules
//! make it certain again:
//!
//! 1. A returned message is known by what it holds, not by what it came with.
//! 2. A confirmation counts only once nothing can come that lapin completed before it. To know that,
//!    a *marker* is put behind all that is complete in the queue from which confirmations are taken.
//!    When it comes out, all confirmations before it are there; and if those of all messages that
//!    came back are among them, then lapin holds no returned message of theirs any more.

use std::collections::BTreeMap;
use std::mem;

use tokio::time::Instant;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::sink::{Cause, DeliveryId, Failure, Outcome};

/// Stands for what a message holds. Two that are the same share their fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64);

impl Identity {
    pub(super) fn of(routing_key: &str, payload: &[u8]) -> Self {
        Self(xxh3_64_with_seed(payload, xxh3_64(routing_key.as_bytes())))
    }
}

/// The broker's word on one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ack,
    Nack,
}

#[derive(Debug, Default)]
pub(super) struct Unsettled {
    messages: BTreeMap<DeliveryId, Message>,
    /// Answered since the last marker was put into the queue.
    fresh: Vec<DeliveryId>,
    /// Answered before.
    before_marker: Vec<DeliveryId>,
    marker_is_out: bool,
    /// What came back and is not settled.
    returned: Vec<DeliveryId>,
}

#[derive(Debug)]
struct Message {
    identity: Identity,
    since: Instant,
    answer: Option<Answer>,
    is_before_marker: bool,
    /// Why it came back.
    returned: Option<String>,
}

/// A message came back that was not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown;

impl Unsettled {
    pub(super) fn sent(&mut self, delivery_id: DeliveryId, identity: Identity, since: Instant) {
        let message = Message {
            identity,
            since,
            answer: None,
            is_before_marker: false,
            returned: None,
        };
        self.messages.insert(delivery_id, message);
    }

    pub(super) fn answered(&mut self, delivery_id: DeliveryId, answer: Answer) {
        if let Some(message) = self.messages.get_mut(&delivery_id) {
            message.answer = Some(answer);
            self.fresh.push(delivery_id);
        }
    }

    pub(super) fn came_back(&mut self, identity: Identity, why: String) -> Result<(), Unknown> {
        let mut messages = self.messages.iter_mut();
        let (delivery_id, message) = messages
            .find(|(_, message)| message.identity == identity && message.returned.is_none())
            .ok_or(Unknown)?;
        message.returned = Some(why);
        self.returned.push(*delivery_id);
        Ok(())
    }

    /// Whether a marker is to be put into the queue now.
    pub(super) fn wants_marker(&mut self) -> bool {
        if self.marker_is_out || self.fresh.is_empty() {
            return false;
        }
        for delivery_id in &self.fresh {
            if let Some(message) = self.messages.get_mut(delivery_id) {
                message.is_before_marker = true;
            }
        }
        self.before_marker.append(&mut self.fresh);
        self.marker_is_out = true;
        true
    }

    /// Takes what is certain now that the marker has come out.
    pub(super) fn marker_came_out(&mut self) -> impl Iterator<Item = (DeliveryId, Outcome)> + '_ {
        self.marker_is_out = false;
        let is_certain = self.returned.iter().all(|delivery_id| {
            let message = self.messages.get(delivery_id);
            message.is_none_or(|message| message.is_before_marker)
        });
        let settled = if is_certain {
            self.returned.clear();
            mem::take(&mut self.before_marker)
        } else {
            Vec::new()
        };
        settled.into_iter().filter_map(|delivery_id| {
            let message = self.messages.remove(&delivery_id)?;
            Some((delivery_id, outcome(message)))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// When the first of them was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.messages.values().next().map(|message| message.since)
    }
}

fn outcome(message: Message) -> Outcome {
    match (message.returned, message.answer) {
        (Some(why), _) => Outcome::Refused(Failure::new(Cause::NoDestination, why)),
        (None, Some(Answer::Ack)) => Outcome::Confirmed,
        (None, _) => Outcome::Retry(Failure::new(
            Cause::Overloaded,
            "the broker did not take a record (nack): a queue may be full",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const MESSAGES: u64 = 12;

    /// A broker and lapin, as far as they are of concern here.
    #[derive(Default)]
    struct Peer {
        /// Messages that came back and that no confirmation has taken along yet.
        waiting: VecDeque<u64>,
        /// Confirmations that are complete and not seen, with what each took along; and the marker.
        complete: Vec<Seen>,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Confirmation(u64, Option<u64>),
        Marker,
    }

    impl Peer {
        fn confirm(&mut self, message: u64) {
            let taken_along = self.waiting.pop_front();
            self.complete.push(Seen::Confirmation(message, taken_along));
        }

        /// Any of what is complete; the marker only if all that was complete before it is seen.
        fn take(&mut self, pick: usize) -> Option<Seen> {
            let marker = self.complete.iter().position(|seen| *seen == Seen::Marker);
            let mut index = pick % self.complete.len().max(1);
            if marker == Some(index) && index > 0 {
                index -= 1;
            }
            (index < self.complete.len()).then(|| self.complete.remove(index))
        }
    }

    fn identity(message: u64) -> Identity {
        Identity::of("key", &message.to_le_bytes())
    }

    fn see(
        seen: Seen,
        unsettled: &mut Unsettled,
        peer: &mut Peer,
        settled: &mut Vec<(DeliveryId, Outcome)>,
    ) {
        match seen {
            Seen::Marker => settled.extend(unsettled.marker_came_out()),
            Seen::Confirmation(message, taken_along) => {
                if let Some(returned) = taken_along {
                    unsettled
                        .came_back(identity(returned), "back".to_owned())
                        .unwrap();
                }
                unsettled.answered(DeliveryId(message), Answer::Ack);
            }
        }
        if unsettled.wants_marker() {
            peer.complete.push(Seen::Marker);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn what_came_back_is_refused_and_nothing_else_however_lapin_mixes_it(
            unroutable in any::<u64>(),
            order in Just((0..MESSAGES).collect::<Vec<_>>()).prop_shuffle(),
            early_returns in 0..4_usize,
            picks in prop::collection::vec((any::<usize>(), any::<bool>()), 200),
        ) {
            let is_unroutable = |message: u64| unroutable >> message & 1 == 1;
            let mut unsettled = Unsettled::default();
            for message in 0..MESSAGES {
                unsettled.sent(DeliveryId(message), identity(message), Instant::now());
            }
            let mut peer = Peer::default();
            let mut settled = Vec::new();
            let mut to_return: VecDeque<_> =
                order.iter().copied().filter(|message| is_unroutable(*message)).collect();
            let mut to_confirm = order.into_iter();
            for (pick, sees) in picks {
                if sees {
                    if let Some(seen) = peer.take(pick) {
                        see(seen, &mut unsettled, &mut peer, &mut settled);
                    }
                } else if let Some(message) = to_confirm.next() {
                    // A message comes back before it is confirmed, and others may come back with it.
                    while to_return.contains(&message) {
                        peer.waiting.extend(to_return.pop_front());
                    }
                    for _ in 0..early_returns.min(pick % 4) {
                        peer.waiting.extend(to_return.pop_front());
                    }
                    peer.confirm(message);
                }
            }
            for message in to_confirm {
                while to_return.contains(&message) {
                    peer.waiting.extend(to_return.pop_front());
                }
                peer.confirm(message);
            }
            while let Some(seen) = peer.take(0) {
                see(seen, &mut unsettled, &mut peer, &mut settled);
            }
            prop_assert_eq!(settled.len() as u64, MESSAGES);
            prop_assert_eq!(unsettled.len(), 0);
            for (DeliveryId(message), outcome) in settled {
                let expected = if is_unroutable(message) {
                    Outcome::Refused(Failure::new(Cause::NoDestination, "back"))
                } else {
                    Outcome::Confirmed
                };
                prop_assert_eq!(outcome, expected, "message {}", message);
            }
        }
    }

    #[test]
    fn what_was_never_sent_cannot_come_back() {
        let mut unsettled = Unsettled::default();
        assert_eq!(
            unsettled.came_back(identity(1), String::new()),
            Err(Unknown)
        );
    }

    #[test]
    fn the_oldest_is_the_first_that_is_not_settled() {
        let mut unsettled = Unsettled::default();
        let first = Instant::now();
        let second = first + Duration::from_secs(1);
        for (message, at) in [(3, first), (4, second)] {
            unsettled.sent(DeliveryId(message), identity(message), at);
        }
        assert_eq!(unsettled.oldest(), Some(first));
        unsettled.answered(DeliveryId(3), Answer::Nack);
        assert!(unsettled.wants_marker());
        assert!(!unsettled.wants_marker(), "one marker at a time");
        let settled: Vec<_> = unsettled.marker_came_out().collect();
        assert!(matches!(settled[..], [(DeliveryId(3), Outcome::Retry(_))]));
        assert_eq!(unsettled.oldest(), Some(second));
    }
}
