//! What connections at `QoS` 2 leave behind when they end.
//!
//! An exchange that was left half way is finished on a connection of its own, see `finish`. Its record
//! is handed over again, as the delivery does not know of it, and is confirmed without being sent: a
//! [`Key`] finds it.
//!
//! Order is kept: when a record has to be sent anew, all behind it are.

use std::collections::VecDeque;

use xxhash_rust::xxh3::Xxh3Default;

use crate::sink::Record;
use crate::sink::mqtt::codec::packet;
use crate::sink::mqtt::codec::publish::Packet;

/// Stands for what a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u128);

impl Key {
    pub(crate) fn of(record: &Record<'_>) -> Self {
        let mut hash = Xxh3Default::new();
        let mut add = |part: &[u8]| {
            hash.update(&part.len().to_le_bytes());
            hash.update(part);
        };
        add(record.destination.as_bytes());
        add(record.content_type.as_bytes());
        add(record.payload);
        for (name, value) in record.attributes.iter() {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        Self(hash.digest128())
    }
}

/// Connections in a row that may bring nothing to its end; then the broker is taken for one that never
/// will, and what is unfinished is sent anew.
const FRUITLESS_TRIES: u32 = 3;

/// How far an exchange has come.
#[derive(Debug)]
pub(crate) enum State {
    /// The broker may have it.
    Published(Packet),
    /// The broker has it, and passes it on at the PUBREL.
    Received,
    /// The broker has passed it on.
    Complete,
}

/// An exchange whose record will be handed over again.
#[derive(Debug)]
pub(crate) struct Leftover {
    pub(crate) id: u16,
    pub(crate) key: Key,
    pub(crate) state: State,
}

impl Leftover {
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// What makes the broker go on with it.
    pub(crate) fn reminder(&mut self) -> Vec<u8> {
        match &mut self.state {
            State::Published(packet) => packet.repeated_with_id(self.id).to_vec(),
            State::Received | State::Complete => packet::pubrel(self.id).to_vec(),
        }
    }
}

/// What is left over of all connections of this process to one broker.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// In the order in which their records were handed over.
    entries: VecDeque<Leftover>,
    /// How many more records that are none of these are handed over before it is clear that these do
    /// not come: the operator may have changed a route, or gone back to send records again.
    strangers_left: usize,
    /// In a row.
    fruitless_tries: u32,
    /// The identifier that was given last. It goes on over all sessions, so that a broker with an old
    /// state of its own hardly takes one record for another.
    pub(crate) last_id: u16,
}

impl Leftovers {
    /// Takes what is left of a connection, whose records come before what is still awaited.
    pub(crate) fn leave(&mut self, left: impl DoubleEndedIterator<Item = Leftover>) {
        if self.entries.is_empty() {
            self.strangers_left = 0;
        }
        self.fruitless_tries = 0;
        for leftover in left.rev() {
            self.entries.push_front(leftover);
            self.strangers_left += 1;
        }
    }

    pub(crate) fn are_finished(&self) -> bool {
        self.entries.iter().all(Leftover::is_complete)
    }

    /// A connection has broken before all was finished.
    pub(crate) fn count_try(&mut self, is_fruitful: bool) {
        self.fruitless_tries = if is_fruitful {
            0
        } else {
            self.fruitless_tries + 1
        };
        if self.fruitless_tries == FRUITLESS_TRIES {
            self.fruitless_tries = 0;
            self.take_unfinished();
        }
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished_among(self.entries.len())
    }

    /// How many of the first ones are not complete.
    pub(crate) fn unfinished_among(&self, count: usize) -> usize {
        let first = self.entries.iter().take(count);
        first.filter(|leftover| !leftover.is_complete()).count()
    }

    pub(crate) fn get(&mut self, index: usize) -> Option<&mut Leftover> {
        self.entries.get_mut(index)
    }

    /// Takes away all from the first one on that is not complete.
    pub(crate) fn take_unfinished(&mut self) -> VecDeque<Leftover> {
        let first = self.entries.iter().position(|of| !of.is_complete());
        self.entries.split_off(first.unwrap_or(self.entries.len()))
    }

    pub(crate) fn put_back(&mut self, mut unfinished: VecDeque<Leftover>) {
        self.entries.append(&mut unfinished);
    }

    /// The broker has it; `false`: it is none of these.
    pub(crate) fn receive(&mut self, id: u16) -> bool {
        let found = self.find(id).and_then(|index| self.get(index));
        let is_found = found.is_some();
        if let Some(leftover) = found {
            leftover.state = State::Received;
        }
        is_found
    }

    pub(crate) fn complete(&mut self, id: u16) {
        if let Some(leftover) = self.find(id).and_then(|index| self.get(index))
            && matches!(leftover.state, State::Received)
        {
            leftover.state = State::Complete;
        }
    }

    /// This one is to be sent anew, and so all behind it.
    pub(crate) fn forget_from(&mut self, id: u16) {
        if let Some(index) = self.find(id) {
            self.entries.truncate(index);
        }
    }

    /// What the broker is not known to have is to be sent anew, and all behind it.
    pub(crate) fn forget_published(&mut self) {
        let is_published = |of: &Leftover| matches!(of.state, State::Published(_));
        if let Some(index) = self.entries.iter().position(is_published) {
            self.entries.truncate(index);
        }
    }

    pub(crate) fn forget_all(&mut self) {
        self.entries.clear();
    }

    /// Whether a record that is handed over has come to its end already: takes it off.
    pub(crate) fn claim(&mut self, key: Key) -> Option<Leftover> {
        let found = self.entries.iter().position(|of| of.key == key);
        if let Some(index) = found {
            return self.entries.remove(index);
        }
        self.strangers_left = self.strangers_left.saturating_sub(1);
        if self.strangers_left == 0 {
            self.forget_all();
        }
        None
    }

    fn find(&self, id: u16) -> Option<usize> {
        let is_it = |of: &Leftover| of.id == id && !of.is_complete();
        self.entries.iter().position(is_it)
    }
}
