//! A delivery for each sink.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Error;
use crate::config::{Backlog, Sink};
use crate::delivery::{self, Ends, Handle, Plans, Preparer, Summary};
use crate::route::DestinationCharset;
use crate::sink::amqp::AmqpSink;
use crate::sink::kafka::{self, KafkaSink};
use crate::sink::mqtt::MqttSink;
use crate::sink::stream::{StreamSink, Target};

/// A delivery that is asked to stop is at most in the middle of handing over a burst of records.
const STOP_GRACE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Deliveries {
    plans: Plans,
    /// By the names of their sinks.
    running: BTreeMap<String, Running>,
}

/// One sink's delivery.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) handle: Handle,
    pub(super) task: JoinHandle<Summary>,
    ends: Ends,
    kafka: Option<kafka::Target>,
}

impl Deliveries {
    pub(super) fn new(plans: Plans) -> Self {
        Self {
            plans,
            running: BTreeMap::new(),
        }
    }

    /// Starts a sink's delivery where its cursor is.
    pub(super) fn begin(&mut self, name: &str, sink: &Sink, ends: Ends, backlog: Backlog) {
        ends.committer().limit(backlog);
        let preparer = Preparer::new(self.plans.clone(), name, DestinationCharset::of(sink));
        let (handle, task, kafka) = spawn(name.to_owned(), sink, preparer, ends.clone());
        let running = Running {
            handle,
            task,
            ends,
            kafka,
        };
        self.running.insert(name.to_owned(), running);
    }

    /// Says how far a sink may lag behind from now on.
    pub(super) fn limit(&self, name: &str, backlog: Backlog) {
        if let Some(running) = self.running.get(name) {
            running.ends.committer().limit(backlog);
        }
    }

    /// Ends these deliveries, and gives back where each was: what it sent and was not confirmed is
    /// sent again by the next one.
    pub(super) async fn stop(&mut self, names: &[&String]) -> BTreeMap<String, Ends> {
        for name in names {
            if let Some(running) = self.running.get(*name) {
                running.handle.stop();
            }
        }
        let mut ends = BTreeMap::new();
        for name in names {
            if let Some(running) = self.running.remove(*name) {
                ends.insert((*name).clone(), running.stopped().await);
            }
        }
        ends
    }

    pub(super) fn handles(&self) -> Vec<Handle> {
        let running = self.running.values();
        running.map(|running| running.handle.clone()).collect()
    }

    /// The clusters of the Kafka sinks, by the sinks' names.
    pub(super) fn kafka(&self) -> BTreeMap<String, kafka::Target> {
        let running = self.running.iter();
        running
            .filter_map(|(name, running)| Some((name.clone(), running.kafka.clone()?)))
            .collect()
    }

    /// Gives all of them up, to be ended.
    pub(super) fn take(&mut self) -> BTreeMap<String, Running> {
        std::mem::take(&mut self.running)
    }

    /// Waits until one ends that nobody asked to: they keep themselves going.
    pub(super) async fn watch(&mut self) -> Result<Infallible, Error> {
        if self.running.is_empty() {
            return pending().await;
        }
        let tasks = self.running.values_mut().map(|running| &mut running.task);
        let (ended, index, others) = select_all(tasks).await;
        drop(others);
        let sink = self.running.keys().nth(index).cloned().unwrap_or_default();
        self.running.remove(&sink);
        let why = match ended {
            Ok(_) => "by itself".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(Error::DeliveryEnded { sink, why })
    }
}

impl Running {
    /// Waits for the end that was asked for.
    async fn stopped(mut self) -> Ends {
        let sink = self.handle.sink();
        match timeout(STOP_GRACE, &mut self.task).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(sink, "a bug: the delivery failed: {error}"),
            Err(_) => {
                tracing::error!(sink, "a bug: the delivery does not stop; it is broken off");
                self.task.abort();
                let _ = self.task.await;
            }
        }
        self.ends
    }
}

fn spawn(
    name: String,
    sink: &Sink,
    preparer: Preparer,
    ends: Ends,
) -> (Handle, JoinHandle<Summary>, Option<kafka::Target>) {
    let (handle, task) = match sink {
        Sink::Kafka(kafka) => {
            let target = kafka::Target::new(&name, (**kafka).clone());
            let (handle, task) = delivery::spawn::<KafkaSink>(name, target.clone(), preparer, ends);
            return (handle, task, Some(target));
        }
        Sink::Mqtt(mqtt) => {
            delivery::spawn::<MqttSink>(name, (**mqtt).clone().into(), preparer, ends)
        }
        Sink::Amqp(amqp) => {
            delivery::spawn::<AmqpSink>(name, (**amqp).clone().into(), preparer, ends)
        }
        Sink::Stdout => delivery::spawn::<StreamSink>(name, Target::Stdout, preparer, ends),
        Sink::File(file) => {
            let target = Target::File(file.clone());
            delivery::spawn::<StreamSink>(name, target, preparer, ends)
        }
    };
    (handle, task, None)
}
