//! What connections at `QoS` 2 leave behind when they end, and how the next one takes it up.
//!
//! The broker knows an unfinished exchange by its packet identifier, the delivery knows records: a
//! [`Key`] joins the two. An identifier whose record does not come again must not stand for another
//! record while the broker may remember it, since that one would be taken for a repetition and lost.
//! So it is released by a PUBREL, and is free once its PUBCOMP has come.

use std::collections::VecDeque;

use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3Default;

use crate::sink::Record;

/// Stands for what a record holds. Its packet would not do: it names the topic in full on one
/// connection and by a number on the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u128);

impl Key {
    pub(super) fn of(record: &Record<'_>) -> Self {
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

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The broker may have it.
    Published,
    /// The broker has it, and passes it on at the PUBREL.
    Received,
    /// Nothing is owed by either side; the identifier may stand for another record.
    Complete,
}

/// An exchange whose record will be handed over again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leftover {
    pub(super) id: u16,
    pub(super) key: Key,
    pub(super) stage: Stage,
}

/// What is known of the broker's session over all connections of this process.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// Whether the broker's session is one that this process began, and of which it knows all. Not
    /// while a connection has it in hand.
    is_known: bool,
    last_id: u16,
    /// In the order in which their records come again, if they do.
    awaited: VecDeque<Leftover>,
    /// How many more records that are none of the awaited are handed over before it is clear that
    /// these do not come.
    strangers_left: usize,
    /// When a PUBREL of an awaited one was sent.
    asked: Option<Instant>,
    /// Identifiers that stand for no record any more, and when their PUBREL was sent.
    released: Vec<(u16, Instant)>,
}

impl Leftovers {
    /// Whether the broker's session is to be taken up: where nothing is left of it, a new one knows no
    /// more, and is safe from what a broker may have from an old state of its own.
    pub(super) fn are_worth_it(&self) -> bool {
        self.is_known && !(self.awaited.is_empty() && self.released.is_empty())
    }

    /// A broker is asked to take the session up, and has not answered. If it has no session it makes
    /// one, and should the word of that be lost, it would pass for the old one the next time.
    pub(super) fn doubt(&mut self) {
        self.is_known = false;
    }

    /// The broker did not let us in: nothing has changed.
    pub(super) fn trust(&mut self) {
        self.is_known = true;
    }

    /// The identifier that was given last.
    pub(super) fn last_id(&self) -> u16 {
        self.last_id
    }

    /// Begins a connection, on which the broker remembers the session or does not. Gives the
    /// identifiers whose PUBREL is due.
    pub(super) fn take_up(&mut self, is_remembered: bool) -> Vec<u16> {
        if !is_remembered {
            self.awaited.clear();
            self.released.clear();
        }
        self.is_known = false;
        self.strangers_left = self.awaited.len();
        let now = Instant::now();
        self.asked = Some(now);
        for (_, since) in &mut self.released {
            *since = now;
        }
        let received = self
            .awaited
            .iter()
            .filter(|leftover| leftover.stage == Stage::Received);
        let released = self.released.iter().map(|(id, _)| *id);
        released
            .chain(received.map(|leftover| leftover.id))
            .collect()
    }

    /// Ends a connection on which these were unfinished, in the order in which their records were
    /// handed over.
    pub(super) fn leave(
        &mut self,
        unfinished: impl DoubleEndedIterator<Item = (u16, Option<Key>, Stage)>,
        last_id: u16,
    ) {
        for (id, key, stage) in unfinished.rev() {
            match key {
                Some(key) => self.awaited.push_front(Leftover { id, key, stage }),
                None if stage == Stage::Complete => {}
                None => self.released.push((id, Instant::now())),
            }
        }
        self.last_id = last_id;
        self.is_known = true;
    }

    /// How many of the next records may be ones that are not sent.
    pub(super) fn unsure_records(&self) -> usize {
        self.awaited.len() + self.strangers_left
    }

    pub(super) fn awaits_any(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Finds the exchange of a record that is handed over, and puts the identifiers that are released
    /// by that, and have not been told so, into `due`.
    pub(super) fn claim(&mut self, key: Key, due: &mut Vec<u16>) -> Option<Leftover> {
        let found = self.awaited.iter().position(|leftover| leftover.key == key);
        if let Some(before) = found {
            self.release(before, due);
            return self.awaited.pop_front();
        }
        self.strangers_left = self.strangers_left.saturating_sub(1);
        if self.strangers_left == 0 {
            self.release_all(due);
        }
        None
    }

    pub(super) fn release_all(&mut self, due: &mut Vec<u16>) {
        self.release(self.awaited.len(), due);
    }

    fn release(&mut self, count: usize, due: &mut Vec<u16>) {
        let now = Instant::now();
        for leftover in self.awaited.drain(..count) {
            if leftover.stage == Stage::Published {
                due.push(leftover.id);
            }
            if leftover.stage != Stage::Complete {
                self.released.push((leftover.id, now));
            }
        }
    }

    /// A PUBREC came, and a PUBREL follows; `false`: the identifier is none of these.
    pub(super) fn receive(&mut self, id: u16) -> bool {
        if let Some(leftover) = self.find(id) {
            leftover.stage = Stage::Received;
            self.asked = Some(Instant::now());
            return true;
        }
        self.is_released(id)
    }

    /// The broker has forgotten the identifier; `false`: it is none of these.
    pub(super) fn complete(&mut self, id: u16) -> bool {
        if let Some(leftover) = self.find(id) {
            leftover.stage = Stage::Complete;
            return true;
        }
        let before = self.released.len();
        self.released.retain(|(released, _)| *released != id);
        self.released.len() < before
    }

    /// Whether the broker may know the identifier.
    pub(super) fn hold(&self, id: u16) -> bool {
        self.unfinished().any(|leftover| leftover.id == id) || self.is_released(id)
    }

    /// How many identifiers the broker may know.
    pub(super) fn places(&self) -> usize {
        self.unfinished().count() + self.released.len()
    }

    /// Since when an answer is owed.
    pub(super) fn owed_since(&self) -> Option<Instant> {
        let mut unfinished = self.unfinished();
        let is_asked = unfinished.any(|leftover| leftover.stage == Stage::Received);
        let asked = self.asked.filter(|_| is_asked);
        let released = self.released.iter().map(|(_, since)| *since);
        released.chain(asked).min()
    }

    fn unfinished(&self) -> impl Iterator<Item = &Leftover> {
        self.awaited
            .iter()
            .filter(|leftover| leftover.stage != Stage::Complete)
    }

    fn find(&mut self, id: u16) -> Option<&mut Leftover> {
        self.awaited
            .iter_mut()
            .find(|leftover| leftover.id == id && leftover.stage != Stage::Complete)
    }

    fn is_released(&self, id: u16) -> bool {
        self.released.iter().any(|(released, _)| *released == id)
    }
}
