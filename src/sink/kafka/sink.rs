//! One producer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig, ThreadedProducer};
use tokio::time::timeout;

use super::admin::probe::probe;
use super::admin::topics::{self, TopicRefused};
use super::events::producer_callbacks::ProducerCallbacks;
use super::producer::first_answer::first_answer;
use super::producer::in_flight::InFlight;
use super::producer::in_flight_limit::InFlightLimit;
use super::schema_registry::{Framer, NotFramed};
use super::target::Target;
use super::{explain, settings};
use crate::config::Diagnostic;
use crate::sink::{Cause, ConnectionError, DeliveryId, Failure, Outcome, Outcomes, Record, Sink};

/// When librdkafka's own queue is full, it is tried again after this time.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(2);

/// The prefix of `CloudEvents` attributes in Kafka's binary content mode.
const HEADER_PREFIX: &str = "ce_";

const CONTENT_TYPE: &str = "content-type";

/// A header's two lengths; each takes one byte below 64.
const LENGTHS_BYTES: usize = 2;

/// Records that librdkafka has had for so long without an answer are stuck, because their topic or its
/// leader is missing. They must not hold back records for other partitions.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// One producer.
pub struct KafkaSink {
    target: Target,
    /// `None` only while the sink is dropped.
    producer: Option<ThreadedProducer<ProducerCallbacks>>,
    outcomes: Outcomes,
    /// A buffer for the names of headers; begins with their prefix.
    header_name: String,
    /// Where the schemas of messages are registered.
    framer: Option<Framer>,
    in_flight: Arc<InFlight>,
    /// `None`: librdkafka's own queue is the only limit.
    limit: Option<InFlightLimit>,
    is_stuck: bool,
}

impl std::fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSink").finish_non_exhaustive()
    }
}

impl Sink for KafkaSink {
    type Config = Target;

    fn check(target: &Target) -> Result<(), Diagnostic> {
        settings::check_together(&target.config)
    }

    async fn probe(target: &Target, topics: &BTreeSet<String>) -> Result<String, String> {
        probe(&target.config, topics).await
    }

    fn kafka(target: &Target) -> Option<&Target> {
        Some(target)
    }

    async fn connect(target: &Target, outcomes: Outcomes) -> Result<Self, ConnectionError> {
        let sink = Self::create(target, outcomes)?;
        first_answer(sink.producer.as_ref().ok_or_else(closed)?).await?;
        Ok(sink)
    }

    async fn send(&mut self, id: DeliveryId, record: &Record<'_>) -> Result<(), ConnectionError> {
        let topic = record.destination;
        if let Some(create) = self.target.config.create
            && let Err(TopicRefused(why)) = topics::ensure(&self.target, create, topic).await?
        {
            let failure = Failure::new(Cause::NoDestination, why);
            self.outcomes.report(id, Outcome::Refused(failure));
            return Ok(());
        }
        self.wait_for_room().await;
        let (headers, header_bytes) = self.headers(record);
        let payload = match &mut self.framer {
            None => record.payload,
            Some(framer) => match framer.frame(record, &self.target.shared.prefixes).await {
                Ok(payload) => payload,
                Err(NotFramed::Failed(error)) => return Err(error),
                Err(NotFramed::Refused(why)) => {
                    self.outcomes.report(id, Outcome::Refused(why));
                    return Ok(());
                }
            },
        };
        let mut message = BaseRecord::with_opaque_to(topic, opaque(id))
            .payload(payload)
            .timestamp(record.timestamp)
            .headers(headers);
        if let Some(key) = record.key {
            message = message.key(key);
        }
        let payload_bytes = payload.len();
        if let Some(limit) = &mut self.limit {
            let key_bytes = record.key.map_or(0, <[u8]>::len);
            limit.add(payload_bytes, key_bytes, header_bytes);
        }
        self.in_flight.add(payload_bytes);
        let producer = self.producer.as_ref().ok_or_else(closed)?;
        if let Err(error) = enqueue(producer, message).await {
            self.in_flight.remove(payload_bytes);
            return self.rejected(id, record, &error);
        }
        Ok(())
    }

    /// librdkafka sends by itself once `linger.ms` has passed.
    async fn flush(&mut self) -> Result<(), ConnectionError> {
        Ok(())
    }
}

/// What librdkafka has not sent yet is discarded: it comes after a record that is sent again.
impl Drop for KafkaSink {
    fn drop(&mut self) {
        let producer = self.producer.take();
        if let Some(producer) = &producer {
            producer.purge(PurgeConfig::default().queue().non_blocking());
        }
        // Closing a producer takes up to half a second, which no task has to wait for. Without another
        // thread it is closed here.
        let closing = thread::Builder::new().name("kafka-close".to_owned());
        let _ = closing.spawn(move || drop(producer));
    }
}

impl KafkaSink {
    fn create(target: &Target, outcomes: Outcomes) -> Result<Self, ConnectionError> {
        let mut client = target.client_config()?;
        if let Some(bytes) = target.shared.batch_bytes() {
            client.set("batch.size", bytes.to_string());
        }
        let batch = settings::batch(&client);
        let in_flight = Arc::<InFlight>::default();
        let callbacks = ProducerCallbacks::new(
            target.callbacks(),
            outcomes.clone(),
            batch.bytes,
            Arc::clone(&in_flight),
        );
        let registry = target.config.schema_registry.as_ref();
        let framer = registry.map(Framer::new).transpose()?;
        let producer = client
            .create_with_context(callbacks)
            .map_err(|error| ConnectionError(error.to_string().into()))?;
        Ok(Self {
            target: target.clone(),
            producer: Some(producer),
            outcomes,
            header_name: String::from(HEADER_PREFIX),
            framer,
            in_flight,
            limit: settings::is_idempotent(&client).then(|| InFlightLimit::new(batch)),
            is_stuck: false,
        })
    }

    /// Waits while librdkafka has as much as it can use.
    async fn wait_for_room(&mut self) {
        let Some(limit) = &mut self.limit else {
            return;
        };
        let limit = limit.payload_bytes(self.in_flight.partitions());
        if self.in_flight.payload_bytes() < limit {
            self.is_stuck = false;
        } else if !self.is_stuck {
            // Woken once for many records.
            let drained = self.in_flight.drained_to(limit - limit / 4);
            self.is_stuck = timeout(STUCK_AFTER, drained).await.is_err();
        }
    }

    /// Reports on a record that librdkafka did not put into its queue.
    ///
    /// # Errors
    /// The producer can no longer be used.
    fn rejected(
        &self,
        id: DeliveryId,
        record: &Record<'_>,
        error: &KafkaError,
    ) -> Result<(), ConnectionError> {
        let topic = record.destination;
        let client = self.producer.as_ref().ok_or_else(closed)?.client();
        let outcome = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                client.context().topic_is_missing(topic)
            }
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                Outcome::Refused(explain::too_large_for_client(record.payload.len()))
            }
            code => {
                let Some(why) = code.and_then(|code| explain::refusal(code, topic)) else {
                    let fatal = client.fatal_error();
                    let why = fatal.map_or_else(|| error.to_string(), |(_, why)| why);
                    return Err(ConnectionError(format!("kafka: {why}").into()));
                };
                Outcome::Refused(why)
            }
        };
        self.outcomes.report(id, outcome);
        Ok(())
    }

    /// The headers, and how many bytes they take in a request.
    fn headers(&mut self, record: &Record<'_>) -> (OwnedHeaders, usize) {
        let attributes = record.attributes.iter();
        let mut headers = OwnedHeaders::new_with_capacity(attributes.len() + 1);
        let mut bytes = 0;
        for (name, value) in attributes {
            self.header_name.truncate(HEADER_PREFIX.len());
            self.header_name.push_str(name);
            bytes += LENGTHS_BYTES + self.header_name.len() + value.len();
            headers = headers.insert(Header {
                key: &self.header_name,
                value: Some(value),
            });
        }
        bytes += LENGTHS_BYTES + CONTENT_TYPE.len() + record.content_type.len();
        let headers = headers.insert(Header {
            key: CONTENT_TYPE,
            value: Some(record.content_type),
        });
        (headers, bytes)
    }
}

fn closed() -> ConnectionError {
    ConnectionError("kafka: the producer is closed".into())
}

/// Puts a message into librdkafka's queue, and waits while the queue is full.
async fn enqueue(
    producer: &ThreadedProducer<ProducerCallbacks>,
    mut message: BaseRecord<'_, [u8], [u8], usize>,
) -> Result<(), KafkaError> {
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((error, rejected)) => {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(error);
                }
                tokio::time::sleep(QUEUE_FULL_PAUSE).await;
                message = rejected;
            }
        }
    }
}

// librdkafka carries one machine word with each message: the id fits into it on every 64-bit target.
#[expect(clippy::cast_possible_truncation, reason = "see above")]
fn opaque(id: DeliveryId) -> usize {
    id.0 as usize
}
