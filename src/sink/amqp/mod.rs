//! AMQP 0-9-1, as `RabbitMQ` speaks it: persistent, `mandatory`, confirmed by the broker.
//!
//! `send` hands a record to the `Publisher`, a task that owns the connection. It publishes in
//! order, keeps a bounded number of records unconfirmed, and says what became of each. It never
//! connects again: when the connection is of no more use, it ends, and delivery builds a new sink.

mod connect;
mod explain;
mod probe;
mod publisher;
mod unconfirmed;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use tokio::sync::mpsc;

use self::publisher::Publisher;
use super::{
    Cause, ConnectionError, ConnectionTask, DeliveryId, Failure, Outcome, Outcomes, Record, Sink,
};
use crate::config;

/// Records between `send` and the publisher: enough for one not to wait for the other.
const QUEUE: usize = 256;

/// The delivery mode that has a broker write a message to its disk.
const PERSISTENT: u8 = 2;

/// What the attribute names of `CloudEvents` begin with in AMQP.
const HEADER_PREFIX: &str = "cloudEvents:";

/// What a header takes beside the attributes, at most.
const OTHER_PROPERTIES_BYTES: usize = 2048;

/// What an attribute takes beside its value: its name with its prefix, a type and two lengths.
const ATTRIBUTE_BYTES: usize = 64;

/// A broker, and what it said that the next connection has to know.
#[derive(Clone, Debug)]
pub struct Peer {
    config: config::Amqp,
    limit: SizeLimit,
}

impl From<config::Amqp> for Peer {
    fn from(config: config::Amqp) -> Self {
        Self {
            config,
            limit: SizeLimit::default(),
        }
    }
}

/// How many bytes of payload the broker takes. It says so only by closing the channel over a record
/// that has more; without this memory the same record would close each channel after it.
#[derive(Clone, Debug)]
struct SizeLimit(Arc<AtomicUsize>);

impl Default for SizeLimit {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }
}

impl SizeLimit {
    fn learn(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn forget(&self) {
        self.learn(usize::MAX);
    }

    fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A record as AMQP has it.
struct Message {
    delivery_id: DeliveryId,
    routing_key: ShortString,
    properties: BasicProperties,
    payload: Vec<u8>,
}

/// One connection, and the task that uses it.
#[derive(Debug)]
pub struct AmqpSink {
    queue: mpsc::Sender<Message>,
    publisher: ConnectionTask,
    outcomes: Outcomes,
    /// What all messages have in common.
    properties: BasicProperties,
    /// Bytes that a payload may have, as far as is known, and those of a frame.
    max_payload: usize,
    max_frame: usize,
}

impl Sink for AmqpSink {
    type Config = Peer;

    async fn probe(peer: &Peer, routing_keys: &BTreeSet<String>) -> Result<String, String> {
        probe::probe(&peer.config, routing_keys).await
    }

    async fn connect(peer: &Self::Config, outcomes: Outcomes) -> Result<Self, ConnectionError> {
        let link = connect::connect(&peer.config).await?;
        let max_frame = match link.connection.configuration().frame_max() {
            0 => usize::MAX,
            bytes => bytes.try_into().unwrap_or(usize::MAX),
        };
        let max_payload = peer.limit.bytes();
        let (queue, messages) = mpsc::channel(QUEUE);
        let publisher = ConnectionTask::spawn("amqp", outcomes.clone(), |stop| {
            Publisher::new(peer, link, messages, outcomes.clone(), stop).run()
        });
        Ok(Self {
            queue,
            publisher,
            outcomes,
            properties: common_properties(&peer.config),
            max_payload,
            max_frame,
        })
    }

    /// Waits while the broker blocks publishers, or confirms too little: for as long as it takes.
    async fn send(
        &mut self,
        delivery_id: DeliveryId,
        record: &Record<'_>,
    ) -> Result<(), ConnectionError> {
        match self.message(delivery_id, record) {
            Ok(message) => match self.queue.send(message).await {
                Ok(()) => Ok(()),
                Err(_) => Err(self.publisher.error().await),
            },
            Err(why) => {
                self.outcomes.report(delivery_id, Outcome::Refused(why));
                Ok(())
            }
        }
    }

    /// The publisher holds nothing back.
    async fn flush(&mut self) -> Result<(), ConnectionError> {
        Ok(())
    }
}

impl AmqpSink {
    fn message(&self, delivery_id: DeliveryId, record: &Record<'_>) -> Result<Message, Failure> {
        let routing_key = ShortString::try_new(record.destination).map_err(|_| {
            let why = format!("its routing key is too long: {}", record.destination);
            Failure::new(Cause::Invalid, why)
        })?;
        self.check_size(record)
            .map_err(|why| Failure::new(Cause::TooLarge, why))?;
        Ok(Message {
            delivery_id,
            routing_key,
            properties: self.properties(record),
            payload: record.payload.to_vec(),
        })
    }

    fn check_size(&self, record: &Record<'_>) -> Result<(), String> {
        let (bytes, limit) = (record.payload.len(), self.max_payload);
        if bytes > limit {
            return Err(format!(
                "its payload of {bytes} bytes is over the broker's limit of {limit} (max_message_size in rabbitmq.conf)"
            ));
        }
        // A payload is sent in pieces, but all properties are in one frame.
        let attributes = record.attributes.iter();
        let bytes: usize = attributes
            .map(|(_, value)| ATTRIBUTE_BYTES + value.len())
            .sum();
        let limit = self.max_frame.saturating_sub(OTHER_PROPERTIES_BYTES);
        if bytes > limit {
            return Err(format!(
                "its attributes of {bytes} bytes do not fit into one frame of the broker's (frame_max in rabbitmq.conf)"
            ));
        }
        Ok(())
    }

    fn properties(&self, record: &Record<'_>) -> BasicProperties {
        let mut properties = self
            .properties
            .clone()
            .with_content_type(record.content_type.into())
            .with_timestamp(u64::try_from(record.timestamp / 1000).unwrap_or(0));
        let mut headers = FieldTable::default();
        for (name, value) in record.attributes.iter() {
            // What is too long for a property is in the header still.
            if let ("id" | "type", Ok(value)) = (name, ShortString::try_new(value)) {
                properties = match name {
                    "id" => properties.with_message_id(value),
                    _ => properties.with_type(value),
                };
            }
            let name = ShortString::from(format!("{HEADER_PREFIX}{name}"));
            headers.insert(name, AMQPValue::LongString(LongString::from(value)));
        }
        properties.with_headers(headers)
    }
}

fn common_properties(config: &config::Amqp) -> BasicProperties {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_app_id(config.app_id.as_str().into());
    if let Some(expiration) = config.expiration {
        // AMQP has it as text, in milliseconds.
        let millis = expiration.as_millis().to_string();
        properties = properties.with_expiration(millis.into());
    }
    if let Some(priority) = config.priority {
        properties = properties.with_priority(priority);
    }
    properties
}
