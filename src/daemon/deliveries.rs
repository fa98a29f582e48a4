//! A delivery for each sink.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;

use futures_util::future::select_all;
use tokio::task::JoinHandle;

use super::Error;
use crate::config::{Backlog, Sink};
use crate::delivery::{self, Ends, Handle, Plans, Preparer, Summary};
use crate::route::Alphabet;
use crate::sink::amqp::AmqpSink;
use crate::sink::kafka::KafkaSink;
use crate::sink::mqtt::MqttSink;
use crate::sink::stream::{StreamSink, Target};

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
        let preparer = Preparer::new(self.plans.clone(), name, Alphabet::of(sink));
        let (handle, task) = spawn(name.to_owned(), sink, preparer, ends);
        let running = Running { handle, task };
        self.running.insert(name.to_owned(), running);
    }

    pub(super) fn handles(&self) -> Vec<Handle> {
        let running = self.running.values();
        running.map(|running| running.handle.clone()).collect()
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

fn spawn(
    name: String,
    sink: &Sink,
    preparer: Preparer,
    ends: Ends,
) -> (Handle, JoinHandle<Summary>) {
    match sink {
        Sink::Kafka(kafka) => delivery::spawn::<KafkaSink>(name, kafka.clone(), preparer, ends),
        Sink::Mqtt(mqtt) => delivery::spawn::<MqttSink>(name, (**mqtt).clone(), preparer, ends),
        Sink::Amqp(amqp) => delivery::spawn::<AmqpSink>(name, amqp.clone(), preparer, ends),
        Sink::Stdout => delivery::spawn::<StreamSink>(name, Target::Stdout, preparer, ends),
        Sink::File(file) => {
            let target = Target::File(file.path.clone());
            delivery::spawn::<StreamSink>(name, target, preparer, ends)
        }
    }
}
