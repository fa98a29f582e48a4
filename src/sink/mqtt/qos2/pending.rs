//! Exchanges at `QoS` 2 that were unfinished when their connection ended.
//!
//! An exchange that was left half way is finished on a connection of its own, see `resume`. The delivery
//! hands its record over again, for it has had no confirmation: the record is then found by its
//! [`RecordHash`] and confirmed without being sent.
//!
//! Order is kept: when a record has to be sent again, so are all after it.

use std::collections::VecDeque;

use xxhash_rust::xxh3::Xxh3Default;

use crate::sink::Record;
use crate::sink::mqtt::codec::packet;
use crate::sink::mqtt::codec::publish::PublishPacket;

/// Stands for the contents of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHash(u128);

impl RecordHash {
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

/// After so many connections in a row that finished no exchange, the unfinished records are sent again:
/// the broker never will finish them.
const MAX_FAILED_ATTEMPTS: u32 = 3;

/// How far an exchange has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// The broker may have the record.
    Published(PublishPacket),
    /// The broker has the record, and passes it on when it receives the PUBREL.
    Received,
    /// The broker has passed the record on.
    Complete,
}

/// An exchange whose record will be handed over again.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) packet_id: u16,
    pub(crate) record: RecordHash,
    pub(crate) stage: Stage,
}

impl Exchange {
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Complete)
    }

    /// The packet that makes the broker continue with it.
    pub(crate) fn next_packet(&mut self) -> Vec<u8> {
        match &mut self.stage {
            Stage::Published(packet) => packet.duplicate_with_id(self.packet_id).to_vec(),
            Stage::Received | Stage::Complete => packet::pubrel(self.packet_id).to_vec(),
        }
    }
}

/// The pending exchanges of all connections of this process to one broker.
#[derive(Debug, Default)]
pub(crate) struct PendingExchanges {
    /// In the order in which their records were handed over.
    exchanges: VecDeque<Exchange>,
    /// How many more records without an exchange may be handed over until the exchanges are dropped: their
    /// records do not come again, because the operator has changed a route or moved the cursor.
    unmatched_budget: usize,
    /// In a row.
    failed_attempts: u32,
    /// The last packet identifier that was used. It continues over all sessions, so that a broker with an
    /// old state of its own is unlikely to take one record for another.
    pub(crate) last_id: u16,
}

impl PendingExchanges {
    /// Takes the exchanges of a connection that has ended. Their records come before those that are still
    /// awaited.
    pub(crate) fn add(&mut self, exchanges: impl DoubleEndedIterator<Item = Exchange>) {
        if self.exchanges.is_empty() {
            self.unmatched_budget = 0;
        }
        self.failed_attempts = 0;
        for exchange in exchanges.rev() {
            self.exchanges.push_front(exchange);
            self.unmatched_budget += 1;
        }
    }

    pub(crate) fn are_finished(&self) -> bool {
        self.exchanges.iter().all(Exchange::is_complete)
    }

    /// A connection has ended before all exchanges were finished.
    pub(crate) fn note_attempt(&mut self, has_finished_any: bool) {
        self.failed_attempts = if has_finished_any {
            0
        } else {
            self.failed_attempts + 1
        };
        if self.failed_attempts == MAX_FAILED_ATTEMPTS {
            self.failed_attempts = 0;
            self.take_unfinished();
        }
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished_among(self.exchanges.len())
    }

    /// How many of the first ones are not complete.
    pub(crate) fn unfinished_among(&self, count: usize) -> usize {
        let first = self.exchanges.iter().take(count);
        first.filter(|exchange| !exchange.is_complete()).count()
    }

    pub(crate) fn get(&mut self, index: usize) -> Option<&mut Exchange> {
        self.exchanges.get_mut(index)
    }

    /// Removes all from the first one on that is not complete.
    pub(crate) fn take_unfinished(&mut self) -> VecDeque<Exchange> {
        let first = self.exchanges.iter().position(|of| !of.is_complete());
        self.exchanges
            .split_off(first.unwrap_or(self.exchanges.len()))
    }

    pub(crate) fn put_back(&mut self, mut unfinished: VecDeque<Exchange>) {
        self.exchanges.append(&mut unfinished);
    }

    /// The broker has received a record; `false`: it is none of these.
    pub(crate) fn received(&mut self, packet_id: u16) -> bool {
        let found = self.find(packet_id).and_then(|index| self.get(index));
        let is_found = found.is_some();
        if let Some(exchange) = found {
            exchange.stage = Stage::Received;
        }
        is_found
    }

    pub(crate) fn complete(&mut self, packet_id: u16) {
        if let Some(exchange) = self.find(packet_id).and_then(|index| self.get(index))
            && matches!(exchange.stage, Stage::Received)
        {
            exchange.stage = Stage::Complete;
        }
    }

    /// The record of this one is sent again, and so are all after it.
    pub(crate) fn drop_from(&mut self, packet_id: u16) {
        if let Some(index) = self.find(packet_id) {
            self.exchanges.truncate(index);
        }
    }

    /// The first record that the broker may not have is sent again, and so are all after it.
    pub(crate) fn drop_published(&mut self) {
        let is_published = |of: &Exchange| matches!(of.stage, Stage::Published(_));
        if let Some(index) = self.exchanges.iter().position(is_published) {
            self.exchanges.truncate(index);
        }
    }

    pub(crate) fn drop_all(&mut self) {
        self.exchanges.clear();
    }

    /// Removes the exchange of a record that is handed over; `None`: the record is to be sent. Called
    /// once all exchanges are finished.
    pub(crate) fn take(&mut self, record: RecordHash) -> Option<Exchange> {
        let found = self.exchanges.iter().position(|of| of.record == record);
        if let Some(index) = found {
            return self.exchanges.remove(index);
        }
        self.unmatched_budget = self.unmatched_budget.saturating_sub(1);
        if self.unmatched_budget == 0 {
            self.drop_all();
        }
        None
    }

    fn find(&self, packet_id: u16) -> Option<usize> {
        let is_it = |of: &Exchange| of.packet_id == packet_id && !of.is_complete();
        self.exchanges.iter().position(is_it)
    }
}
