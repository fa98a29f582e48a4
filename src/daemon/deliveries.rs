//! The deliveries: one for each sink.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::error::Error;
use crate::config::{Backlog, Sink};
use crate::delivery::{self, Handle, Plans, Preparer, SinkContext, Summary};
use crate::sink::{self, Visitor, kafka};
use crate::supervise::Panic;

/// A delivery that is asked to stop needs at most the time to hand over a burst of records.
const STOP_GRACE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Deliveries {
    plans: Plans,
    /// By the names of their sinks.
    running: BTreeMap<String, Running>,
}

/// One sink's delivery.
#[derive(Debug)]
struct Running {
    handle: Handle,
    task: JoinHandle<Summary>,
    context: SinkContext,
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
    pub(super) fn begin(
        &mut self,
        name: &str,
        sink: &Sink,
        context: SinkContext,
        backlog: Backlog,
    ) {
        context.committer().limit(backlog);
        let preparer = Preparer::new(self.plans.clone(), name, sink.charset());
        let spawn = Spawn {
            name: name.to_owned(),
            preparer,
            context,
        };
        let running = sink::visit(name, sink, spawn);
        self.running.insert(name.to_owned(), running);
    }

    /// Changes how far a sink may lag behind.
    pub(super) fn limit(&self, name: &str, backlog: Backlog) {
        if let Some(running) = self.running.get(name) {
            running.context.committer().limit(backlog);
        }
    }

    /// Stops these deliveries, and returns the context of each for the next one, which sends again what
    /// was in flight.
    pub(super) async fn stop(&mut self, names: &[&String]) -> BTreeMap<String, SinkContext> {
        for name in names {
            if let Some(running) = self.running.get(*name) {
                running.handle.stop();
            }
        }
        let mut contexts = BTreeMap::new();
        for name in names {
            if let Some(running) = self.running.remove(*name) {
                contexts.insert((*name).clone(), running.stopped().await);
            }
        }
        contexts
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

    /// Lets all of them deliver what lies before the offset `end`, until the deadline or until `stop`.
    /// Returns what each did.
    pub(super) async fn drain(
        self,
        end: u64,
        deadline: Instant,
        stop: &CancellationToken,
    ) -> BTreeMap<String, Summary> {
        for running in self.running.values() {
            running.handle.drain_to(end);
        }
        let mut summaries = BTreeMap::new();
        for (name, running) in self.running {
            if let Some(summary) = running.drained(deadline, stop).await {
                log_summary(&name, &summary, end);
                summaries.insert(name, summary);
            }
        }
        summaries
    }

    /// Waits until a delivery ends that was not asked to, which none does without a bug.
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
            Err(error) => Panic::from(error).to_string(),
        };
        Err(Error::DeliveryEnded { sink, why })
    }
}

impl Running {
    /// Waits for the end that was asked for.
    async fn stopped(mut self) -> SinkContext {
        let sink = self.handle.sink();
        match timeout(STOP_GRACE, &mut self.task).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => log_failure(sink, error),
            Err(_) => {
                tracing::error!(
                    sink,
                    "the delivery does not stop (a bug in central-forwarder); it is aborted"
                );
                self.task.abort();
                let _ = self.task.await;
            }
        }
        self.context
    }

    /// Waits until it has drained. At the deadline, or at `stop`, it is stopped.
    async fn drained(mut self, deadline: Instant, stop: &CancellationToken) -> Option<Summary> {
        let too_late = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep_until(deadline) => {}
            }
        };
        let ended = tokio::select! {
            biased;
            ended = &mut self.task => ended,
            () = too_late => {
                self.handle.stop();
                self.task.await
            }
        };
        ended
            .map_err(|error| log_failure(self.handle.sink(), error))
            .ok()
    }
}

fn log_failure(sink: &str, error: JoinError) {
    tracing::error!(sink, "the delivery failed: {}", Panic::from(error));
}

fn log_summary(sink: &str, summary: &Summary, end: u64) {
    let millis = |latency: Duration| (latency.as_secs_f64() * 10_000.0).round() / 10.0;
    tracing::info!(
        sink,
        confirmed = summary.confirmed,
        refused = summary.refused,
        undecodable = summary.undecodable,
        resent = summary.resent,
        left_in_journal = end.saturating_sub(summary.resolved_to),
        p50_ms = millis(summary.latency_p50),
        p99_ms = millis(summary.latency_p99),
        "drained"
    );
}

/// Starts the delivery of a sink of any kind.
struct Spawn {
    name: String,
    preparer: Preparer,
    context: SinkContext,
}

impl Visitor for Spawn {
    type Output = Running;

    fn visit<S: sink::Sink>(self, config: S::Config) -> Running {
        let Self {
            name,
            preparer,
            context,
        } = self;
        let kafka = S::kafka(&config).cloned();
        let (handle, task) = delivery::spawn::<S>(name, config, preparer, context.clone());
        Running {
            handle,
            task,
            context,
            kafka,
        }
    }
}
