//! Waits until a cluster has answered. librdkafka makes a producer of any address, and tells of one
//! where nobody listens only in passing.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::producer::{Producer as _, ThreadedProducer};
use tokio::sync::oneshot;

use crate::sink::kafka::events::reports::Reports;
use crate::sink::{Cause, ConnectionError, Failure};

/// How long the brokers may take to say anything at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same once librdkafka has complained: enough for it to try a host's other address, or another
/// broker.
const AFTER_A_COMPLAINT: Duration = Duration::from_secs(3);

/// Between two looks at what librdkafka complains about.
const SLICE: Duration = Duration::from_millis(200);

/// Waits for the first answer about the cluster: then somebody is connected and logged in.
///
/// # Errors
/// Nobody answers in time, in librdkafka's words.
pub(crate) async fn first_answer(
    producer: &ThreadedProducer<Reports>,
) -> Result<(), ConnectionError> {
    let producer = producer.clone();
    let (answer, answered) = oneshot::channel();
    // A thread of its own: one of the runtime's would hold up the end of the program.
    thread::spawn(move || {
        let waited = wait(&producer, || answer.is_closed());
        producer.client().context().connected();
        // Whoever does not listen any more is not to be told.
        let _ = answer.send(waited);
    });
    answered
        .await
        .unwrap_or_else(|_| Err("kafka: the thread that waits for the cluster has ended".into()))
        .map_err(ConnectionError)
}

fn wait(
    producer: &ThreadedProducer<Reports>,
    is_given_up: impl Fn() -> bool,
) -> Result<(), Failure> {
    let began = Instant::now();
    while !is_given_up() {
        if has_answered(producer) {
            return Ok(());
        }
        let complaint = producer.client().context().complaint();
        let patience = complaint.as_ref().map_or(PATIENCE, |_| AFTER_A_COMPLAINT);
        if began.elapsed() > patience {
            return Err(complaint.unwrap_or_else(|| {
                let silent = format!("kafka: no broker answered within {} s", PATIENCE.as_secs());
                Failure::new(Cause::Timeout, silent)
            }));
        }
    }
    Err("kafka: the sink was given up".into())
}

/// librdkafka asks the first broker that it reaches about the cluster, by itself. This waits for the
/// cluster's id in that answer, and no longer where the answer is there and has none.
fn has_answered(producer: &ThreadedProducer<Reports>) -> bool {
    let asked = Instant::now();
    let id = producer.client().fetch_cluster_id(SLICE);
    id.is_some() || asked.elapsed() < SLICE
}
