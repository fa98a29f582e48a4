//! Whether a cluster would take our records, found out without writing one.
//!
//! A broker looks at the permission to write, and at the topic, before it looks at how many
//! acknowledgements a record asks for. A record that asks for a number that does not exist is
//! therefore turned away with that as the reason exactly if a good one would have been written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::settings::client_config;
use crate::config;

/// The whole of it; shorter than what `sink::probe` grants, so that the better reason is said.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at what librdkafka complains about.
const SLICE: Duration = Duration::from_secs(1);

/// Topics that are asked for; of more, the first ones.
const MAX_TOPICS: usize = 100;

/// Topics that are named one by one in the answer.
const NAMED: usize = 5;

/// What differs from the sink that delivers.
const OVERRIDES: &[(&str, &str)] = &[
    // There is no such number: see above.
    ("acks", "2"),
    ("enable.idempotence", "false"),
    ("allow.auto.create.topics", "false"),
    ("topic.metadata.propagation.max.ms", "0"),
    ("message.timeout.ms", "10000"),
    // A port that answers in another way, or not at all, is said to do so in time.
    ("socket.connection.setup.timeout.ms", "5000"),
    ("linger.ms", "0"),
    ("statistics.interval.ms", "0"),
];

/// # Errors
/// What failed, in words of the broker and of librdkafka.
pub(in crate::sink) async fn probe(
    kafka: &config::Kafka,
    topics: &BTreeSet<String>,
) -> Result<String, String> {
    let kafka = kafka.clone();
    let topics = topics.iter().take(MAX_TOPICS).cloned().collect();
    tokio::task::spawn_blocking(move || Probe::new(&kafka)?.run(&topics))
        .await
        .map_err(|panic| panic.to_string())?
}

struct Probe {
    producer: BaseProducer<Heard>,
    until: Instant,
}

impl Probe {
    fn new(kafka: &config::Kafka) -> Result<Self, String> {
        let mut client = client_config(kafka);
        client.remove("transactional.id");
        for (name, value) in OVERRIDES {
            client.set(*name, *value);
        }
        let producer = client.create_with_context(Heard::default());
        Ok(Self {
            producer: producer.map_err(|error| error.to_string())?,
            until: Instant::now() + PATIENCE,
        })
    }

    fn run(&self, topics: &BTreeSet<String>) -> Result<String, String> {
        let brokers = match self.brokers()? {
            1 => "1 broker answers".to_owned(),
            many => format!("{many} brokers answer"),
        };
        if topics.is_empty() {
            return Ok(format!(
                "{brokers}; which topics are written to, only events will tell"
            ));
        }
        let (mut writable, mut wrong) = (Vec::new(), Vec::new());
        for (topic, verdict) in self.verdicts(topics) {
            match verdict {
                Ok(()) => writable.push(topic),
                Err(why) => wrong.push(format!("{topic}: {why}")),
            }
        }
        if !wrong.is_empty() {
            return Err(format!("{brokers}, but {}", wrong.join("; ")));
        }
        let named = match writable.len() {
            many if many > NAMED => format!("all {many} topics"),
            _ => writable.join(", "),
        };
        Ok(format!("{brokers}; may write to {named}"))
    }

    /// Waits for the cluster's answer; as soon as nothing can come of it, says why.
    fn brokers(&self) -> Result<usize, String> {
        loop {
            match self.producer.client().fetch_metadata(None, SLICE) {
                Ok(metadata) => return Ok(metadata.brokers().len()),
                Err(error) => {
                    self.producer.poll(Duration::ZERO);
                    let heard = self.producer.context();
                    if heard.is_hopeless() || Instant::now() > self.until {
                        return Err(heard.complaint().unwrap_or_else(|| error.to_string()));
                    }
                }
            }
        }
    }

    fn verdicts(&self, topics: &BTreeSet<String>) -> BTreeMap<String, Result<(), String>> {
        let mut verdicts = BTreeMap::new();
        for (index, topic) in topics.iter().enumerate() {
            if let Err(why) = self.try_to_write(index, topic) {
                verdicts.insert(topic.clone(), Err(why));
            }
        }
        while self.producer.in_flight_count() > 0 && Instant::now() < self.until {
            self.producer.poll(Duration::from_millis(20));
        }
        self.producer.poll(Duration::ZERO);
        let reports = lock(&self.producer.context().reports);
        for (index, topic) in topics.iter().enumerate() {
            let report = reports.get(&index).copied();
            verdicts
                .entry(topic.clone())
                .or_insert_with(|| verdict(report));
        }
        verdicts
    }

    fn try_to_write(&self, index: usize, topic: &str) -> Result<(), String> {
        let metadata = self.producer.client().fetch_metadata(Some(topic), SLICE);
        let metadata = metadata.map_err(|error| error.to_string())?;
        if let Some(error) = metadata.topics().first().and_then(MetadataTopic::error) {
            return verdict(Some(error.into()));
        }
        let record = BaseRecord::<(), (), usize>::with_opaque_to(topic, index);
        self.producer
            .send(record)
            .map_err(|(error, _)| error.to_string())
    }
}

/// What the answer to a record that cannot be written says about one that can.
fn verdict(report: Option<RDKafkaErrorCode>) -> Result<(), String> {
    match report {
        Some(RDKafkaErrorCode::InvalidRequiredAcks) => Ok(()),
        Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
            Err("there is no such topic (create it)".to_owned())
        }
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            Err("this user may not write to it (allow it WRITE and DESCRIBE)".to_owned())
        }
        Some(code) => Err(code.to_string()),
        None => Err("no answer".to_owned()),
    }
}

/// What librdkafka tells about the connection and the records.
#[derive(Default)]
struct Heard {
    complaints: Mutex<Vec<(RDKafkaErrorCode, String)>>,
    /// By the index of the topic.
    reports: Mutex<BTreeMap<usize, RDKafkaErrorCode>>,
}

impl Heard {
    /// Whether waiting is of no use: a wrong password stays wrong.
    fn is_hopeless(&self) -> bool {
        lock(&self.complaints).iter().any(|(code, _)| {
            matches!(
                code,
                RDKafkaErrorCode::Authentication
                    | RDKafkaErrorCode::SSL
                    | RDKafkaErrorCode::AllBrokersDown
            )
        })
    }

    /// The first one says most: the later ones follow from it.
    fn complaint(&self) -> Option<String> {
        lock(&self.complaints)
            .first()
            .map(|(_, reason)| reason.clone())
    }
}

impl ClientContext for Heard {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            lock(&self.complaints).push((code, reason.to_owned()));
        }
    }
}

impl ProducerContext for Heard {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let code = match result {
            // A broker that takes such a record takes a good one too.
            Ok(_) => RDKafkaErrorCode::InvalidRequiredAcks,
            Err((error, _)) => error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::Unknown),
        };
        lock(&self.reports).insert(index, code);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
