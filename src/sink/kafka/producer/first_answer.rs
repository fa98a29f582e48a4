//! Waits until a cluster has answered: librdkafka creates a producer for any address, and reports one
//! where nobody listens only through the error callback.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::producer::{Producer as _, ThreadedProducer};
use tokio::sync::oneshot;

use crate::sink::kafka::events::producer_callbacks::ProducerCallbacks;
use crate::sink::{Cause, ConnectionError, Failure};

/// How long the brokers may take for any answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The same once librdkafka has reported an error: enough for it to try a host's other address, or
/// another broker.
const TIMEOUT_AFTER_ERROR: Duration = Duration::from_secs(3);

/// How long librdkafka is asked before its last error is looked at again.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Waits for the first answer about the cluster: by then a broker has accepted the connection and the
/// login.
///
/// # Errors
/// No broker answers in time; with librdkafka's last error.
pub(crate) async fn first_answer(
    producer: &ThreadedProducer<ProducerCallbacks>,
) -> Result<(), ConnectionError> {
    let producer = producer.clone();
    let (answer, answered) = oneshot::channel();
    // Not on a thread of the runtime, which would delay the end of the program.
    let waiting = thread::Builder::new().name("kafka-connect".to_owned());
    let started = waiting.spawn(move || {
        let waited = wait(&producer, || answer.is_closed());
        producer.client().context().connected();
        // It fails if the sink was dropped meanwhile.
        let _ = answer.send(waited);
    });
    started.map_err(|error| ConnectionError(format!("kafka: no thread: {error}").into()))?;
    answered
        .await
        .unwrap_or_else(
            |_| Err("kafka: a bug: the thread that waits for the cluster failed".into()),
        )
        .map_err(ConnectionError)
}

fn wait(
    producer: &ThreadedProducer<ProducerCallbacks>,
    is_cancelled: impl Fn() -> bool,
) -> Result<(), Failure> {
    let began = Instant::now();
    while !is_cancelled() {
        if has_answered(producer) {
            return Ok(());
        }
        let error = producer.client().context().last_error();
        let timeout = error.as_ref().map_or(TIMEOUT, |_| TIMEOUT_AFTER_ERROR);
        if began.elapsed() > timeout {
            return Err(error.unwrap_or_else(|| {
                let silent = format!("kafka: no broker answered within {} s", TIMEOUT.as_secs());
                Failure::new(Cause::Timeout, silent)
            }));
        }
    }
    Err("kafka: the sink was dropped".into())
}

/// librdkafka asks the first broker that it reaches about the cluster, by itself. This waits for the
/// cluster's id, but returns early also if the answer is there and has no id.
fn has_answered(producer: &ThreadedProducer<ProducerCallbacks>) -> bool {
    let asked = Instant::now();
    let id = producer.client().fetch_cluster_id(POLL_INTERVAL);
    id.is_some() || asked.elapsed() < POLL_INTERVAL
}
