//! Kafka through librdkafka: idempotent, `acks=all`, confirmed by the delivery report.
//!
//! A producer that failed for good is given up with its sink, and the next one is sent everything
//! unconfirmed, in order.

mod admin;
mod events;
mod explain;
mod producer;
mod registry;
mod settings;
mod shared_state;
mod token;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig, ThreadedProducer};
use tokio::time::timeout;

pub use self::events::statistics::Statistics;
pub use self::settings::check_option;

use self::admin::topics::{self, NoTopic};
use self::events::reports::{Link, Reports};
use self::producer::connect;
use self::producer::in_flight::UnderWay;
use self::producer::in_flight_limit::{Appetite, Batch};
use self::registry::{NotFramed, Registry};
use self::shared_state::Memory;
use self::token::Tokens;
use super::{Cause, ConnectionError, DeliveryId, Failure, Outcome, Outcomes, Record, Sink};
use crate::config::{self, Diagnostic};

/// How long to wait when librdkafka's own queue is full before asking again.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(2);

/// The prefix of `CloudEvents` attributes in Kafka's binary content mode.
const HEADER_PREFIX: &str = "ce_";

const CONTENT_TYPE: &str = "content-type";

/// A header's two lengths; each takes one byte below 64.
const LENGTHS_BYTES: usize = 2;

/// librdkafka's default of `batch.size`, in bytes.
const BATCH_BYTES: usize = 1_000_000;

/// librdkafka's default of `batch.num.messages`.
const BATCH_RECORDS: usize = 10_000;

/// librdkafka's default of `linger.ms`.
const LINGER: Duration = Duration::from_millis(5);

/// Records that librdkafka has for so long without an answer are stuck, for want of their topic or its
/// leader: they must not hold back what goes elsewhere.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// A cluster, and what is known of it over all the producers that are built for it.
#[derive(Clone, Debug)]
pub struct Target {
    name: Arc<str>,
    config: Arc<config::Kafka>,
    memory: Arc<Memory>,
}

impl Target {
    /// The sink's name is for the log.
    #[must_use]
    pub fn new(name: &str, config: config::Kafka) -> Self {
        Self {
            name: name.into(),
            config: Arc::new(config),
            memory: Arc::default(),
        }
    }

    /// What librdkafka said last of itself.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        *self.memory.statistics()
    }

    fn client_config(&self) -> Result<ClientConfig, ConnectionError> {
        settings::client_config(&self.config)
            .map_err(|error| ConnectionError(format!("kafka: {error}").into()))
    }

    fn link(&self) -> Link {
        Link {
            sink: Arc::clone(&self.name),
            memory: Arc::clone(&self.memory),
            tokens: Tokens::of(self.config.sasl.as_ref()),
        }
    }
}

/// One producer.
pub struct KafkaSink {
    target: Target,
    /// Always there, until it is dropped.
    producer: Option<ThreadedProducer<Reports>>,
    outcomes: Outcomes,
    header_name: String,
    /// Where the schemas of messages are registered.
    registry: Option<Registry>,
    under_way: Arc<UnderWay>,
    /// `None`: without bounds of ours.
    appetite: Option<Appetite>,
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
        self::admin::probe::probe(&target.config, topics).await
    }

    fn kafka(target: &Target) -> Option<&Target> {
        Some(target)
    }

    async fn connect(target: &Target, outcomes: Outcomes) -> Result<Self, ConnectionError> {
        let mut client = target.client_config()?;
        if let Some(bytes) = target.memory.batch_bytes() {
            client.set("batch.size", bytes.to_string());
        }
        let batch = batch(&client);
        let under_way = Arc::<UnderWay>::default();
        let reports = Reports {
            link: target.link(),
            outcomes: outcomes.clone(),
            producer: target.memory.next_producer(),
            batch_bytes: batch.bytes,
            under_way: Arc::clone(&under_way),
            counted: Mutex::default(),
            complaint: Mutex::default(),
            connecting: AtomicBool::new(true),
            confirmed: AtomicU64::new(0),
            turned_away: Mutex::default(),
        };
        let registry = target.config.schema_registry.as_ref();
        let registry = registry.map(Registry::new).transpose()?;
        let producer = client
            .create_with_context(reports)
            .map_err(|error| ConnectionError(error.to_string().into()))?;
        let sink = Self {
            target: target.clone(),
            producer: Some(producer),
            outcomes,
            header_name: String::from(HEADER_PREFIX),
            registry,
            under_way,
            appetite: is_idempotent(&client).then(|| Appetite::new(batch)),
            is_stuck: false,
        };
        if let Some(producer) = &sink.producer {
            connect::first_answer(producer).await?;
        }
        Ok(sink)
    }

    async fn send(
        &mut self,
        delivery_id: DeliveryId,
        record: &Record<'_>,
    ) -> Result<(), ConnectionError> {
        let topic = record.destination;
        if let Some(create) = self.target.config.create
            && let Err(NoTopic(why)) = topics::ensure(&self.target, create, topic).await?
        {
            self.outcomes.report(
                delivery_id,
                Outcome::Refused(Failure::new(Cause::NoDestination, why)),
            );
            return Ok(());
        }
        self.wait_for_room().await;
        let (headers, header_bytes) = self.headers(record);
        let payload = match &mut self.registry {
            None => record.payload,
            Some(registry) => match registry.frame(record, &self.target.memory.prefixes).await {
                Ok(framed) => framed,
                Err(NotFramed::Failed(broken)) => return Err(broken),
                Err(NotFramed::Refused(why)) => {
                    self.outcomes.report(delivery_id, Outcome::Refused(why));
                    return Ok(());
                }
            },
        };
        let payload_bytes = payload.len();
        let mut pending = BaseRecord::with_opaque_to(topic, opaque(delivery_id))
            .payload(payload)
            .timestamp(record.timestamp)
            .headers(headers);
        if let Some(key) = record.key {
            pending = pending.key(key);
        }
        if let Some(appetite) = &mut self.appetite {
            let key = record.key.map_or(0, <[u8]>::len);
            appetite.note(payload_bytes, key, header_bytes);
        }
        self.under_way.handed_over(payload_bytes);
        loop {
            let Some(producer) = &self.producer else {
                return Err(ConnectionError("the producer is gone".into()));
            };
            match producer.send(pending) {
                Ok(()) => return Ok(()),
                Err((error, rejected)) => {
                    if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                        drop(rejected);
                        self.under_way.reported(payload_bytes);
                        return self.not_taken(delivery_id, record, &error);
                    }
                    tokio::time::sleep(QUEUE_FULL_PAUSE).await;
                    pending = rejected;
                }
            }
        }
    }

    /// librdkafka sends by itself once `linger.ms` has passed.
    async fn flush(&mut self) -> Result<(), ConnectionError> {
        Ok(())
    }
}

/// What librdkafka still has is not sent any more: it goes behind a record that is to be sent again.
/// Ending a producer takes up to half a second: not on a thread that others wait for.
impl Drop for KafkaSink {
    fn drop(&mut self) {
        let producer = self.producer.take();
        if let Some(producer) = &producer {
            producer.purge(PurgeConfig::default().queue().non_blocking());
        }
        thread::spawn(move || drop(producer));
    }
}

impl KafkaSink {
    /// Waits while librdkafka has as much as it can use.
    async fn wait_for_room(&mut self) {
        let Some(appetite) = &mut self.appetite else {
            return;
        };
        let most = appetite.bytes(self.under_way.partitions());
        if self.under_way.payload_bytes() < most {
            self.is_stuck = false;
        } else if !self.is_stuck {
            // Not woken for each record.
            let fallen = self.under_way.falls_to(most - most / 4);
            self.is_stuck = timeout(STUCK_AFTER, fallen).await.is_err();
        }
    }

    /// What becomes of a record that librdkafka did not even put into its queue.
    fn not_taken(
        &self,
        delivery_id: DeliveryId,
        record: &Record<'_>,
        error: &KafkaError,
    ) -> Result<(), ConnectionError> {
        let topic = record.destination;
        let Some(producer) = &self.producer else {
            return Err(ConnectionError("the producer is gone".into()));
        };
        let outcome = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                producer.client().context().missing(topic)
            }
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                Outcome::Refused(explain::too_large_for_client(record.payload.len()))
            }
            code => {
                let Some(why) = code.and_then(|code| explain::refusal(code, topic)) else {
                    let fatal = producer.client().fatal_error();
                    let why = fatal.map_or_else(|| error.to_string(), |(_, why)| why);
                    return Err(ConnectionError(format!("kafka: {why}").into()));
                };
                Outcome::Refused(why)
            }
        };
        self.outcomes.report(delivery_id, outcome);
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

/// When librdkafka thinks that a batch is complete.
fn batch(client: &ClientConfig) -> Batch {
    let number = |name| client.get(name).and_then(|value| value.parse().ok());
    let linger = client.get("linger.ms").and_then(|value| value.parse().ok());
    let linger = linger.and_then(|millis: f64| Duration::try_from_secs_f64(millis / 1000.0).ok());
    Batch {
        bytes: number("batch.size").unwrap_or(BATCH_BYTES),
        records: number("batch.num.messages").unwrap_or(BATCH_RECORDS),
        linger: linger.unwrap_or(LINGER),
    }
}

fn is_idempotent(client: &ClientConfig) -> bool {
    let value = client.get("enable.idempotence");
    value.is_some_and(|value| matches!(value, "true" | "t" | "1"))
}

// librdkafka carries one machine word with each message: the id fits into it on every 64-bit target.
#[expect(clippy::cast_possible_truncation, reason = "see above")]
fn opaque(delivery_id: DeliveryId) -> usize {
    delivery_id.0 as usize
}
