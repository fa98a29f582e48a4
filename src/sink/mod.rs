//! A sink takes records to one broker: once each, and says what became of them.
//!
//! A sink never sleeps to retry, never begins a record a second time unless it is handed over again,
//! and never drops one: [`crate::delivery`] alone decides what follows from an [`Outcome`].

pub mod amqp;
mod connection_task;
mod failure;
pub mod kafka;
pub mod mqtt;
mod outcome;
pub mod probe;
pub mod stream;

pub use self::failure::{Cause, Failure};
pub use self::outcome::{DeliveryId, Outcome, OutcomeReceiver, Outcomes};

use std::future::Future;
use std::ops::Range;

use prost_reflect::MessageDescriptor;

use self::connection_task::ConnectionTask;

/// What is sent: borrowed from the batch that was transcoded.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Kafka topic, AMQP routing key, MQTT topic; empty where the sink has but one destination.
    pub destination: &'a str,
    pub key: Option<&'a [u8]>,
    pub payload: &'a [u8],
    pub attributes: Attributes<'a>,
    pub content_type: &'static str,
    /// What the payload is, where it is a message of Central's and nothing else.
    pub message: Option<&'a MessageDescriptor>,
    /// When it happened, in milliseconds since the Unix epoch.
    pub timestamp: i64,
}

/// The record's `CloudEvents` attributes for binary content mode, without a broker's prefix.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    text: &'a str,
    spans: &'a [(&'static str, Range<usize>)],
}

impl<'a> Attributes<'a> {
    /// Attributes whose values are parts of one text.
    #[must_use]
    pub fn new(text: &'a str, spans: &'a [(&'static str, Range<usize>)]) -> Self {
        Self { text, spans }
    }

    /// Names and values.
    #[must_use]
    pub fn iter(self) -> impl ExactSizeIterator<Item = (&'static str, &'a str)> {
        let Self { text, spans } = self;
        spans
            .iter()
            .map(|(name, span)| (*name, &text[span.clone()]))
    }
}

/// Why a sink could not be reached or can no longer be used; it is built anew after a backoff.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectionError(pub Failure);

/// One connection to a broker.
pub trait Sink: Sized + Send + 'static {
    type Config: Clone + Send + Sync + 'static;

    /// Builds what is needed to send.
    ///
    /// # Errors
    /// Whatever stands in the way now.
    fn connect(
        config: &Self::Config,
        outcomes: Outcomes,
    ) -> impl Future<Output = Result<Self, ConnectionError>> + Send;

    /// Hands one record over; waits at most for room in the client's own queue. Its outcome comes
    /// through [`Outcomes`], once.
    ///
    /// # Errors
    /// The connection as a whole can no longer be used.
    fn send(
        &mut self,
        delivery_id: DeliveryId,
        record: &Record<'_>,
    ) -> impl Future<Output = Result<(), ConnectionError>> + Send;

    /// Hurries what the client still holds back.
    ///
    /// # Errors
    /// The connection as a whole can no longer be used.
    fn flush(&mut self) -> impl Future<Output = Result<(), ConnectionError>> + Send;
}
