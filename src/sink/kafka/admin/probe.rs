//! Whether a cluster would take our records, found out without writing one.
//!
//! A broker looks at the permission to write, and at the topic, before it looks at how many
//! acknowledgements a record asks for. A record that asks for a number that does not exist is
//! therefore turned away with that as the reason exactly if a good one would have been written.

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
use crate::sink::kafka::events::reports::without_thread;
use crate::sink::kafka::token::Tokens;
use crate::sink::kafka::{Target, explain, registry};
use crate::sync::lock;

/// The whole of it; shorter than what `sink::probe` grants, so that the better reason is said.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at what librdkafka complains about.
const SLICE: Duration = Duration::from_secs(1);

/// After so many failures, and no answer, there will be none.
const ENOUGH: usize = 2;

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
pub(crate) async fn probe(
    kafka: &config::Kafka,
    topics: &BTreeSet<String>,
) -> Result<String, String> {
    let registry = match &kafka.schema_registry {
        Some(registry) => Some(registry::probe(registry).await.map_err(|why| why.why)?),
        None => None,
    };
    let target = Target::new("", kafka.clone());
    let heard = Heard {
        tokens: Tokens::of(kafka.sasl.as_ref()),
        ..Heard::default()
    };
    let topics = topics.iter().take(MAX_TOPICS).cloned().collect();
    let answers = tokio::task::spawn_blocking({
        let target = target.clone();
        move || Probe::new(&target, heard)?.run(&topics)
    });
    let answers = answers.await.map_err(|panic| panic.to_string())??;
    let is_missing = |(_, verdict): &(String, Verdict)| *verdict == Verdict::Missing;
    let makes = answers.topics.iter().any(is_missing)
        && (kafka.create.is_some() || makes_topics(&target, answers.broker).await);
    let said = answers.say(makes)?;
    Ok(match registry {
        Some(registry) => format!("{said}; {registry}"),
        None => said,
    })
}

/// Whether the brokers make a topic that is asked for; `false` also where they do not tell.
async fn makes_topics(target: &Target, broker: i32) -> bool {
    let Ok(admin) = admin(target).await else {
        return false;
    };
    let options = AdminOptions::new().request_timeout(Some(PATIENCE / 4));
    let asked = [ResourceSpecifier::Broker(broker)];
    let told = admin.describe_configs(&asked, &options).await;
    let told = told.ok().and_then(|told| told.into_iter().next()?.ok());
    told.is_some_and(|config| {
        let entry = config.get("auto.create.topics.enable");
        entry.and_then(|entry| entry.value.as_deref()) == Some("true")
    })
}

/// What became of the try to write to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Writable,
    Missing,
    Refused(String),
}

struct Answers {
    brokers: usize,
    /// The id of one of them.
    broker: i32,
    topics: Vec<(String, Verdict)>,
}

impl Answers {
    /// `makes`: a topic that is missing will be made.
    fn say(&self, makes: bool) -> Result<String, String> {
        let brokers = match self.brokers {
            1 => "1 broker answers".to_owned(),
            many => format!("{many} brokers answer"),
        };
        let (mut writable, mut to_be_made, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for (topic, verdict) in &self.topics {
            match verdict {
                Verdict::Writable => writable.push(topic.as_str()),
                Verdict::Missing if makes => to_be_made.push(topic.as_str()),
                Verdict::Missing => wrong.push(explain::missing(topic).why),
                Verdict::Refused(why) => wrong.push(why.clone()),
            }
        }
        if !wrong.is_empty() {
            return Err(format!("{brokers}, but {}", wrong.join("; ")));
        }
        let mut said = vec![brokers];
        if !writable.is_empty() {
            said.push(format!("may write to {}", named(&writable)));
        }
        if !to_be_made.is_empty() {
            said.push(format!("will make {}", named(&to_be_made)));
        }
        if self.topics.is_empty() {
            said.push("which topics are written to, only events will tell".to_owned());
        }
        Ok(said.join("; "))
    }
}

fn named(topics: &[&str]) -> String {
    match topics.len() {
        many if many > NAMED => format!("{many} topics"),
        _ => topics.join(", "),
    }
}

struct Probe {
    producer: BaseProducer<Heard>,
    until: Instant,
}

impl Probe {
    fn new(target: &Target, heard: Heard) -> Result<Self, String> {
        let mut client = target.client_config().map_err(|error| error.to_string())?;
        for (name, value) in OVERRIDES {
            client.set(*name, *value);
        }
        let producer = client.create_with_context(heard);
        Ok(Self {
            producer: producer.map_err(|error| error.to_string())?,
            until: Instant::now() + PATIENCE,
        })
    }

    fn run(&self, topics: &BTreeSet<String>) -> Result<Answers, String> {
        let metadata = self.brokers()?;
        let brokers = metadata.brokers();
        Ok(Answers {
            brokers: brokers.len(),
            broker: brokers.first().map_or(0, MetadataBroker::id),
            topics: self.verdicts(topics),
        })
    }

    /// Waits for the cluster's answer; as soon as nothing can come of it, says why.
    fn brokers(&self) -> Result<Metadata, String> {
        loop {
            match self.producer.client().fetch_metadata(None, SLICE) {
                Ok(metadata) => return Ok(metadata),
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

    fn verdicts(&self, topics: &BTreeSet<String>) -> Vec<(String, Verdict)> {
        for (index, topic) in topics.iter().enumerate() {
            if let Err(code) = self.try_to_write(index, topic) {
                lock(&self.producer.context().reports).insert(index, code);
            }
        }
        while self.producer.in_flight_count() > 0 && Instant::now() < self.until {
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
        let metadata = self.producer.client().fetch_metadata(Some(topic), SLICE);
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

/// What the answer to a record that cannot be written says about one that can.
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

/// What librdkafka tells about the connection and the records.
#[derive(Default)]
struct Heard {
    complaints: Mutex<Vec<(RDKafkaLogLevel, String)>>,
    /// By the index of the topic.
    reports: Mutex<BTreeMap<usize, RDKafkaErrorCode>>,
    tokens: Option<Tokens>,
}

impl Heard {
    fn complain(&self, level: RDKafkaLogLevel, reason: &str) {
        lock(&self.complaints).push((level, reason.to_owned()));
    }

    /// Whether waiting is of no use.
    fn is_hopeless(&self) -> bool {
        lock(&self.complaints).len() >= ENOUGH
    }

    /// The gravest, and of those the first: what came later follows from it.
    fn complaint(&self) -> Option<String> {
        let complaints = lock(&self.complaints);
        let gravest = complaints.iter().min_by_key(|(level, _)| *level as i32);
        gravest.map(|(_, reason)| {
            let hint = if reason.contains("Disconnected: connection closed by peer") {
                "; so does a listener that wants TLS or SASL"
            } else {
                ""
            };
            format!("{reason}{hint}")
        })
    }
}

impl ClientContext for Heard {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    /// Some failures, of TLS for one, are told here alone.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "FAIL" {
            self.complain(level, without_thread(message));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.complain(RDKafkaLogLevel::Error, reason);
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let tokens = self.tokens.as_ref().ok_or("no token endpoint is named")?;
        Ok(tokens.fetch().inspect_err(|error| {
            self.complain(RDKafkaLogLevel::Error, &error.to_string());
        })?)
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
