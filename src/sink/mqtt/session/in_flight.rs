//! The records of one connection that the broker has not acknowledged yet, by packet identifier.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::sink::mqtt::codec::reason;
use crate::sink::mqtt::qos2::pending::{Exchange, PendingExchanges, RecordHash, Stage};
use crate::sink::{DeliveryId, Failure, Outcome, Outcomes};

pub(crate) struct InFlight {
    outcomes: Outcomes,
    /// Whether the delivery has heard all outcomes so far. What it has not heard it will ask for again.
    is_heard: bool,
    /// In the order in which the records were handed over, from the first one that is not resolved.
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first: u64,
    /// The number of each packet identifier's slot.
    numbers: HashMap<u16, u64>,
    receive_max: usize,
    /// Those of earlier connections: all of them are complete.
    pending: OwnedMutexGuard<PendingExchanges>,
    /// Records at `QoS` 0, with the position in the stream of bytes at which each ends.
    unwritten: VecDeque<(u64, DeliveryId)>,
}

/// A packet that the broker acknowledges.
struct Slot {
    /// `None`: it is not a record, but the forwarder's own status.
    delivery_id: Option<DeliveryId>,
    /// What the next connection has to know of it; `None`: nothing.
    exchange: Option<Exchange>,
    is_resolved: bool,
    since: Instant,
}

impl InFlight {
    pub(crate) fn new(
        outcomes: Outcomes,
        receive_max: usize,
        pending: OwnedMutexGuard<PendingExchanges>,
    ) -> Self {
        Self {
            outcomes,
            is_heard: true,
            slots: VecDeque::new(),
            first: 0,
            numbers: HashMap::new(),
            receive_max,
            pending,
            unwritten: VecDeque::new(),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.numbers.len() < self.receive_max
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Confirms a record whose exchange was finished by an earlier connection; `false`: it is to be sent.
    pub(crate) fn confirm_if_complete(
        &mut self,
        delivery_id: Option<DeliveryId>,
        record: RecordHash,
    ) -> bool {
        let Some(exchange) = self.pending.take(record) else {
            return false;
        };
        self.slots.push_back(Slot {
            delivery_id,
            exchange: Some(exchange),
            is_resolved: true,
            since: Instant::now(),
        });
        if let Some(delivery_id) = delivery_id {
            self.report(delivery_id, Outcome::Confirmed);
        }
        self.pop_resolved();
        true
    }

    /// The next packet identifier that is free. There is one: `receive_max` is less than their number.
    pub(crate) fn next_id(&mut self) -> u16 {
        let mut id = self.pending.last_id;
        loop {
            id = id.checked_add(1).unwrap_or(1);
            if !self.numbers.contains_key(&id) {
                self.pending.last_id = id;
                return id;
            }
        }
    }

    pub(crate) fn insert(
        &mut self,
        packet_id: u16,
        delivery_id: Option<DeliveryId>,
        exchange: Option<Exchange>,
    ) {
        let number = self.first + self.slots.len() as u64;
        self.numbers.insert(packet_id, number);
        self.slots.push_back(Slot {
            delivery_id,
            exchange,
            is_resolved: false,
            since: Instant::now(),
        });
    }

    /// A PUBREC, which is answered by a PUBREL.
    pub(crate) fn received(&mut self, packet_id: u16) -> Result<(), Failure> {
        let number = *self
            .numbers
            .get(&packet_id)
            .ok_or_else(|| unknown(packet_id))?;
        let index = self.index(number);
        self.slots[index].reach(Stage::Received);
        Ok(())
    }

    /// The broker's last packet about a record.
    ///
    /// # Errors
    /// The record is to be sent again later, and so are all after it.
    pub(crate) fn acknowledged(&mut self, packet_id: u16, reason: u8) -> Result<(), Failure> {
        let number = self
            .numbers
            .remove(&packet_id)
            .ok_or_else(|| unknown(packet_id))?;
        let index = self.index(number);
        let slot = &mut self.slots[index];
        slot.is_resolved = true;
        let outcome = reason::outcome(reason);
        match outcome {
            Outcome::Confirmed => slot.reach(Stage::Complete),
            Outcome::Refused(_) | Outcome::Retry(_) => slot.exchange = None,
        }
        let resolved = match (slot.delivery_id, outcome) {
            (Some(delivery_id), Outcome::Retry(why)) => {
                self.drop_exchanges_from(index);
                self.report(delivery_id, Outcome::Retry(why.clone()));
                Err(why)
            }
            (Some(delivery_id), outcome) => {
                self.report(delivery_id, outcome);
                Ok(())
            }
            (None, Outcome::Confirmed) => Ok(()),
            (None, Outcome::Refused(why) | Outcome::Retry(why)) => {
                tracing::warn!("mqtt: status_topic: {why}");
                Ok(())
            }
        };
        self.pop_resolved();
        resolved
    }

    /// A record that is to be sent again comes after all that the broker has of the records behind it: to
    /// keep the order, all of those are sent again too.
    fn drop_exchanges_from(&mut self, index: usize) {
        for slot in self.slots.range_mut(index..) {
            slot.exchange = None;
        }
        self.pending.drop_all();
    }

    fn pop_resolved(&mut self) {
        while self.is_heard && self.slots.front().is_some_and(|slot| slot.is_resolved) {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "slots are in memory")]
    fn index(&self, number: u64) -> usize {
        (number - self.first) as usize
    }

    /// Whether the broker has owed an acknowledgement for longer than this.
    pub(crate) fn is_overdue(&self, timeout: Duration) -> bool {
        let oldest = self.slots.iter().find(|slot| !slot.is_resolved);
        oldest.is_some_and(|slot| slot.since.elapsed() > timeout)
    }

    /// A record at `QoS` 0, which ends at this position in the stream of bytes.
    pub(crate) fn insert_unacknowledged(&mut self, delivery_id: DeliveryId, end: u64) {
        self.unwritten.push_back((end, delivery_id));
    }

    /// Confirms the records at `QoS` 0 that end within the bytes written so far.
    pub(crate) fn confirm_written(&mut self, written: u64) {
        while let Some(&(end, delivery_id)) = self.unwritten.front()
            && end <= written
        {
            self.unwritten.pop_front();
            self.report(delivery_id, Outcome::Confirmed);
        }
    }

    /// Leaves the unfinished exchanges, and those that the delivery has not heard of, to the next
    /// connection.
    pub(crate) fn close(&mut self) {
        let exchanges = self.slots.drain(..).filter_map(|slot| slot.exchange);
        self.pending.add(exchanges);
    }

    fn report(&mut self, delivery_id: DeliveryId, outcome: Outcome) {
        self.is_heard &= self.outcomes.is_heard(delivery_id, outcome);
    }
}

impl Slot {
    fn reach(&mut self, stage: Stage) {
        if let Some(exchange) = &mut self.exchange {
            exchange.stage = stage;
        }
    }
}

fn unknown(packet_id: u16) -> Failure {
    format!("the broker acknowledged packet {packet_id}, which is not in flight").into()
}
