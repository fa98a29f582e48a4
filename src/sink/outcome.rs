//! What became of the records that were handed to a sink, and how the delivery hears of it.

use tokio::sync::mpsc;

use super::Failure;

/// Names one attempt to deliver one record, so that its outcome can be matched to it. No two attempts
/// have the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeliveryId(pub u64);

impl DeliveryId {
    /// No record's: the outcome is about the connection as a whole.
    pub const CONNECTION: Self = Self(u64::MAX);
}

/// What became of a record that was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The broker has it, by its own word.
    Confirmed,
    /// It may work later: everything from the first unconfirmed record on is to be sent again.
    Retry(Failure),
    /// The broker will never take this record.
    Refused(Failure),
}

/// Where a sink reports what became of each record, in any order.
#[derive(Clone, Debug)]
pub struct Outcomes(mpsc::UnboundedSender<(DeliveryId, Outcome)>);

/// What the delivery hears.
pub type OutcomeReceiver = mpsc::UnboundedReceiver<(DeliveryId, Outcome)>;

impl Outcomes {
    /// Unbounded, for librdkafka reports on a thread that must not wait: there are at most as many
    /// outcomes as records that the delivery has handed over.
    #[must_use]
    pub fn channel() -> (Self, OutcomeReceiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Reports on a record.
    pub fn report(&self, id: DeliveryId, outcome: Outcome) {
        let _ = self.is_heard(id, outcome);
    }

    /// Reports on a record. `false`: the delivery has dropped this sink, and will send the record again.
    #[must_use]
    pub fn is_heard(&self, id: DeliveryId, outcome: Outcome) -> bool {
        self.0.send((id, outcome)).is_ok()
    }

    /// Reports that nothing more can be sent over this connection.
    pub fn connection_failed(&self, why: Failure) {
        self.report(DeliveryId::CONNECTION, Outcome::Retry(why));
    }
}
