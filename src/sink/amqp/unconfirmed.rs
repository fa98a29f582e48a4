//! Which messages are unconfirmed, and which of them the broker has returned.
//!
//! The broker returns an unroutable message before it confirms it. lapin attaches a returned message to
//! whichever confirmation it completes next, and completes several at a time in any order: the message may
//! come with the confirmation of another one, which may be seen after its own. Two rules make outcomes
//! certain again:
//!
//! 1. A returned message is identified by its contents, not by what it comes with.
//! 2. A confirmation counts only once nothing can come that lapin completed before it. To know that, a
//!    *marker* is put behind everything complete in the queue from which confirmations are taken. When the
//!    marker comes out, all confirmations before it have been seen; and if those of all returned messages
//!    are among them, then lapin holds no returned message that belongs to them any more.

use std::collections::BTreeMap;
use std::mem;

use tokio::time::Instant;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::sink::{Cause, DeliveryId, Failure, Outcome};

/// Stands for the contents of a message. Messages with the same contents share their fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64);

impl Identity {
    pub(super) fn of(routing_key: &str, payload: &[u8]) -> Self {
        Self(xxh3_64_with_seed(payload, xxh3_64(routing_key.as_bytes())))
    }
}

/// The broker's answer to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acknowledgement {
    Ack,
    Nack,
}

#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    messages: BTreeMap<DeliveryId, Unresolved>,
    /// Acknowledged since the last marker was put into the queue.
    after_marker: Vec<DeliveryId>,
    /// Acknowledged before.
    before_marker: Vec<DeliveryId>,
    is_marker_queued: bool,
    /// Returned and not resolved.
    returned: Vec<DeliveryId>,
}

/// A message whose outcome is not certain.
#[derive(Debug)]
struct Unresolved {
    identity: Identity,
    sent_at: Instant,
    acknowledgement: Option<Acknowledgement>,
    is_before_marker: bool,
    /// Why the broker returned it.
    returned: Option<String>,
}

/// The broker returned a message that was not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotSent;

impl Unconfirmed {
    pub(super) fn sent(&mut self, id: DeliveryId, identity: Identity, sent_at: Instant) {
        let message = Unresolved {
            identity,
            sent_at,
            acknowledgement: None,
            is_before_marker: false,
            returned: None,
        };
        self.messages.insert(id, message);
    }

    pub(super) fn acknowledged(&mut self, id: DeliveryId, acknowledgement: Acknowledgement) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.acknowledgement = Some(acknowledgement);
            self.after_marker.push(id);
        }
    }

    pub(super) fn returned(&mut self, identity: Identity, why: String) -> Result<(), NotSent> {
        let mut messages = self.messages.iter_mut();
        let (id, message) = messages
            .find(|(_, message)| message.identity == identity && message.returned.is_none())
            .ok_or(NotSent)?;
        message.returned = Some(why);
        self.returned.push(*id);
        Ok(())
    }

    /// Whether the caller has to put a marker into the queue now.
    pub(super) fn needs_marker(&mut self) -> bool {
        if self.is_marker_queued || self.after_marker.is_empty() {
            return false;
        }
        for id in &self.after_marker {
            if let Some(message) = self.messages.get_mut(id) {
                message.is_before_marker = true;
            }
        }
        self.before_marker.append(&mut self.after_marker);
        self.is_marker_queued = true;
        true
    }

    /// The marker has come out of the queue: removes the messages whose outcome is certain now.
    pub(super) fn take_certain(&mut self) -> impl Iterator<Item = (DeliveryId, Outcome)> + '_ {
        self.is_marker_queued = false;
        let is_certain = self.returned.iter().all(|id| {
            let message = self.messages.get(id);
            message.is_none_or(|message| message.is_before_marker)
        });
        let certain = if is_certain {
            self.returned.clear();
            mem::take(&mut self.before_marker)
        } else {
            Vec::new()
        };
        certain.into_iter().filter_map(|id| {
            let message = self.messages.remove(&id)?;
            Some((id, outcome(message)))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// When the first of them was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.messages.values().next().map(|message| message.sent_at)
    }
}

fn outcome(message: Unresolved) -> Outcome {
    match (message.returned, message.acknowledgement) {
        (Some(why), _) => Outcome::Refused(Failure::new(Cause::NoDestination, why)),
        (None, Some(Acknowledgement::Ack)) => Outcome::Confirmed,
        (None, _) => Outcome::Retry(Failure::new(
            Cause::Overloaded,
            "the broker rejected a record (nack): a queue may be full",
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

    /// A broker and lapin, as far as they matter here.
    #[derive(Default)]
    struct Peer {
        /// Returned messages that are not attached to a confirmation yet.
        waiting: VecDeque<u64>,
        /// Complete confirmations that were not seen, each with the message attached to it; and the marker.
        complete: Vec<Seen>,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Confirmation(u64, Option<u64>),
        Marker,
    }

    impl Peer {
        fn confirm(&mut self, message: u64) {
            let attached = self.waiting.pop_front();
            self.complete.push(Seen::Confirmation(message, attached));
        }

        /// Any of the complete ones; the marker only once all that were complete before it are seen.
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
        unconfirmed: &mut Unconfirmed,
        peer: &mut Peer,
        resolved: &mut Vec<(DeliveryId, Outcome)>,
    ) {
        match seen {
            Seen::Marker => resolved.extend(unconfirmed.take_certain()),
            Seen::Confirmation(message, attached) => {
                if let Some(returned) = attached {
                    unconfirmed
                        .returned(identity(returned), "back".to_owned())
                        .unwrap();
                }
                unconfirmed.acknowledged(DeliveryId(message), Acknowledgement::Ack);
            }
        }
        if unconfirmed.needs_marker() {
            peer.complete.push(Seen::Marker);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn returned_messages_are_refused_and_no_others_however_lapin_mixes_them(
            unroutable in any::<u64>(),
            order in Just((0..MESSAGES).collect::<Vec<_>>()).prop_shuffle(),
            early_returns in 0..4_usize,
            picks in prop::collection::vec((any::<usize>(), any::<bool>()), 200),
        ) {
            let is_unroutable = |message: u64| unroutable >> message & 1 == 1;
            let mut unconfirmed = Unconfirmed::default();
            for message in 0..MESSAGES {
                unconfirmed.sent(DeliveryId(message), identity(message), Instant::now());
            }
            let mut peer = Peer::default();
            let mut resolved = Vec::new();
            let mut to_return: VecDeque<_> =
                order.iter().copied().filter(|message| is_unroutable(*message)).collect();
            let mut to_confirm = order.into_iter();
            for (pick, sees) in picks {
                if sees {
                    if let Some(seen) = peer.take(pick) {
                        see(seen, &mut unconfirmed, &mut peer, &mut resolved);
                    }
                } else if let Some(message) = to_confirm.next() {
                    // A message is returned before it is confirmed, and others may be returned with it.
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
                see(seen, &mut unconfirmed, &mut peer, &mut resolved);
            }
            prop_assert_eq!(resolved.len() as u64, MESSAGES);
            prop_assert_eq!(unconfirmed.len(), 0);
            for (DeliveryId(message), outcome) in resolved {
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
    fn a_message_that_was_not_sent_cannot_be_returned() {
        let mut unconfirmed = Unconfirmed::default();
        assert_eq!(
            unconfirmed.returned(identity(1), String::new()),
            Err(NotSent)
        );
    }

    #[test]
    fn the_oldest_is_the_first_that_is_not_resolved() {
        let mut unconfirmed = Unconfirmed::default();
        let first = Instant::now();
        let second = first + Duration::from_secs(1);
        for (message, at) in [(3, first), (4, second)] {
            unconfirmed.sent(DeliveryId(message), identity(message), at);
        }
        assert_eq!(unconfirmed.oldest(), Some(first));
        unconfirmed.acknowledged(DeliveryId(3), Acknowledgement::Nack);
        assert!(unconfirmed.needs_marker());
        assert!(!unconfirmed.needs_marker(), "one marker at a time");
        let resolved: Vec<_> = unconfirmed.take_certain().collect();
        assert!(matches!(resolved[..], [(DeliveryId(3), Outcome::Retry(_))]));
        assert_eq!(unconfirmed.oldest(), Some(second));
    }
}
