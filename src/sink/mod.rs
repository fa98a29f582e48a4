//! A sink sends records to one broker, each once, and reports what becomes of them.
//!
//! A sink never retries and never drops a record: [`crate::delivery`] alone decides what follows from an
//! [`Outcome`].
//!
//! - `kafka`, `amqp`, `mqtt`, `stream` (standard output and files): one folder for each kind
//! - `outcome`, `failure`: what a sink reports
//! - `connection_task`: the task that drives a connection, whose end is always reported
//! - `probe`, `probed_topics`: `check --connect`

pub mod amqp;
mod connection_task;
mod failure;
pub mod kafka;
pub mod mqtt;
mod outcome;
pub mod probe;
mod probed_topics;
pub mod stream;

pub use self::failure::{Cause, Failure};
pub use self::outcome::{DeliveryId, Outcome, OutcomeReceiver, Outcomes};

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::Range;

use prost_reflect::MessageDescriptor;

use self::amqp::AmqpSink;
use self::connection_task::ConnectionTask;
use self::kafka::KafkaSink;
use self::mqtt::MqttSink;
use self::stream::StreamSink;
use crate::config::{self, Config, ConfigErrors, Diagnostic};

/// What is sent: borrowed from the batch of which it is a part.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Kafka topic, AMQP routing key, MQTT topic; empty where the sink has only one destination.
    pub destination: &'a str,
    pub key: Option<&'a [u8]>,
    pub payload: &'a [u8],
    pub attributes: Attributes<'a>,
    pub content_type: &'static str,
    /// The payload's message type, where the payload is a message of Central in protobuf.
    pub message: Option<&'a MessageDescriptor>,
    /// When the event happened, in milliseconds since the Unix epoch.
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

/// Why a sink cannot be connected or can no longer be used. The delivery connects again after a backoff.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectionError(pub Failure);

/// One connection to a broker.
pub trait Sink: Sized + Send + 'static {
    type Config: Clone + Send + Sync + 'static;

    /// Checks what the client library can without a broker.
    ///
    /// # Errors
    /// What the library refuses.
    fn check(_config: &Self::Config) -> Result<(), Diagnostic> {
        Ok(())
    }

    /// Connects, logs in, and checks as far as possible that the broker would accept records for these
    /// destinations; writes nothing that a consumer would see. Returns what was found, for the operator.
    ///
    /// # Errors
    /// What failed, with the broker's own message.
    fn probe(
        config: &Self::Config,
        destinations: &BTreeSet<String>,
    ) -> impl Future<Output = Result<String, String>> + Send;

    /// The Kafka cluster whose client's statistics are shown, if it is one.
    fn kafka(_config: &Self::Config) -> Option<&kafka::Target> {
        None
    }

    /// Connects, and prepares everything that is needed to send.
    ///
    /// # Errors
    /// Why that is not possible now.
    fn connect(
        config: &Self::Config,
        outcomes: Outcomes,
    ) -> impl Future<Output = Result<Self, ConnectionError>> + Send;

    /// Takes one record; waits only for room in the client's own queue. Its outcome is reported once
    /// through [`Outcomes`], unless the connection fails before.
    ///
    /// # Errors
    /// The connection can no longer be used.
    fn send(
        &mut self,
        delivery_id: DeliveryId,
        record: &Record<'_>,
    ) -> impl Future<Output = Result<(), ConnectionError>> + Send;

    /// Sends what the client still holds back.
    ///
    /// # Errors
    /// The connection can no longer be used.
    fn flush(&mut self) -> impl Future<Output = Result<(), ConnectionError>> + Send;
}

/// What is done with a sink of whichever kind: written once, for all kinds.
pub trait Visitor {
    type Output;

    /// `config` is what the sink connects with.
    fn visit<S: Sink>(self, config: S::Config) -> Self::Output;
}

/// Lets a visitor work with the sink `name`. This is the one place where the kinds part.
pub fn visit<V: Visitor>(name: &str, sink: &config::Sink, visitor: V) -> V::Output {
    match sink {
        config::Sink::Kafka(kafka) => {
            visitor.visit::<KafkaSink>(kafka::Target::new(name, (**kafka).clone()))
        }
        config::Sink::Amqp(amqp) => visitor.visit::<AmqpSink>((**amqp).clone().into()),
        config::Sink::Mqtt(mqtt) => visitor.visit::<MqttSink>((**mqtt).clone().into()),
        config::Sink::Stdout(_) => visitor.visit::<StreamSink>(stream::Target::Stdout),
        config::Sink::File(file) => visitor.visit::<StreamSink>(stream::Target::File(file.clone())),
    }
}

/// Checks each sink as far as its client library can without a broker.
///
/// # Errors
/// What the library refuses, for each sink the first.
pub fn check(config: &Config) -> Result<(), ConfigErrors> {
    struct Check;
    impl Visitor for Check {
        type Output = Result<(), Diagnostic>;

        fn visit<S: Sink>(self, config: S::Config) -> Self::Output {
            S::check(&config)
        }
    }
    let sinks = config.sinks.iter();
    let errors: Vec<Diagnostic> = sinks
        .filter_map(|(name, sink)| visit(name, sink, Check).err())
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ConfigErrors::new(errors))
    }
}
