//! What librdkafka calls back with: delivery reports, complaints, log lines, statistics.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Headers as _, Message as _};
use rdkafka::producer::{NoCustomPartitioner, ProducerContext};

use super::statistics::{Counted, Raw};
use crate::sink::kafka::explain;
use crate::sink::kafka::producer::in_flight::UnderWay;
use crate::sink::kafka::shared_state::{Memory, TooLarge};
use crate::sink::kafka::token::Tokens;
use crate::sink::{Cause, DeliveryId, Failure, Outcome, Outcomes};
use crate::sync::lock;

/// A broker that turns us away twice, so far apart, and has confirmed nothing meanwhile, means it.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What every client of a sink does: it logs, and proves who it is.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// The sink's name.
    pub(crate) sink: Arc<str>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) tokens: Option<Tokens>,
}

impl ClientContext for Link {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let (sink, reason) = (&*self.sink, without_thread(message));
        let said = match level {
            RDKafkaLogLevel::Debug => None,
            _ => self.memory.complaints.hear(reason, Instant::now()),
        };
        match (level, said) {
            (_, None) => tracing::debug!(sink, facility, "kafka: {reason}"),
            (RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info, Some(said)) => {
                tracing::info!(sink, facility, "kafka: {said}");
            }
            (_, Some(said)) => tracing::warn!(sink, facility, "kafka: {said}"),
        }
    }

    /// rdkafka hands each of them over twice.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(sink = &*self.sink, "kafka: {error}: {reason}");
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        match &self.tokens {
            Some(tokens) => Ok(tokens.fetch()?),
            None => {
                Err("write sasl = { mechanism = \"OAUTHBEARER\", token_endpoint = ... }".into())
            }
        }
    }
}

/// What the producer does besides.
pub(crate) struct Reports {
    pub(crate) link: Link,
    pub(crate) outcomes: Outcomes,
    /// See [`Memory::next_producer`].
    pub(crate) producer: u64,
    pub(crate) batch_bytes: usize,
    pub(crate) under_way: Arc<UnderWay>,
    pub(crate) counted: Mutex<Counted>,
    /// What librdkafka complained about last.
    pub(crate) complaint: Mutex<Option<String>>,
    /// While a producer waits for its cluster, complaints are not worth a line each: the last one is
    /// said if nobody answers.
    pub(crate) connecting: AtomicBool,
    pub(crate) confirmed: AtomicU64,
    /// When a broker last turned us away, and how many records were confirmed then.
    pub(crate) turned_away: Mutex<Option<(Instant, u64)>>,
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if is_error_too(level, facility) {
            let (sink, reason) = (&*self.link.sink, without_thread(message));
            tracing::debug!(sink, facility, "kafka: {reason}");
        } else {
            self.link.log(level, facility, message);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // "All brokers are down" follows from what was said before.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.memory().outage.begins(Instant::now());
            return;
        }
        let needs_operator = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication) => true,
            Some(RDKafkaErrorCode::SSL) => reason.contains("certificate"),
            _ => false,
        };
        if needs_operator {
            self.turned_away(reason);
        }
        let sink = &*self.link.sink;
        if self.is_connecting() {
            tracing::debug!(sink, "kafka: {reason}");
        } else if let Some(said) = self.memory().complaints.hear(reason, Instant::now()) {
            tracing::warn!(sink, "kafka: {said}");
        }
        *lock(&self.complaint) = Some(reason.to_owned());
    }

    fn stats_raw(&self, json: &[u8]) {
        match serde_json::from_slice::<Raw>(json) {
            Ok(raw) => {
                self.memory()
                    .statistics()
                    .update(&raw, &mut lock(&self.counted));
                self.look_at_outage(raw.any_broker_is_up());
            }
            Err(error) => tracing::debug!("librdkafka's statistics cannot be read: {error}"),
        }
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.link.generate_oauth_token(config)
    }
}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let outcome = match result {
            Ok(message) => {
                self.under_way.reported(message.payload_len());
                let topic = message.topic_ptr().addr();
                self.under_way
                    .confirmed_by(topic, message.partition(), || message.topic());
                self.memory().is_there(|| message.topic());
                self.confirmed.fetch_add(1, Ordering::Relaxed);
                self.brokers_are_there();
                Outcome::Confirmed
            }
            Err((error, message)) => {
                self.under_way.reported(message.payload_len());
                match error.rdkafka_error_code() {
                    Some(code) => self.failed(code, message),
                    None => Outcome::Retry(error.to_string().into()),
                }
            }
        };
        self.outcomes.report(DeliveryId(opaque as u64), outcome);
    }
}

impl Reports {
    fn memory(&self) -> &Memory {
        &self.link.memory
    }

    fn is_connecting(&self) -> bool {
        self.connecting.load(Ordering::Relaxed)
    }

    /// librdkafka says that all brokers are down also when their connections were idle and closed for
    /// that: it is an outage where records wait.
    fn look_at_outage(&self, any_broker_is_up: bool) {
        let outage = &self.memory().outage;
        if !outage.is_settled(Instant::now()) {
            return;
        }
        if any_broker_is_up {
            self.brokers_are_there();
        } else if self.under_way.payload_bytes() > 0
            && !self.is_connecting()
            && outage.is_to_be_told()
        {
            tracing::warn!(
                sink = &*self.link.sink,
                "kafka: no broker of the cluster can be reached; nothing is dropped, records wait in \
                 the journal, and it is tried again until one is back"
            );
        }
    }

    fn brokers_are_there(&self) {
        let outage = &self.memory().outage;
        if outage.is_on()
            && let Some(lasted) = outage.ends(Instant::now())
        {
            self.memory().complaints.forget();
            let sink = &*self.link.sink;
            tracing::info!(sink, "kafka: the brokers are back after {lasted:.1?}");
        }
    }

    /// The wait for the cluster is over.
    pub(crate) fn connected(&self) {
        self.connecting.store(false, Ordering::Relaxed);
    }

    /// Why nobody may have answered; `None`: nothing was said.
    pub(crate) fn complaint(&self) -> Option<Failure> {
        let reason = lock(&self.complaint).clone()?;
        let turned_away = lock(&self.turned_away).is_some();
        let cause = if turned_away {
            Cause::Unauthorized
        } else {
            Cause::Unreachable
        };
        Some(Failure::new(cause, format!("kafka: {reason}")))
    }

    /// librdkafka would try the same password or certificates for ever. A new producer reads them anew from
    /// their files.
    fn turned_away(&self, reason: &str) {
        let confirmed = self.confirmed.load(Ordering::Relaxed);
        let mut before = lock(&self.turned_away);
        match *before {
            Some((at, then)) if then == confirmed && at.elapsed() < AGAIN_AFTER => {}
            Some((_, then)) if then == confirmed => {
                let why = format!("kafka: {reason}");
                self.outcomes
                    .connection_failed(Failure::new(Cause::Unauthorized, why));
            }
            _ => *before = Some((Instant::now(), confirmed)),
        }
    }

    fn failed(&self, code: RDKafkaErrorCode, message: &BorrowedMessage<'_>) -> Outcome {
        let topic = message.topic();
        match code {
            RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition => {
                self.missing(topic)
            }
            RDKafkaErrorCode::MessageSizeTooLarge => {
                match self.memory().too_large(bytes(message), self.batch_bytes) {
                    TooLarge::Record => Outcome::Refused(explain::too_large_for_broker(topic)),
                    TooLarge::Batch => Outcome::Retry(Failure::new(
                        Cause::TooLarge,
                        format!(
                            "a batch is larger than the topic {topic} takes; smaller ones will be sent"
                        ),
                    )),
                }
            }
            code => match explain::refusal(code, topic) {
                Some(why) => Outcome::Refused(why),
                None => Outcome::Retry(self.why(code)),
            },
        }
    }

    /// There is no such topic, by the cluster's word.
    pub(crate) fn missing(&self, topic: &str) -> Outcome {
        if self.memory().is_missing(topic, self.producer) {
            Outcome::Refused(explain::missing(topic))
        } else {
            Outcome::Retry(Failure::new(
                Cause::NoDestination,
                format!(
                    "the cluster knows no topic {topic}; it is asked once more before its records \
                     are given up"
                ),
            ))
        }
    }

    /// In the words of librdkafka; where those are that it gave up waiting, with what it was waiting
    /// for.
    fn why(&self, code: RDKafkaErrorCode) -> Failure {
        let complaint = lock(&self.complaint).clone();
        match (code, complaint) {
            (RDKafkaErrorCode::MessageTimedOut, Some(complaint)) => {
                Failure::new(Cause::Timeout, format!("kafka: {complaint}"))
            }
            _ => format!("kafka: {code}").into(),
        }
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.memory().statistics().producer_is_gone();
    }
}

/// What librdkafka's log and its error callback both say.
fn is_error_too(level: RDKafkaLogLevel, facility: &str) -> bool {
    match facility {
        "FAIL" => level as i32 <= RDKafkaLogLevel::Error as i32,
        "FATAL" => true,
        _ => false,
    }
}

/// Which of librdkafka's threads speaks concerns nobody.
pub(crate) fn without_thread(message: &str) -> &str {
    let is_thread = message.starts_with("[thrd:");
    let rest = message.split_once("]: ").filter(|_| is_thread);
    rest.map_or(message, |(_, rest)| rest)
}

/// As the broker counts them, but for a few bytes of framing.
fn bytes(message: &BorrowedMessage<'_>) -> usize {
    let headers = message.headers().map_or(0, |headers| {
        let headers = headers.iter();
        headers
            .map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len))
            .sum()
    });
    headers + message.key_len() + message.payload_len()
}
