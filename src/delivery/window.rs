//! Which records are on their way, and how far the cursor may move.
//!
//! Confirmations come in any order; the cursor moves over the unbroken run of settled records.

use std::collections::VecDeque;

use crate::frame::Timestamp;
use crate::sink::Ticket;

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
    /// The ticket of the first slot. Tickets are never used twice, so that a late outcome of a try
    /// that was given up finds nothing.
    first: u64,
    bytes: usize,
    settled_to: Position,
}

#[derive(Debug)]
struct Slot {
    /// What is true once this slot and all before it are settled.
    then: Position,
    bytes: usize,
    received_at: Timestamp,
    settled: bool,
}

impl Window {
    pub(super) fn new(from: Position) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            bytes: 0,
            settled_to: from,
        }
    }

    /// Takes in a record that is about to be sent; `then` is the position behind it.
    pub(super) fn admit(&mut self, then: Position, bytes: usize, received_at: Timestamp) -> Ticket {
        let ticket = Ticket(self.first + self.slots.len() as u64);
        self.bytes += bytes;
        self.slots.push_back(Slot {
            then,
            bytes,
            received_at,
            settled: false,
        });
        ticket
    }

    /// Notes that nothing of what lies before `then` is to be sent.
    pub(super) fn pass(&mut self, then: Position) {
        match self.slots.back_mut() {
            Some(last) => last.then = then,
            None => self.settled_to = then,
        }
    }

    /// Notes that a record needs no more care, and tells when its frame was received; `None` if the
    /// ticket is not, or no longer, awaited.
    pub(super) fn settle(&mut self, ticket: Ticket) -> Option<Timestamp> {
        let index = usize::try_from(ticket.0.checked_sub(self.first)?).ok()?;
        let slot = self.slots.get_mut(index).filter(|slot| !slot.settled)?;
        slot.settled = true;
        let received_at = slot.received_at;
        self.bytes -= slot.bytes;
        while let Some(slot) = self.slots.front().filter(|slot| slot.settled) {
            self.settled_to = slot.then;
            self.first += 1;
            self.slots.pop_front();
        }
        Some(received_at)
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

    /// Records that wait to be settled, or for an earlier one to be settled.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Payload bytes of the records that are not settled.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
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

    #[test]
    fn the_position_moves_over_the_unbroken_run_only() {
        let mut window = Window::new(at(10));
        let [a, b, c] = [11, 12, 13].map(|then| window.admit(at(then), 1, NOW));
        assert!(window.settle(c).is_some());
        assert!(window.settle(b).is_some());
        assert_eq!(window.settled_to(), at(10));
        assert_eq!(window.settle(a), Some(NOW));
        assert_eq!(window.settled_to(), at(13));
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn a_frame_without_records_is_passed_once_the_records_before_it_are_settled() {
        let mut window = Window::new(at(0));
        window.pass(at(1));
        assert_eq!(window.settled_to(), at(1));
        let ticket = window.admit(at(2), 1, NOW);
        window.pass(at(3));
        assert_eq!(window.settled_to(), at(1));
        window.settle(ticket);
        assert_eq!(window.settled_to(), at(3));
    }

    #[test]
    fn a_late_outcome_of_a_try_that_was_given_up_settles_nothing() {
        let mut window = Window::new(at(0));
        let old = window.admit(at(1), 7, NOW);
        assert_eq!(window.give_up(), at(0));
        assert_eq!(window.bytes(), 0);
        let new = window.admit(at(1), 7, NOW);
        assert_eq!(window.settle(old), None);
        assert_eq!(window.settled_to(), at(0));
        assert!(window.settle(new).is_some());
        assert_eq!(window.settle(new), None, "an outcome counts once");
    }

    proptest! {
        #[test]
        fn in_whatever_order_outcomes_come_the_position_is_the_first_unsettled(
            order in Just((0..40u64).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut window = Window::new(at(0));
            let tickets: Vec<_> = (1..=40).map(|then| window.admit(at(then), 1, NOW)).collect();
            let mut settled = [false; 40];
            for index in order {
                let index = usize::try_from(index).unwrap();
                window.settle(tickets[index]);
                settled[index] = true;
                let run = settled.iter().take_while(|settled| **settled).count();
                prop_assert_eq!(window.settled_to(), at(run as u64));
                let open = settled.iter().filter(|settled| !**settled).count();
                prop_assert_eq!(window.bytes(), open);
            }
        }
    }
}
