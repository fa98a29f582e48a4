//! AMQP 0-9-1, as `RabbitMQ` speaks it: persistent, `mandatory`, confirmed by the broker.
//!
//! `send` hands a record to the `Publisher`, a task that owns the connection. It publishes in
//! order, keeps a bounded number of records unconfirmed, and says what became of each. It never
//! connects again: when the connection is of no more use, it ends, and delivery builds a new sink.

mod connect;
mod explain;
mod publisher;
mod tls;
mod unsettled;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::publisher::Publisher;
use super::{Broken, Outcome, Outcomes, Record, Sink, Ticket};
use crate::config;

/// Records between `send` and the publisher: enough for one not to wait for the other.
const QUEUE: usize = 256;

/// The delivery mode that has a broker write a message to its disk.
const PERSISTENT: u8 = 2;

/// What the attribute names of `CloudEvents` begin with in AMQP.
const HEADER_PREFIX: &str = "cloudEvents:";

/// A record as AMQP has it.
struct Message {
    ticket: Ticket,
    routing_key: ShortString,
    properties: BasicProperties,
    payload: Vec<u8>,
}

/// One connection, and the task that uses it.
#[derive(Debug)]
pub struct AmqpSink {
    queue: mpsc::Sender<Message>,
    publisher: JoinHandle<Broken>,
    outcomes: Outcomes,
    /// What all messages have in common.
    properties: BasicProperties,
    /// Ends the publisher, also while it takes no records.
    _end: DropGuard,
}

impl Sink for AmqpSink {
    type Config = config::Amqp;

    async fn connect(config: &Self::Config, outcomes: Outcomes) -> Result<Self, Broken> {
        let link = connect::connect(config).await?;
        let (queue, messages) = mpsc::channel(QUEUE);
        let given_up = CancellationToken::new();
        let end = given_up.clone().drop_guard();
        let publisher = Publisher::new(config, link, messages, outcomes.clone(), given_up);
        Ok(Self {
            queue,
            publisher: tokio::spawn(publisher.run()),
            outcomes,
            properties: common_properties(config),
            _end: end,
        })
    }

    /// Waits while the broker blocks publishers, or confirms too little: for as long as it takes.
    async fn send(&mut self, ticket: Ticket, record: &Record<'_>) -> Result<(), Broken> {
        match self.message(ticket, record) {
            Ok(message) => match self.queue.send(message).await {
                Ok(()) => Ok(()),
                Err(_) => Err(self.why_it_ended().await),
            },
            Err(why) => {
                // The receiver is gone only when delivery gave this sink up.
                let _ = self.outcomes.send((ticket, Outcome::Refused(why)));
                Ok(())
            }
        }
    }

    /// The publisher holds nothing back.
    async fn flush(&mut self) -> Result<(), Broken> {
        Ok(())
    }
}

impl AmqpSink {
    fn message(&self, ticket: Ticket, record: &Record<'_>) -> Result<Message, String> {
        let routing_key = ShortString::try_new(record.destination)
            .map_err(|_| format!("its routing key is too long: {}", record.destination))?;
        Ok(Message {
            ticket,
            routing_key,
            properties: self.properties(record),
            payload: record.payload.to_vec(),
        })
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

    async fn why_it_ended(&mut self) -> Broken {
        (&mut self.publisher)
            .await
            .unwrap_or_else(|panic| Broken(format!("publishing failed: {panic}")))
    }
}

fn common_properties(config: &config::Amqp) -> BasicProperties {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_app_id("central-forwarder".into());
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
