//! Which records are on their way, and how far the cursor may move.
//!
//! Confirmations come in any order; the cursor moves over the unbroken run of settled records. A
//! refused record is settled too, and becomes a dead letter once that run has come to it: what lies
//! behind the run may be sent again, and refused again.

use std::collections::VecDeque;

use crate::frame::Timestamp;
use crate::sink::DeliveryId;

/// The next record to settle: a frame's offset in the journal, and how many of that frame's records
/// are settled already. Sending begins again from here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) offset: u64,
    pub(super) record: u32,
}

#[derive(Debug)]
pub(super) struct Window {
    slots: VecDeque<Slot>,
    /// The id of the first slot. Ids are never used twice, so that a late outcome of a try
    /// that was given up finds nothing.
    first: u64,
    bytes: usize,
    settled_to: Position,
    /// The refused records that the unbroken run has passed.
    refused: VecDeque<Refused>,
}

/// A record that is not to be had by the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Its frame's.
    pub(super) offset: u64,
    pub(super) reason: String,
}

#[derive(Debug)]
struct Slot {
    offset: u64,
    /// What is true once this slot and all before it are settled.
    then: Position,
    bytes: usize,
    received_at: Timestamp,
    state: State,
}

#[derive(Debug)]
enum State {
    Open,
    Confirmed,
    Refused(String),
}

impl Window {
    pub(super) fn new(from: Position) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            bytes: 0,
            settled_to: from,
            refused: VecDeque::new(),
        }
    }

    /// Takes in a record that is about to be sent, of the frame at `offset`; `then` is the position
    /// behind it.
    pub(super) fn admit(
        &mut self,
        offset: u64,
        then: Position,
        bytes: usize,
        received_at: Timestamp,
    ) -> DeliveryId {
        let delivery_id = DeliveryId(self.first + self.slots.len() as u64);
        self.bytes += bytes;
        self.slots.push_back(Slot {
            offset,
            then,
            bytes,
            received_at,
            state: State::Open,
        });
        delivery_id
    }

    /// Notes that nothing of what lies before `then` is to be sent.
    pub(super) fn pass(&mut self, then: Position) {
        match self.slots.back_mut() {
            Some(last) => last.then = then,
            None => self.settled_to = then,
        }
    }

    /// Notes that the sink has a record, and tells when its frame was received; `None` if the delivery
    /// is not, or no longer, awaited.
    pub(super) fn confirm(&mut self, delivery_id: DeliveryId) -> Option<Timestamp> {
        self.settle(delivery_id, State::Confirmed)
    }

    /// Notes that the sink will never have a record; otherwise the same.
    pub(super) fn refuse(&mut self, delivery_id: DeliveryId, reason: String) -> Option<Timestamp> {
        self.settle(delivery_id, State::Refused(reason))
    }

    fn settle(&mut self, delivery_id: DeliveryId, state: State) -> Option<Timestamp> {
        let index = usize::try_from(delivery_id.0.checked_sub(self.first)?).ok()?;
        let slot = self.slots.get_mut(index).filter(|slot| slot.is_open())?;
        slot.state = state;
        let received_at = slot.received_at;
        self.bytes -= slot.bytes;
        while self.slots.front().is_some_and(|slot| !slot.is_open())
            && let Some(slot) = self.slots.pop_front()
        {
            self.first += 1;
            self.settled_to = slot.then;
            if let State::Refused(reason) = slot.state {
                let offset = slot.offset;
                self.refused.push_back(Refused { offset, reason });
            }
        }
        Some(received_at)
    }

    /// The next refused record that the unbroken run has passed.
    pub(super) fn next_refused(&mut self) -> Option<Refused> {
        self.refused.pop_front()
    }

    /// Gives up all tries that are under way and tells where to begin again.
    pub(super) fn give_up(&mut self) -> Position {
        self.first += self.slots.len() as u64;
        self.slots.clear();
        self.bytes = 0;
        self.settled_to
    }

    /// Everything before this is settled.
    pub(super) fn settled_to(&self) -> Position {
        self.settled_to
    }

    /// The frame of the first record, and when it was received.
    pub(super) fn first(&self) -> Option<(u64, Timestamp)> {
        let first = self.slots.front()?;
        Some((first.offset, first.received_at))
    }

    /// Records that wait to be settled, or for an earlier one to be settled.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Payload bytes of the records that are not settled.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Slot {
    fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
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

    /// The only record of the frame before `then`.
    fn admit(window: &mut Window, then: u64, bytes: usize) -> DeliveryId {
        window.admit(then - 1, at(then), bytes, NOW)
    }

    #[test]
    fn the_position_moves_over_the_unbroken_run_only() {
        let mut window = Window::new(at(10));
        let [a, b, c] = [11, 12, 13].map(|then| admit(&mut window, then, 1));
        assert!(window.confirm(c).is_some());
        assert!(window.confirm(b).is_some());
        assert_eq!(window.settled_to(), at(10));
        assert_eq!(window.confirm(a), Some(NOW));
        assert_eq!(window.settled_to(), at(13));
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn a_frame_without_records_is_passed_once_the_records_before_it_are_settled() {
        let mut window = Window::new(at(0));
        window.pass(at(1));
        assert_eq!(window.settled_to(), at(1));
        let delivery_id = admit(&mut window, 2, 1);
        window.pass(at(3));
        assert_eq!(window.settled_to(), at(1));
        window.confirm(delivery_id);
        assert_eq!(window.settled_to(), at(3));
    }

    #[test]
    fn a_late_outcome_of_a_try_that_was_given_up_settles_nothing() {
        let mut window = Window::new(at(0));
        let old = admit(&mut window, 1, 7);
        assert_eq!(window.give_up(), at(0));
        assert_eq!(window.bytes(), 0);
        let new = admit(&mut window, 1, 7);
        assert_eq!(window.confirm(old), None);
        assert_eq!(window.settled_to(), at(0));
        assert!(window.confirm(new).is_some());
        assert_eq!(window.confirm(new), None, "an outcome counts once");
    }

    #[test]
    fn a_refused_record_is_given_out_once_the_run_has_passed_it() {
        let mut window = Window::new(at(0));
        let [a, b] = [1, 2].map(|then| admit(&mut window, then, 1));
        assert_eq!(window.refuse(b, "no".to_owned()), Some(NOW));
        assert_eq!(window.next_refused(), None);
        assert_eq!(window.give_up(), at(0));
        let [c, d] = [1, 2].map(|then| admit(&mut window, then, 1));
        assert_eq!(window.refuse(a, "late".to_owned()), None);
        window.refuse(d, "no again".to_owned());
        window.confirm(c);
        let refused = Refused {
            offset: 1,
            reason: "no again".to_owned(),
        };
        assert_eq!(window.settled_to(), at(2));
        assert_eq!(window.next_refused(), Some(refused));
        assert_eq!(window.next_refused(), None);
    }

    proptest! {
        #[test]
        fn in_whatever_order_outcomes_come_the_position_is_the_first_unsettled(
            order in Just((0..40u64).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut window = Window::new(at(0));
            let delivery_ids: Vec<_> = (1..=40).map(|then| admit(&mut window, then, 1)).collect();
            let mut settled = [false; 40];
            for index in order {
                let index = usize::try_from(index).unwrap();
                window.confirm(delivery_ids[index]);
                settled[index] = true;
                let run = settled.iter().take_while(|settled| **settled).count();
                prop_assert_eq!(window.settled_to(), at(run as u64));
                let open = settled.iter().filter(|settled| !**settled).count();
                prop_assert_eq!(window.bytes(), open);
            }
        }
    }
}
