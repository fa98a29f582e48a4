//! Kafka through librdkafka: idempotent, `acks=all`, confirmed by the delivery report.

mod probe;
mod settings;

use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, ProducerContext, ThreadedProducer};

pub(super) use self::probe::probe;
pub use self::settings::{check_option, client_config};

use super::{Broken, Outcome, Outcomes, Record, Sink, Ticket};
use crate::config;

/// How long to wait when librdkafka's own queue is full before asking again.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(2);

/// The prefix of `CloudEvents` attributes in Kafka's binary content mode.
const HEADER_PREFIX: &str = "ce_";

/// One producer.
pub struct KafkaSink {
    /// Always there, until it is dropped.
    producer: Option<ThreadedProducer<Reports>>,
    outcomes: Outcomes,
    header_name: String,
}

impl std::fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSink").finish_non_exhaustive()
    }
}

impl Sink for KafkaSink {
    type Config = config::Kafka;

    async fn connect(config: &Self::Config, outcomes: Outcomes) -> Result<Self, Broken> {
        let reports = Reports(outcomes.clone());
        let producer = client_config(config)
            .create_with_context(reports)
            .map_err(|error| Broken(error.to_string().into()))?;
        Ok(Self {
            producer: Some(producer),
            outcomes,
            header_name: String::from(HEADER_PREFIX),
        })
    }

    async fn send(&mut self, ticket: Ticket, record: &Record<'_>) -> Result<(), Broken> {
        let mut pending = BaseRecord::with_opaque_to(record.destination, opaque(ticket))
            .payload(record.payload)
            .timestamp(record.timestamp)
            .headers(self.headers(record));
        if let Some(key) = record.key {
            pending = pending.key(key);
        }
        loop {
            let Some(producer) = &self.producer else {
                return Err(Broken("the producer is gone".into()));
            };
            match producer.send(pending) {
                Ok(()) => return Ok(()),
                Err((error, rejected)) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::QueueFull) => {
                        tokio::time::sleep(QUEUE_FULL_PAUSE).await;
                        pending = rejected;
                    }
                    Some(code) if is_final(code) => {
                        let _ = self
                            .outcomes
                            .send((ticket, Outcome::Refused(error.to_string().into())));
                        return Ok(());
                    }
                    _ => return Err(Broken(error.to_string().into())),
                },
            }
        }
    }

    /// librdkafka sends by itself once `linger.ms` has passed.
    async fn flush(&mut self) -> Result<(), Broken> {
        Ok(())
    }
}

/// Ending a producer takes up to half a second: not on a thread that others wait for.
impl Drop for KafkaSink {
    fn drop(&mut self) {
        let producer = self.producer.take();
        thread::spawn(move || drop(producer));
    }
}

impl KafkaSink {
    fn headers(&mut self, record: &Record<'_>) -> OwnedHeaders {
        let attributes = record.attributes.iter();
        let mut headers = OwnedHeaders::new_with_capacity(attributes.len() + 1);
        for (name, value) in attributes {
            self.header_name.truncate(HEADER_PREFIX.len());
            self.header_name.push_str(name);
            headers = headers.insert(Header {
                key: &self.header_name,
                value: Some(value),
            });
        }
        headers.insert(Header {
            key: "content-type",
            value: Some(record.content_type),
        })
    }
}

/// Takes librdkafka's delivery reports, errors and log lines.
struct Reports(Outcomes);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(facility, "kafka: {message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility, "kafka: {message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility, "kafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!("kafka: {error}: {reason}");
    }
}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let outcome = match result {
            Ok(_) => Outcome::Confirmed,
            Err((error, _)) => match error.rdkafka_error_code() {
                Some(code) if is_final(code) => Outcome::Refused(error.to_string().into()),
                _ => Outcome::Retry(error.to_string().into()),
            },
        };
        // The receiver is gone when this producer was given up: its records are sent again.
        let _ = self.0.send((ticket(opaque), outcome));
    }
}

/// Whether no later try of the same record can end otherwise.
fn is_final(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed
    )
}

// librdkafka carries one word for each message: the ticket's number fits on every 64-bit target.
#[expect(clippy::cast_possible_truncation, reason = "see above")]
fn opaque(ticket: Ticket) -> usize {
    ticket.0 as usize
}

fn ticket(opaque: usize) -> Ticket {
    Ticket(opaque as u64)
}
