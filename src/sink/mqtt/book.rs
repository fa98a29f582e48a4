//! Which records are where: each packet identifier with its record, until the broker's last word.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::leftovers::{Key, Leftover, Leftovers, Stage};
use super::reason;
use crate::sink::{Failure, Outcome, Outcomes, Ticket};

/// The book of one connection.
pub(super) struct Book {
    outcomes: Outcomes,
    /// Whether everything told so far was heard: otherwise it will be asked for again.
    is_heard: bool,
    /// In the order in which they were handed over, from the first one that is not settled.
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first: u64,
    numbers: HashMap<u16, u64>,
    last_id: u16,
    receive_max: usize,
    /// Of the connections before.
    leftovers: OwnedMutexGuard<Leftovers>,
    /// Identifiers whose PUBREL is due.
    due: Vec<u16>,
    /// Whether this connection has taken up a session.
    is_resumed: bool,
    /// Whether both sides have the same idea of the session.
    is_trusted: bool,
    /// Records at `QoS` 0 with the position in the stream of bytes at which each ends.
    unwritten: VecDeque<(u64, Ticket)>,
}

/// A packet that is to be acknowledged.
struct Slot {
    id: u16,
    /// `None`: a packet of our own.
    ticket: Option<Ticket>,
    /// `None`: it is not found again on the next connection.
    key: Option<Key>,
    stage: Stage,
    since: Instant,
    /// It was begun on an earlier connection.
    is_resumed: bool,
}

/// What is to be done with a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Send(u16),
    /// It may be there already: the broker is to know that this is a repetition.
    SendAgain(u16),
    /// The broker has it.
    Known,
    /// Not now.
    NoRoom,
}

impl Book {
    pub(super) fn new(
        outcomes: Outcomes,
        receive_max: usize,
        mut leftovers: OwnedMutexGuard<Leftovers>,
        is_remembered: bool,
    ) -> Self {
        Self {
            outcomes,
            is_heard: true,
            slots: VecDeque::new(),
            first: 0,
            numbers: HashMap::new(),
            last_id: leftovers.last_id(),
            receive_max,
            due: leftovers.take_up(is_remembered),
            leftovers,
            is_resumed: is_remembered,
            is_trusted: true,
            unwritten: VecDeque::new(),
        }
    }

    /// How many of the next records may be ones that are not sent.
    pub(super) fn unsure_records(&self) -> usize {
        self.leftovers.unsure_records()
    }

    pub(super) fn has_room(&self) -> bool {
        self.places() < self.receive_max
    }

    /// Whether a record may be taken: one that was begun on an earlier connection has a place.
    pub(super) fn may_enter(&self) -> bool {
        self.leftovers.awaits_any() || self.has_room()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.places() == 0
    }

    /// Packets that the broker may count as under way.
    fn places(&self) -> usize {
        self.numbers.len() + self.leftovers.places()
    }

    pub(super) fn enter(&mut self, ticket: Option<Ticket>, key: Option<Key>) -> Entry {
        if let Some(leftover) = key.and_then(|key| self.leftovers.claim(key, &mut self.due)) {
            return self.resume(ticket, leftover);
        }
        if !self.has_room() {
            // What waits for its record may wait for one behind this one.
            self.leftovers.release_all(&mut self.due);
            return Entry::NoRoom;
        }
        let id = self.next_id();
        self.push(Slot {
            id,
            ticket,
            key,
            stage: Stage::Published,
            since: Instant::now(),
            is_resumed: false,
        });
        Entry::Send(id)
    }

    fn resume(&mut self, ticket: Option<Ticket>, leftover: Leftover) -> Entry {
        let Leftover { id, key, stage } = leftover;
        self.push(Slot {
            id,
            ticket,
            key: Some(key),
            stage,
            since: Instant::now(),
            is_resumed: true,
        });
        match stage {
            Stage::Published => return Entry::SendAgain(id),
            Stage::Received => {}
            Stage::Complete => {
                if let Some(ticket) = ticket {
                    self.tell(ticket, Outcome::Confirmed);
                }
                self.pop_settled();
            }
        }
        Entry::Known
    }

    fn push(&mut self, slot: Slot) {
        if slot.stage != Stage::Complete {
            let number = self.first + self.slots.len() as u64;
            self.numbers.insert(slot.id, number);
        }
        self.slots.push_back(slot);
    }

    /// The next free identifier. There is one: fewer are in use than there are.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.numbers.contains_key(&self.last_id) && !self.leftovers.hold(self.last_id) {
                return self.last_id;
            }
        }
    }

    /// The identifiers whose PUBREL is due.
    pub(super) fn take_due(&mut self) -> Vec<u16> {
        mem::take(&mut self.due)
    }

    /// A PUBREC that is to be answered by a PUBREL.
    pub(super) fn receive(&mut self, id: u16) -> Result<(), Failure> {
        if let Some(number) = self.numbers.get(&id) {
            let index = self.index(*number);
            self.slots[index].stage = Stage::Received;
        } else if !self.leftovers.receive(id) {
            return Err(self.unknown(id));
        }
        Ok(())
    }

    /// The broker's last word.
    ///
    /// # Errors
    /// The record is to be tried again later, with all behind it.
    pub(super) fn settle(&mut self, id: u16, reason: u8) -> Result<(), Failure> {
        let Some(number) = self.numbers.remove(&id) else {
            if self.leftovers.complete(id) {
                return Ok(());
            }
            return Err(self.unknown(id));
        };
        let index = self.index(number);
        let slot = &mut self.slots[index];
        let stage = mem::replace(&mut slot.stage, Stage::Complete);
        let outcome = match (stage, reason) {
            // It has come to its end on an earlier connection, and the word of it was lost.
            (Stage::Received, reason::ID_NOT_FOUND) if slot.is_resumed => Outcome::Confirmed,
            _ => reason::outcome(reason),
        };
        if outcome != Outcome::Confirmed {
            slot.key = None;
        }
        let ended = match (slot.ticket, outcome) {
            (Some(ticket), Outcome::Retry(why)) => {
                // No more are under way than it allows: what takes the places is in its memory alone.
                let is_full = self.is_resumed && reason == reason::QUOTA_EXCEEDED;
                self.is_trusted &= !is_full && reason != reason::ID_IN_USE;
                self.forget_behind(index);
                self.tell(ticket, Outcome::Retry(why.clone()));
                Err(why)
            }
            (Some(ticket), outcome) => {
                self.tell(ticket, outcome);
                Ok(())
            }
            (None, Outcome::Confirmed) => Ok(()),
            (None, Outcome::Refused(why) | Outcome::Retry(why)) => {
                tracing::warn!("mqtt: status_topic: {why}");
                Ok(())
            }
        };
        self.pop_settled();
        ended
    }

    /// What the broker has of the records behind one that it put off goes before that one: it is to
    /// come once more behind it.
    fn forget_behind(&mut self, index: usize) {
        for slot in self.slots.range_mut(index..) {
            if slot.stage != Stage::Published {
                slot.key = None;
            }
        }
    }

    fn pop_settled(&mut self) {
        while self.is_heard
            && let Some(slot) = self.slots.front()
            && slot.stage == Stage::Complete
        {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "slots are in memory")]
    fn index(&self, number: u64) -> usize {
        (number - self.first) as usize
    }

    /// Whether the broker owes an answer for longer than this.
    pub(super) fn is_overdue(&mut self, patience: Duration) -> bool {
        let is_late = |since: Instant| since.elapsed() > patience;
        let first = self.slots.iter().find(|slot| slot.stage != Stage::Complete);
        let late = first.filter(|slot| is_late(slot.since));
        let is_leftover_late = self.leftovers.owed_since().is_some_and(is_late);
        // A broker that does not answer to what an earlier connection left would never do.
        self.is_trusted &= !is_leftover_late && !late.is_some_and(|slot| slot.is_resumed);
        late.is_some() || is_leftover_late
    }

    /// From here on both sides may have different ideas: the next connection begins anew.
    pub(super) fn distrust(&mut self) {
        self.is_trusted = false;
    }

    fn unknown(&mut self, id: u16) -> Failure {
        self.distrust();
        format!("the broker acknowledged packet {id}, which is not under way").into()
    }

    /// A record at `QoS` 0, which ends there in the stream of bytes.
    pub(super) fn enter_unacknowledged(&mut self, ticket: Ticket, end: u64) {
        self.unwritten.push_back((end, ticket));
    }

    pub(super) fn confirm_written(&mut self, written: u64) {
        while let Some(&(end, ticket)) = self.unwritten.front()
            && end <= written
        {
            self.unwritten.pop_front();
            self.tell(ticket, Outcome::Confirmed);
        }
    }

    /// Says that nothing more is to be heard of what is under way.
    pub(super) fn give_up(&mut self, failure: &Failure) {
        let open = self
            .slots
            .iter()
            .filter(|slot| slot.stage != Stage::Complete);
        let open = open.filter_map(|slot| slot.ticket);
        let unwritten = self.unwritten.iter().map(|(_, ticket)| *ticket);
        for ticket in open.chain(unwritten) {
            let _ = self
                .outcomes
                .send((ticket, Outcome::Retry(failure.clone())));
        }
    }

    /// Writes down what the next connection has to know.
    pub(super) fn close(&mut self) {
        if !self.is_trusted {
            *self.leftovers = Leftovers::default();
            return;
        }
        let slots = self.slots.drain(..);
        let unfinished = slots.map(|slot| (slot.id, slot.key, slot.stage));
        self.leftovers.leave(unfinished, self.last_id);
    }

    pub(super) fn tell(&mut self, ticket: Ticket, outcome: Outcome) {
        // The receiver is gone when this sink was given up: the record will be handed over again.
        self.is_heard &= self.outcomes.send((ticket, outcome)).is_ok();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Mutex, mpsc};

    use super::*;
    use crate::sink::{Attributes, Record};

    fn key(payload: &str) -> Key {
        Key::of(&Record {
            destination: "t",
            key: None,
            payload: payload.as_bytes(),
            attributes: Attributes::new("", &[]),
            content_type: "text/plain",
            message: None,
            timestamp: 0,
        })
    }

    /// The book of a connection that takes these up.
    fn book(unfinished: &[(u16, Option<Key>, Stage)], last_id: u16) -> Book {
        let mut leftovers = Leftovers::default();
        leftovers.leave(unfinished.iter().copied(), last_id);
        let leftovers = Arc::new(Mutex::new(leftovers)).try_lock_owned().unwrap();
        Book::new(mpsc::unbounded_channel().0, 100, leftovers, true)
    }

    #[test]
    fn an_identifier_is_free_once_the_broker_has_forgotten_it() {
        let unfinished = [
            // A packet of our own has no record.
            (1, None, Stage::Published),
            (3, Some(key("a")), Stage::Received),
            (4, Some(key("b")), Stage::Published),
            (5, Some(key("c")), Stage::Complete),
        ];
        let mut book = book(&unfinished, u16::MAX);
        assert_eq!(book.take_due(), [1, 3]);
        assert_eq!(book.enter(None, None), Entry::Send(2));
        assert_eq!(book.enter(None, None), Entry::Send(5));
        assert_eq!(book.enter(None, Some(key("b"))), Entry::SendAgain(4));
        assert!(book.take_due().is_empty(), "its PUBREL was sent");
        book.last_id = 0;
        assert_eq!(book.enter(None, None), Entry::Send(6));
        book.settle(3, 0).unwrap();
        book.settle(1, reason::ID_NOT_FOUND).unwrap();
        book.last_id = 0;
        assert_eq!(book.enter(None, None), Entry::Send(1));
        assert_eq!(book.enter(None, None), Entry::Send(3));
        assert_eq!(book.enter(None, None), Entry::Send(7));
    }

    #[test]
    fn of_two_equal_records_each_finds_an_exchange_of_its_own() {
        let unfinished = [1, 2].map(|id| (id, Some(key("a")), Stage::Published));
        let mut book = book(&unfinished, 2);
        assert_eq!(book.enter(None, Some(key("a"))), Entry::SendAgain(1));
        assert_eq!(book.enter(None, Some(key("a"))), Entry::SendAgain(2));
        assert_eq!(book.enter(None, Some(key("a"))), Entry::Send(3));
    }
}
