//! Whether a cluster would accept records, found out without writing one.
//!
//! A broker checks the permission to write, and the topic, before it checks how many acknowledgements a
//! produce request asks for. So it rejects a request with an invalid number of them for that reason
//! exactly if it would have accepted a valid one.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::{Metadata, MetadataBroker, MetadataTopic};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::admin;
use crate::config;
use crate::sink::kafka::events::client_callbacks::without_thread;
use crate::sink::kafka::target::Target;
use crate::sink::kafka::token::Tokens;
use crate::sink::kafka::{explain, schema_registry};
use crate::sink::probed_topics;
use crate::supervise::blocking;
use crate::sync::lock;

/// For the whole probe; shorter than the limit in `sink::probe`, so that the better reason is reported.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long librdkafka is asked before its errors are looked at again.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// After so many errors without an answer there will be none.
const MAX_ERRORS: usize = 2;

/// Where the probe's properties differ from the sink's.
const OVERRIDES: &[(&str, &str)] = &[
    // An invalid number: see above.
    ("acks", "2"),
    ("enable.idempotence", "false"),
    ("allow.auto.create.topics", "false"),
    ("topic.metadata.propagation.max.ms", "0"),
    ("message.timeout.ms", "10000"),
    // A port that speaks another protocol, or does not answer, is reported in time.
    ("socket.connection.setup.timeout.ms", "5000"),
    ("linger.ms", "0"),
    ("statistics.interval.ms", "0"),
];

/// # Errors
/// What the broker and librdkafka say about the failure.
pub(crate) async fn probe(
    kafka: &config::Kafka,
    topics: &BTreeSet<String>,
) -> Result<String, String> {
    let registry = match &kafka.schema_registry {
        Some(registry) => Some(
            schema_registry::probe(registry)
                .await
                .map_err(|why| why.why)?,
        ),
        None => None,
    };
    let target = Target::new("", kafka.clone());
    let callbacks = ProbeCallbacks {
        tokens: Tokens::of(kafka.sasl.as_ref()),
        ..ProbeCallbacks::default()
    };
    let topics = topics
        .iter()
        .take(probed_topics::MAX_TOPICS)
        .cloned()
        .collect();
    let findings = blocking({
        let target = target.clone();
        move || Probe::new(&target, callbacks)?.run(&topics)
    });
    let findings = findings.await.map_err(|panic| panic.to_string())??;
    let is_missing = |(_, verdict): &(String, Verdict)| *verdict == Verdict::Missing;
    let creates = findings.topics.iter().any(is_missing)
        && (kafka.create.is_some() || creates_topics(&target, findings.broker).await);
    let summary = findings.summary(creates)?;
    Ok(match registry {
        Some(registry) => format!("{summary}; {registry}"),
        None => summary,
    })
}

/// Whether the brokers create a missing topic; `false` also where they do not say.
async fn creates_topics(target: &Target, broker: i32) -> bool {
    let Ok(admin) = admin(target).await else {
        return false;
    };
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT / 4));
    let asked = [ResourceSpecifier::Broker(broker)];
    let answer = admin.describe_configs(&asked, &options).await;
    let broker = answer
        .ok()
        .and_then(|answer| answer.into_iter().next()?.ok());
    broker.is_some_and(|config| {
        let entry = config.get("auto.create.topics.enable");
        entry.and_then(|entry| entry.value.as_deref()) == Some("true")
    })
}

/// Whether the sink could write to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Writable,
    Missing,
    Refused(String),
}

struct Findings {
    brokers: usize,
    /// The id of one of them.
    broker: i32,
    topics: Vec<(String, Verdict)>,
}

impl Findings {
    /// `creates`: a missing topic will be created.
    fn summary(&self, creates: bool) -> Result<String, String> {
        let brokers = match self.brokers {
            1 => "1 broker answers".to_owned(),
            many => format!("{many} brokers answer"),
        };
        let (mut writable, mut missing, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for (topic, verdict) in &self.topics {
            match verdict {
                Verdict::Writable => writable.push(topic.as_str()),
                Verdict::Missing if creates => missing.push(topic.as_str()),
                Verdict::Missing => wrong.push(explain::missing(topic).why),
                Verdict::Refused(why) => wrong.push(why.clone()),
            }
        }
        if !wrong.is_empty() {
            return Err(format!("{brokers}, but {}", wrong.join("; ")));
        }
        let mut summary = vec![brokers];
        if !writable.is_empty() {
            summary.push(format!(
                "may write to {}",
                probed_topics::summary(&writable)
            ));
        }
        if !missing.is_empty() {
            summary.push(format!("will create {}", probed_topics::summary(&missing)));
        }
        if self.topics.is_empty() {
            summary.push("the topics depend on the events".to_owned());
        }
        Ok(summary.join("; "))
    }
}

struct Probe {
    producer: BaseProducer<ProbeCallbacks>,
    deadline: Instant,
}

impl Probe {
    fn new(target: &Target, callbacks: ProbeCallbacks) -> Result<Self, String> {
        let mut client = target.client_config().map_err(|error| error.to_string())?;
        for (name, value) in OVERRIDES {
            client.set(*name, *value);
        }
        let producer = client.create_with_context(callbacks);
        Ok(Self {
            producer: producer.map_err(|error| error.to_string())?,
            deadline: Instant::now() + TIMEOUT,
        })
    }

    fn run(&self, topics: &BTreeSet<String>) -> Result<Findings, String> {
        let metadata = self.brokers()?;
        let brokers = metadata.brokers();
        Ok(Findings {
            brokers: brokers.len(),
            broker: brokers.first().map_or(0, MetadataBroker::id),
            topics: self.verdicts(topics),
        })
    }

    /// Waits for the cluster's answer; fails early once none is to be expected.
    fn brokers(&self) -> Result<Metadata, String> {
        loop {
            match self.producer.client().fetch_metadata(None, POLL_INTERVAL) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => {
                    self.producer.poll(Duration::ZERO);
                    let callbacks = self.producer.context();
                    if callbacks.is_hopeless() || Instant::now() > self.deadline {
                        return Err(callbacks
                            .gravest_error()
                            .unwrap_or_else(|| error.to_string()));
                    }
                }
            }
        }
    }

    fn verdicts(&self, topics: &BTreeSet<String>) -> Vec<(String, Verdict)> {
        for (index, topic) in topics.iter().enumerate() {
            if let Err(code) = self.try_to_write(index, topic) {
                lock(&self.producer.context().reports).insert(index, code);
            }
        }
        while self.producer.in_flight_count() > 0 && Instant::now() < self.deadline {
            self.producer.poll(Duration::from_millis(20));
        }
        self.producer.poll(Duration::ZERO);
        let reports = lock(&self.producer.context().reports);
        let verdicts = topics.iter().enumerate().map(|(index, topic)| {
            let verdict = verdict(reports.get(&index).copied(), topic);
            (topic.clone(), verdict)
        });
        verdicts.collect()
    }

    fn try_to_write(&self, index: usize, topic: &str) -> Result<(), RDKafkaErrorCode> {
        let unknown = |error: KafkaError| {
            let code = error.rdkafka_error_code();
            code.unwrap_or(RDKafkaErrorCode::Unknown)
        };
        let metadata = self
            .producer
            .client()
            .fetch_metadata(Some(topic), POLL_INTERVAL);
        let metadata = metadata.map_err(unknown)?;
        if let Some(error) = metadata.topics().first().and_then(MetadataTopic::error) {
            return Err(error.into());
        }
        let record = BaseRecord::<(), (), usize>::with_opaque_to(topic, index);
        self.producer
            .send(record)
            .map_err(|(error, _)| unknown(error))
    }
}

/// What the answer to an invalid record says about a valid one.
fn verdict(report: Option<RDKafkaErrorCode>, topic: &str) -> Verdict {
    match report {
        Some(RDKafkaErrorCode::InvalidRequiredAcks) => Verdict::Writable,
        Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
            Verdict::Missing
        }
        Some(code) => Verdict::Refused(
            explain::refusal(code, topic)
                .map_or_else(|| format!("{topic}: {code}"), |failure| failure.why),
        ),
        None => Verdict::Refused(format!("{topic}: no answer")),
    }
}

/// Keeps what librdkafka reports about the connection and the records.
#[derive(Default)]
struct ProbeCallbacks {
    errors: Mutex<Vec<(RDKafkaLogLevel, String)>>,
    /// By the index of the topic.
    reports: Mutex<BTreeMap<usize, RDKafkaErrorCode>>,
    tokens: Option<Tokens>,
}

impl ProbeCallbacks {
    fn add_error(&self, level: RDKafkaLogLevel, reason: &str) {
        lock(&self.errors).push((level, reason.to_owned()));
    }

    /// Whether no answer is to be expected.
    fn is_hopeless(&self) -> bool {
        lock(&self.errors).len() >= MAX_ERRORS
    }

    /// The most severe error, and of those the first: later ones follow from it.
    fn gravest_error(&self) -> Option<String> {
        let errors = lock(&self.errors);
        let gravest = errors.iter().min_by_key(|(level, _)| *level as i32);
        gravest.map(|(_, reason)| {
            let advice = if reason.contains("Disconnected: connection closed by peer") {
                "; a listener that requires TLS or SASL does so too"
            } else {
                ""
            };
            format!("{reason}{advice}")
        })
    }
}

impl ClientContext for ProbeCallbacks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    /// Some errors, such as those of TLS, are reported only here.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "FAIL" {
            self.add_error(level, without_thread(message));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.add_error(RDKafkaLogLevel::Error, reason);
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let tokens = self
            .tokens
            .as_ref()
            .ok_or("write sasl = { mechanism = \"OAUTHBEARER\", token_endpoint = ... }")?;
        Ok(tokens.fetch().inspect_err(|error| {
            self.add_error(RDKafkaLogLevel::Error, &error.to_string());
        })?)
    }
}

impl ProducerContext for ProbeCallbacks {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let code = match result {
            // A broker that accepts the invalid record accepts a valid one too.
            Ok(_) => RDKafkaErrorCode::InvalidRequiredAcks,
            Err((error, _)) => error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::Unknown),
        };
        lock(&self.reports).insert(index, code);
    }
}
