//! What a producer does when librdkafka calls back with delivery reports, errors and statistics.

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

use super::client_callbacks::{ClientCallbacks, without_thread};
use super::statistics::{Counted, RawStatistics};
use crate::sink::kafka::explain;
use crate::sink::kafka::producer::in_flight::InFlight;
use crate::sink::kafka::shared_state::{SharedState, TooLarge};
use crate::sink::{Cause, DeliveryId, Failure, Outcome, Outcomes};
use crate::sync::lock;

/// A login counts as refused once a broker has rejected it twice, at least this far apart, without
/// confirming a record in between.
const SECOND_REJECTION_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct ProducerCallbacks {
    client: ClientCallbacks,
    outcomes: Outcomes,
    /// See [`SharedState::next_producer`].
    producer: u64,
    batch_bytes: usize,
    in_flight: Arc<InFlight>,
    counted: Mutex<Counted>,
    last_error: Mutex<Option<String>>,
    /// While a producer waits for its cluster, errors are not logged: the last one is reported if no
    /// broker answers.
    is_connecting: AtomicBool,
    confirmed: AtomicU64,
    /// When a broker last rejected the login, and how many records were confirmed by then.
    login_rejected: Mutex<Option<(Instant, u64)>>,
}

impl ClientContext for ProducerCallbacks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if is_also_an_error(level, facility) {
            let (sink, message) = (&*self.client.sink, without_thread(message));
            tracing::debug!(sink, facility, "kafka: {message}");
        } else {
            self.client.log(level, facility, message);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // "All brokers are down" follows from errors that were reported before.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.shared().outage.begin(Instant::now());
            return;
        }
        let is_login_rejected = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication) => true,
            Some(RDKafkaErrorCode::SSL) => reason.contains("certificate"),
            _ => false,
        };
        if is_login_rejected {
            self.login_rejected(reason);
        }
        let sink = &*self.client.sink;
        if self.is_connecting() {
            tracing::debug!(sink, "kafka: {reason}");
        } else if let Some(line) = self.shared().log_limiter.admit(reason, Instant::now()) {
            tracing::warn!(sink, "kafka: {line}");
        }
        *lock(&self.last_error) = Some(reason.to_owned());
    }

    fn stats_raw(&self, json: &[u8]) {
        match serde_json::from_slice::<RawStatistics>(json) {
            Ok(raw) => {
                self.shared()
                    .statistics()
                    .update(&raw, &mut lock(&self.counted));
                self.check_outage(raw.any_broker_is_up());
            }
            Err(error) => tracing::debug!("librdkafka's statistics cannot be read: {error}"),
        }
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.client.generate_oauth_token(config)
    }
}

impl ProducerContext<NoCustomPartitioner> for ProducerCallbacks {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let outcome = match result {
            Ok(message) => {
                self.in_flight.remove(message.payload_len());
                let topic = message.topic_ptr().addr();
                self.in_flight
                    .note_partition(topic, message.partition(), || message.topic());
                self.shared().note_present(|| message.topic());
                self.confirmed.fetch_add(1, Ordering::Relaxed);
                self.end_outage();
                Outcome::Confirmed
            }
            Err((error, message)) => {
                self.in_flight.remove(message.payload_len());
                match error.rdkafka_error_code() {
                    Some(code) => self.failed(code, message),
                    None => Outcome::Retry(error.to_string().into()),
                }
            }
        };
        self.outcomes.report(DeliveryId(opaque as u64), outcome);
    }
}

impl ProducerCallbacks {
    /// `batch_bytes`: how large the producer's batches may be.
    pub(crate) fn new(
        client: ClientCallbacks,
        outcomes: Outcomes,
        batch_bytes: usize,
        in_flight: Arc<InFlight>,
    ) -> Self {
        Self {
            producer: client.shared.next_producer(),
            client,
            outcomes,
            batch_bytes,
            in_flight,
            counted: Mutex::default(),
            last_error: Mutex::default(),
            is_connecting: AtomicBool::new(true),
            confirmed: AtomicU64::new(0),
            login_rejected: Mutex::default(),
        }
    }

    fn shared(&self) -> &SharedState {
        &self.client.shared
    }

    fn is_connecting(&self) -> bool {
        self.is_connecting.load(Ordering::Relaxed)
    }

    /// The wait for the cluster is over.
    pub(crate) fn connected(&self) {
        self.is_connecting.store(false, Ordering::Relaxed);
    }

    /// librdkafka reports that all brokers are down also after it has closed all connections because
    /// they were idle: it is an outage only if records wait.
    fn check_outage(&self, any_broker_is_up: bool) {
        let outage = &self.shared().outage;
        if !outage.is_confirmed(Instant::now()) {
            return;
        }
        if any_broker_is_up {
            self.end_outage();
        } else if self.in_flight.payload_bytes() > 0
            && !self.is_connecting()
            && outage.take_report()
        {
            tracing::warn!(
                sink = &*self.client.sink,
                "kafka: no broker of the cluster can be reached; nothing is dropped: records wait in the \
                 journal until a broker is back"
            );
        }
    }

    fn end_outage(&self) {
        let outage = &self.shared().outage;
        if outage.is_on()
            && let Some(lasted) = outage.end(Instant::now())
        {
            self.shared().log_limiter.reset();
            let sink = &*self.client.sink;
            tracing::info!(sink, "kafka: the brokers are back after {lasted:.1?}");
        }
    }

    /// The last error, which says why no broker has answered yet.
    pub(crate) fn last_error(&self) -> Option<Failure> {
        let reason = lock(&self.last_error).clone()?;
        let cause = if lock(&self.login_rejected).is_some() {
            Cause::Unauthorized
        } else {
            Cause::Unreachable
        };
        Some(Failure::new(cause, format!("kafka: {reason}")))
    }

    /// librdkafka would repeat the same password or certificate for ever. A new producer reads them again
    /// from their files.
    fn login_rejected(&self, reason: &str) {
        let confirmed = self.confirmed.load(Ordering::Relaxed);
        let mut before = lock(&self.login_rejected);
        match *before {
            Some((at, by_then)) if by_then == confirmed => {
                if at.elapsed() >= SECOND_REJECTION_AFTER {
                    let why = format!("kafka: {reason}");
                    self.outcomes
                        .connection_failed(Failure::new(Cause::Unauthorized, why));
                }
            }
            _ => *before = Some((Instant::now(), confirmed)),
        }
    }

    fn failed(&self, code: RDKafkaErrorCode, message: &BorrowedMessage<'_>) -> Outcome {
        let topic = message.topic();
        match code {
            RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition => {
                self.topic_is_missing(topic)
            }
            RDKafkaErrorCode::MessageSizeTooLarge => {
                let size = request_bytes(message);
                match self.shared().too_large(size, self.batch_bytes) {
                    TooLarge::Record => Outcome::Refused(explain::too_large_for_broker(topic)),
                    TooLarge::Batch => Outcome::Retry(explain::batch_too_large(topic)),
                }
            }
            code => match explain::refusal(code, topic) {
                Some(why) => Outcome::Refused(why),
                None => Outcome::Retry(self.retryable(code)),
            },
        }
    }

    /// The cluster says that a topic does not exist.
    pub(crate) fn topic_is_missing(&self, topic: &str) -> Outcome {
        if self.shared().note_missing(topic, self.producer) {
            Outcome::Refused(explain::missing(topic))
        } else {
            Outcome::Retry(explain::perhaps_missing(topic))
        }
    }

    /// What librdkafka says. Where that is only that a record has timed out, the last error says what
    /// for.
    fn retryable(&self, code: RDKafkaErrorCode) -> Failure {
        let last_error = lock(&self.last_error).clone();
        match (code, last_error) {
            (RDKafkaErrorCode::MessageTimedOut, Some(error)) => {
                Failure::new(Cause::Timeout, format!("kafka: {error}"))
            }
            _ => format!("kafka: {code}").into(),
        }
    }
}

impl Drop for ProducerCallbacks {
    fn drop(&mut self) {
        self.shared().statistics().producer_closed();
    }
}

/// Whether librdkafka hands this log message to the error callback too.
fn is_also_an_error(level: RDKafkaLogLevel, facility: &str) -> bool {
    match facility {
        "FAIL" => level as i32 <= RDKafkaLogLevel::Error as i32,
        "FATAL" => true,
        _ => false,
    }
}

/// The size of a record as the broker counts it, but for a few bytes of framing.
fn request_bytes(message: &BorrowedMessage<'_>) -> usize {
    let headers = message.headers().map_or(0, |headers| {
        let headers = headers.iter();
        headers
            .map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len))
            .sum()
    });
    headers + message.key_len() + message.payload_len()
}
