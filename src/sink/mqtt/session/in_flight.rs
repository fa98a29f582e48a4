//! Which records are where: each packet identifier with its record, until the broker's last word.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::sink::mqtt::codec::reason;
use crate::sink::mqtt::qos2::pending::{Key, Leftover, Leftovers, State};
use crate::sink::{DeliveryId, Failure, Outcome, Outcomes};

/// The book of one connection.
pub(crate) struct Book {
    outcomes: Outcomes,
    /// Whether everything told so far was heard: otherwise it will be asked for again.
    is_heard: bool,
    /// In the order in which they were handed over, from the first one that is not settled.
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first: u64,
    numbers: HashMap<u16, u64>,
    receive_max: usize,
    /// Of the connections before: all of it has come to its end.
    leftovers: OwnedMutexGuard<Leftovers>,
    /// Records at `QoS` 0 with the position in the stream of bytes at which each ends.
    unwritten: VecDeque<(u64, DeliveryId)>,
}

/// A packet that is to be acknowledged.
struct Slot {
    /// `None`: a packet of our own.
    delivery_id: Option<DeliveryId>,
    /// What it is for the next connection; `None`: nothing.
    leftover: Option<Leftover>,
    is_settled: bool,
    since: Instant,
}

impl Book {
    pub(crate) fn new(
        outcomes: Outcomes,
        receive_max: usize,
        leftovers: OwnedMutexGuard<Leftovers>,
    ) -> Self {
        Self {
            outcomes,
            is_heard: true,
            slots: VecDeque::new(),
            first: 0,
            numbers: HashMap::new(),
            receive_max,
            leftovers,
            unwritten: VecDeque::new(),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.numbers.len() < self.receive_max
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Confirms a record that has come to its end already; `false`: it is to be sent.
    pub(crate) fn claim(&mut self, delivery_id: Option<DeliveryId>, key: Key) -> bool {
        let Some(leftover) = self.leftovers.claim(key) else {
            return false;
        };
        self.slots.push_back(Slot {
            delivery_id,
            leftover: Some(leftover),
            is_settled: true,
            since: Instant::now(),
        });
        if let Some(delivery_id) = delivery_id {
            self.tell(delivery_id, Outcome::Confirmed);
        }
        self.pop_settled();
        true
    }

    /// The next free identifier. There is one: fewer are in use than there are.
    pub(crate) fn next_id(&mut self) -> u16 {
        let mut id = self.leftovers.last_id;
        loop {
            id = id.checked_add(1).unwrap_or(1);
            if !self.numbers.contains_key(&id) {
                self.leftovers.last_id = id;
                return id;
            }
        }
    }

    pub(crate) fn enter(
        &mut self,
        id: u16,
        delivery_id: Option<DeliveryId>,
        leftover: Option<Leftover>,
    ) {
        let number = self.first + self.slots.len() as u64;
        self.numbers.insert(id, number);
        self.slots.push_back(Slot {
            delivery_id,
            leftover,
            is_settled: false,
            since: Instant::now(),
        });
    }

    /// A PUBREC that is to be answered by a PUBREL.
    pub(crate) fn receive(&mut self, id: u16) -> Result<(), Failure> {
        let number = *self.numbers.get(&id).ok_or_else(|| unknown(id))?;
        let index = self.index(number);
        self.slots[index].reach(State::Received);
        Ok(())
    }

    /// The broker's last word.
    ///
    /// # Errors
    /// The record is to be tried again later, with all behind it.
    pub(crate) fn settle(&mut self, id: u16, reason: u8) -> Result<(), Failure> {
        let number = self.numbers.remove(&id).ok_or_else(|| unknown(id))?;
        let index = self.index(number);
        let slot = &mut self.slots[index];
        slot.is_settled = true;
        let outcome = reason::outcome(reason);
        match outcome {
            Outcome::Confirmed => slot.reach(State::Complete),
            Outcome::Refused(_) | Outcome::Retry(_) => slot.leftover = None,
        }
        let ended = match (slot.delivery_id, outcome) {
            (Some(delivery_id), Outcome::Retry(why)) => {
                self.forget_from(index);
                self.tell(delivery_id, Outcome::Retry(why.clone()));
                Err(why)
            }
            (Some(delivery_id), outcome) => {
                self.tell(delivery_id, outcome);
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

    /// What the broker has of the records behind one that it put off goes before that one: all are to
    /// come once more behind it.
    fn forget_from(&mut self, index: usize) {
        for slot in self.slots.range_mut(index..) {
            slot.leftover = None;
        }
        self.leftovers.forget_all();
    }

    fn pop_settled(&mut self) {
        while self.is_heard && self.slots.front().is_some_and(|slot| slot.is_settled) {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "slots are in memory")]
    fn index(&self, number: u64) -> usize {
        (number - self.first) as usize
    }

    /// Whether the broker owes an answer for longer than this.
    pub(crate) fn is_overdue(&self, patience: Duration) -> bool {
        let oldest = self.slots.iter().find(|slot| !slot.is_settled);
        oldest.is_some_and(|slot| slot.since.elapsed() > patience)
    }

    /// A record at `QoS` 0, which ends there in the stream of bytes.
    pub(crate) fn enter_unacknowledged(&mut self, delivery_id: DeliveryId, end: u64) {
        self.unwritten.push_back((end, delivery_id));
    }

    pub(crate) fn confirm_written(&mut self, written: u64) {
        while let Some(&(end, delivery_id)) = self.unwritten.front()
            && end <= written
        {
            self.unwritten.pop_front();
            self.tell(delivery_id, Outcome::Confirmed);
        }
    }

    /// Writes down what the next connection has to know.
    pub(crate) fn close(&mut self) {
        let left = self.slots.drain(..).filter_map(|slot| slot.leftover);
        self.leftovers.leave(left);
    }

    fn tell(&mut self, delivery_id: DeliveryId, outcome: Outcome) {
        self.is_heard &= self.outcomes.is_heard(delivery_id, outcome);
    }
}

impl Slot {
    fn reach(&mut self, state: State) {
        if let Some(leftover) = &mut self.leftover {
            leftover.state = state;
        }
    }
}

fn unknown(id: u16) -> Failure {
    format!("the broker acknowledged packet {id}, which is not under way").into()
}
