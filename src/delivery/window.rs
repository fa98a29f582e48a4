//! Which records are in flight, and how far the cursor may move.
//!
//! A record is resolved once the broker has confirmed or refused it. Outcomes come in any order; the
//! cursor moves over the unbroken run of resolved records. A refused record becomes a dead letter
//! only when that run has reached it: what lies behind the run may be sent, and refused, again.

use std::collections::VecDeque;

use crate::frame::Timestamp;
use crate::sink::DeliveryId;

/// The next record to resolve: a frame's offset in the journal, and how many of that frame's records
/// are resolved already. Sending begins again from here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) offset: u64,
    pub(super) record: u32,
}

impl Position {
    /// The first record of the frame at `offset`.
    pub(super) fn start_of(offset: u64) -> Self {
        Self { offset, record: 0 }
    }
}

/// The records in flight, in the order in which they were sent.
#[derive(Debug)]
pub(super) struct SendWindow {
    slots: VecDeque<Slot>,
    /// The id of the first slot. Ids are never used twice, so that a late outcome of an
    /// abandoned try matches no slot.
    first: u64,
    bytes: usize,
    resolved_to: Position,
    /// The refused records that the unbroken run has passed.
    refused: VecDeque<RefusedRecord>,
}

/// A record that the sink will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedRecord {
    /// The offset of its frame.
    pub(super) offset: u64,
    pub(super) reason: String,
}

#[derive(Debug)]
struct Slot {
    offset: u64,
    /// The position behind the record.
    next: Position,
    bytes: usize,
    received_at: Timestamp,
    state: SlotState,
}

#[derive(Debug)]
enum SlotState {
    InFlight,
    Confirmed,
    Refused(String),
}

impl SendWindow {
    pub(super) fn new(from: Position) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            bytes: 0,
            resolved_to: from,
            refused: VecDeque::new(),
        }
    }

    /// Adds a record that is about to be sent, of the frame at `offset`; `next` is the position behind
    /// it.
    pub(super) fn push(
        &mut self,
        offset: u64,
        next: Position,
        bytes: usize,
        received_at: Timestamp,
    ) -> DeliveryId {
        let delivery_id = DeliveryId(self.first + self.slots.len() as u64);
        self.bytes += bytes;
        self.slots.push_back(Slot {
            offset,
            next,
            bytes,
            received_at,
            state: SlotState::InFlight,
        });
        delivery_id
    }

    /// Notes that nothing that lies before `next` is to be sent.
    pub(super) fn skip_to(&mut self, next: Position) {
        match self.slots.back_mut() {
            Some(last) => last.next = next,
            None => self.resolved_to = next,
        }
    }

    /// Notes that the sink has a record, and returns when its frame was received; `None` if the delivery
    /// is not, or no longer, in flight.
    pub(super) fn confirm(&mut self, delivery_id: DeliveryId) -> Option<Timestamp> {
        self.resolve(delivery_id, SlotState::Confirmed)
    }

    /// Notes that the sink will never have a record; otherwise the same.
    pub(super) fn refuse(&mut self, delivery_id: DeliveryId, reason: String) -> Option<Timestamp> {
        self.resolve(delivery_id, SlotState::Refused(reason))
    }

    fn resolve(&mut self, delivery_id: DeliveryId, state: SlotState) -> Option<Timestamp> {
        let index = usize::try_from(delivery_id.0.checked_sub(self.first)?).ok()?;
        let slot = self
            .slots
            .get_mut(index)
            .filter(|slot| slot.is_in_flight())?;
        slot.state = state;
        let received_at = slot.received_at;
        self.bytes -= slot.bytes;
        while self.slots.front().is_some_and(|slot| !slot.is_in_flight())
            && let Some(slot) = self.slots.pop_front()
        {
            self.first += 1;
            self.resolved_to = slot.next;
            if let SlotState::Refused(reason) = slot.state {
                let offset = slot.offset;
                self.refused.push_back(RefusedRecord { offset, reason });
            }
        }
        Some(received_at)
    }

    /// The next refused record that the unbroken run has passed.
    pub(super) fn next_refused(&mut self) -> Option<RefusedRecord> {
        self.refused.pop_front()
    }

    /// Forgets everything in flight, and returns where to begin again.
    pub(super) fn abandon(&mut self) -> Position {
        self.first += self.slots.len() as u64;
        self.slots.clear();
        self.bytes = 0;
        self.resolved_to
    }

    /// Everything before this is resolved.
    pub(super) fn resolved_to(&self) -> Position {
        self.resolved_to
    }

    /// The frame of the first record, and when that frame was received.
    pub(super) fn first(&self) -> Option<(u64, Timestamp)> {
        let first = self.slots.front()?;
        Some((first.offset, first.received_at))
    }

    /// Records that are in flight, or wait for an earlier one to be resolved.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Payload bytes of the records in flight.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Slot {
    fn is_in_flight(&self) -> bool {
        matches!(self.state, SlotState::InFlight)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

    fn at(offset: u64) -> Position {
        Position { offset, record: 0 }
    }

    /// The only record of the frame before `next`.
    fn push(window: &mut SendWindow, next: u64, bytes: usize) -> DeliveryId {
        window.push(next - 1, at(next), bytes, NOW)
    }

    #[test]
    fn the_position_moves_over_the_unbroken_run_only() {
        let mut window = SendWindow::new(at(10));
        let [a, b, c] = [11, 12, 13].map(|next| push(&mut window, next, 1));
        assert!(window.confirm(c).is_some());
        assert!(window.confirm(b).is_some());
        assert_eq!(window.resolved_to(), at(10));
        assert_eq!(window.confirm(a), Some(NOW));
        assert_eq!(window.resolved_to(), at(13));
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn a_frame_without_records_is_skipped_once_the_records_before_it_are_resolved() {
        let mut window = SendWindow::new(at(0));
        window.skip_to(at(1));
        assert_eq!(window.resolved_to(), at(1));
        let delivery_id = push(&mut window, 2, 1);
        window.skip_to(at(3));
        assert_eq!(window.resolved_to(), at(1));
        window.confirm(delivery_id);
        assert_eq!(window.resolved_to(), at(3));
    }

    #[test]
    fn a_late_outcome_of_an_abandoned_try_resolves_nothing() {
        let mut window = SendWindow::new(at(0));
        let old = push(&mut window, 1, 7);
        assert_eq!(window.abandon(), at(0));
        assert_eq!(window.bytes(), 0);
        let new = push(&mut window, 1, 7);
        assert_eq!(window.confirm(old), None);
        assert_eq!(window.resolved_to(), at(0));
        assert!(window.confirm(new).is_some());
        assert_eq!(window.confirm(new), None, "an outcome counts once");
    }

    #[test]
    fn a_refused_record_is_given_out_once_the_run_has_passed_it() {
        let mut window = SendWindow::new(at(0));
        let [a, b] = [1, 2].map(|next| push(&mut window, next, 1));
        assert_eq!(window.refuse(b, "no".to_owned()), Some(NOW));
        assert_eq!(window.next_refused(), None);
        assert_eq!(window.abandon(), at(0));
        let [c, d] = [1, 2].map(|next| push(&mut window, next, 1));
        assert_eq!(window.refuse(a, "late".to_owned()), None);
        window.refuse(d, "no again".to_owned());
        window.confirm(c);
        let refused = RefusedRecord {
            offset: 1,
            reason: "no again".to_owned(),
        };
        assert_eq!(window.resolved_to(), at(2));
        assert_eq!(window.next_refused(), Some(refused));
        assert_eq!(window.next_refused(), None);
    }

    proptest! {
        #[test]
        fn in_whatever_order_outcomes_come_the_position_is_the_first_unresolved(
            order in Just((0..40u64).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut window = SendWindow::new(at(0));
            let delivery_ids: Vec<_> = (1..=40).map(|next| push(&mut window, next, 1)).collect();
            let mut resolved = [false; 40];
            for index in order {
                let index = usize::try_from(index).unwrap();
                window.confirm(delivery_ids[index]);
                resolved[index] = true;
                let run = resolved.iter().take_while(|resolved| **resolved).count();
                prop_assert_eq!(window.resolved_to(), at(run as u64));
                let open = resolved.iter().filter(|resolved| !**resolved).count();
                prop_assert_eq!(window.bytes(), open);
            }
        }
    }
}
