//! AMQP 0-9-1, as `RabbitMQ` speaks it: persistent, `mandatory`, confirmed by the broker.
//!
//! `send` hands a record to the `Publisher`, a task that owns the connection. It publishes in order, limits
//! the number of unconfirmed records, and reports what becomes of each. It never reconnects: when the
//! connection can no longer be used it ends, and the delivery builds a new sink.
//!
//! - `connect`: from the config to a channel that is ready
//! - `publisher`, `unconfirmed`: the task, and which records wait for the broker's confirm
//! - `message`: records as AMQP messages
//! - `explain`: what the broker's errors mean for the operator

mod connect;
mod explain;
mod message;
mod probe;
mod publisher;
mod target;
mod unconfirmed;

use std::collections::BTreeSet;

use tokio::sync::mpsc;

pub use self::target::Target;

use self::message::{Encoder, Message};
use self::publisher::Publisher;
use super::{ConnectionError, ConnectionTask, DeliveryId, Outcome, Outcomes, Record, Sink};

/// Messages between `send` and the publisher: enough that neither waits for the other.
const QUEUE: usize = 256;

/// One connection, and the task that uses it.
#[derive(Debug)]
pub struct AmqpSink {
    encoder: Encoder,
    publisher: ConnectionTask<Message>,
    outcomes: Outcomes,
}

impl Sink for AmqpSink {
    type Config = Target;

    async fn probe(target: &Target, routing_keys: &BTreeSet<String>) -> Result<String, String> {
        probe::probe(&target.config, routing_keys).await
    }

    async fn connect(target: &Target, outcomes: Outcomes) -> Result<Self, ConnectionError> {
        let connection = connect::connect(&target.config).await?;
        let max_frame = connection.max_frame_bytes();
        let encoder = Encoder::new(&target.config, target.size_limit.bytes(), max_frame);
        let (queue, messages) = mpsc::channel(QUEUE);
        let publisher = ConnectionTask::spawn("amqp", queue, outcomes.clone(), |stop| {
            Publisher::new(target, connection, messages, outcomes.clone(), stop).run()
        });
        Ok(Self {
            encoder,
            publisher,
            outcomes,
        })
    }

    /// Waits, without a time limit, while the broker blocks publishers or confirms too little.
    async fn send(
        &mut self,
        delivery_id: DeliveryId,
        record: &Record<'_>,
    ) -> Result<(), ConnectionError> {
        match self.encoder.message(delivery_id, record) {
            Ok(message) => self.publisher.send(message).await,
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
