//! Starts and drains: owns every task, and looks at how each ended.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::central::{self, Settings, Source, subscription};
use crate::config::{self, Config, SinkStart};
use crate::delivery::{self, Ends, Plans, Preparer, Summary};
use crate::frame::{Stream, SubscriptionId};
use crate::journal::{self, Journal, Location, Start};
use crate::route::Alphabet;
use crate::sink::amqp::AmqpSink;
use crate::sink::kafka::KafkaSink;
use crate::sink::mqtt::MqttSink;
use crate::sink::stream::{StreamSink, Target};

/// Without a `state_dir` dead letters are for the log and the count alone: they are kept no longer
/// than the process.
const DEAD_LETTERS_IN_MEMORY: u64 = 8 << 20;

/// Why the daemon could not start or end as it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    #[error(transparent)]
    Close(#[from] journal::CloseError),
    #[error("account {account}: {cause}")]
    Account {
        account: String,
        cause: central::Unusable,
    },
    #[error("every subscription has ended by itself: see the log")]
    Ended,
}

/// What happened between start and end.
#[derive(Debug)]
pub struct Report {
    /// Frames that the journal took.
    pub frames: u64,
    /// For each sink, what its delivery did.
    pub sinks: BTreeMap<String, Summary>,
}

/// Runs until `end` is ready, then drains. Frames are made records by the plan that holds when they
/// are read from the journal.
///
/// # Errors
/// The journal cannot be opened or closed, or an account cannot be used at all. A broker or Central
/// that is away is no error.
pub async fn run(
    config: Config,
    plans: Plans,
    end: impl Future<Output = ()>,
) -> Result<Report, Error> {
    let mut running = Running::start(&config, &plans)?;
    let alive = tokio::select! {
        () = end => true,
        () = running.subscriptions_end() => false,
    };
    let report = running.drain(config.shutdown_timeout).await?;
    if alive { Ok(report) } else { Err(Error::Ended) }
}

/// All that is under way.
struct Running {
    journal: Journal,
    dead_letters: Journal,
    subscriptions: JoinSet<subscription::Ended>,
    handles: Vec<subscription::Handle>,
    stop_reading: CancellationToken,
    deliveries: Vec<delivery::Handle>,
}

impl Running {
    fn start(config: &Config, plans: &Plans) -> Result<Self, Error> {
        log_start(config);
        let names: Vec<_> = config
            .sinks
            .keys()
            .map(|name| (name.as_str(), start_of(config, name)))
            .collect();
        let (journal, cursors) = Journal::open(&journal_options(config), &names)?;
        let dead_letters = open_dead_letters(config)?;
        let deliveries = config
            .sinks
            .iter()
            .zip(cursors)
            .map(|((name, sink), cursor)| {
                let preparer = Preparer::new(plans.clone(), name, alphabet(sink));
                cursor.limit(config.backlogs.get(name).copied().unwrap_or_default());
                let ends = Ends {
                    cursor,
                    dead_letters: &dead_letters,
                };
                start_delivery(name, sink, preparer, ends)
            });
        let deliveries = deliveries.collect();

        let mut running = Self {
            journal,
            dead_letters,
            subscriptions: JoinSet::new(),
            handles: Vec::new(),
            stop_reading: CancellationToken::new(),
            deliveries,
        };
        for (name, account) in &config.accounts {
            running.subscribe(name, account)?;
        }
        Ok(running)
    }

    fn subscribe(&mut self, name: &str, account: &config::Account) -> Result<(), Error> {
        let source = Source::new(account, Settings::default()).map_err(|cause| Error::Account {
            account: name.to_owned(),
            cause,
        })?;
        let source = Arc::new(source);
        for topic in &account.topics {
            let (handle, task) = subscription::new(
                SubscriptionId::new(
                    name,
                    Stream::Classic {
                        topic: topic.clone(),
                    },
                ),
                Arc::clone(&source),
                self.journal.appender(),
                self.stop_reading.child_token(),
            );
            self.handles.push(handle);
            self.subscriptions.spawn(task.run());
        }
        Ok(())
    }

    /// Ready when no subscription is left: they end by themselves only if something is broken.
    async fn subscriptions_end(&mut self) {
        while let Some(ended) = self.subscriptions.join_next().await {
            match ended {
                Ok(ended) => tracing::error!(?ended, "a subscription ended by itself"),
                Err(panic) => tracing::error!("a subscription failed: {panic}"),
            }
        }
    }

    /// Stops reading, lets the sinks settle what is in the journal, and says what is left.
    async fn drain(mut self, patience: Duration) -> Result<Report, Error> {
        let deadline = Instant::now() + patience;
        self.stop_reading.cancel();
        while let Some(ended) = self.subscriptions.join_next().await {
            if let Err(panic) = ended {
                tracing::error!("a subscription failed: {panic}");
            }
        }
        let end = self.journal.end();
        let frames = self
            .handles
            .iter()
            .map(|handle| handle.counts().frames)
            .sum();
        let mut sinks = BTreeMap::new();
        for delivery in &self.deliveries {
            delivery.drain_to(end);
        }
        for delivery in self.deliveries {
            let name = delivery.sink().to_owned();
            if let Some(summary) = settle(delivery, deadline, end).await {
                sinks.insert(name, summary);
            }
        }
        self.dead_letters.close().await?;
        self.journal.close().await?;
        Ok(Report { frames, sinks })
    }
}

/// Waits for a delivery until the deadline, then stops it.
async fn settle(mut delivery: delivery::Handle, deadline: Instant, end: u64) -> Option<Summary> {
    let in_time = timeout_at(deadline, delivery.ended()).await;
    let ended = if let Ok(ended) = in_time {
        ended
    } else {
        delivery.stop();
        delivery.ended().await
    };
    match ended {
        Ok(summary) => {
            log_summary(delivery.sink(), &summary, end);
            Some(summary)
        }
        Err(panic) => {
            tracing::error!(sink = delivery.sink(), "a delivery failed: {panic}");
            None
        }
    }
}

fn start_of(config: &Config, sink: &str) -> Start {
    match config.starts.get(sink) {
        Some(SinkStart::Oldest) => Start::Oldest,
        Some(SinkStart::End) | None => Start::End,
    }
}

fn start_delivery(
    name: &str,
    sink: &config::Sink,
    preparer: Preparer,
    ends: Ends<'_>,
) -> delivery::Handle {
    let name = name.to_owned();
    match sink {
        config::Sink::Kafka(kafka) => {
            delivery::spawn::<KafkaSink>(name, kafka.clone(), preparer, ends)
        }
        config::Sink::Mqtt(mqtt) => {
            delivery::spawn::<MqttSink>(name, (**mqtt).clone(), preparer, ends)
        }
        config::Sink::Amqp(amqp) => delivery::spawn::<AmqpSink>(name, amqp.clone(), preparer, ends),
        config::Sink::Stdout => delivery::spawn::<StreamSink>(name, Target::Stdout, preparer, ends),
        config::Sink::File(file) => {
            delivery::spawn::<StreamSink>(name, Target::File(file.path.clone()), preparer, ends)
        }
    }
}

fn alphabet(sink: &config::Sink) -> Alphabet {
    match sink {
        config::Sink::Kafka(_) => Alphabet::KafkaTopic,
        config::Sink::Amqp(_) => Alphabet::AmqpRoutingKey,
        config::Sink::Mqtt(_) => Alphabet::MqttTopic,
        config::Sink::Stdout | config::Sink::File(_) => Alphabet::Any,
    }
}

fn journal_options(config: &Config) -> journal::Options {
    let location = match &config.state_dir {
        Some(folder) => Location::Directory(folder.join("journal")),
        None => Location::Memory {
            bytes: config.journal.memory_bytes,
        },
    };
    journal::Options {
        location,
        segment_bytes: config.journal.segment_bytes,
        sync_interval: config.journal.sync_interval,
        max_bytes: config.journal.max_bytes,
        retain: config.journal.retain,
    }
}

/// With a cursor for each sink, so that its letters are kept until it has been dealt with them.
fn open_dead_letters(config: &Config) -> Result<Journal, journal::OpenError> {
    let location = match &config.state_dir {
        Some(folder) => Location::Directory(folder.join("dead-letters")),
        None => Location::Memory {
            bytes: DEAD_LETTERS_IN_MEMORY,
        },
    };
    let options = journal::Options {
        location,
        max_bytes: Some(config.journal.dead_letter_bytes),
        retain: Duration::ZERO,
        ..journal_options(config)
    };
    let sinks = config.sinks.keys();
    let names: Vec<_> = sinks.map(|name| (name.as_str(), Start::Oldest)).collect();
    Journal::open(&options, &names).map(|(journal, _)| journal)
}

fn log_start(config: &Config) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        accounts = config.accounts.len(),
        sinks = config.sinks.len(),
        routes = config.routes.len(),
        "central-forwarder starts"
    );
    let class = match config.state_dir {
        Some(_) => "at least once: frames are safe in the journal on disk",
        None => "at most once: there is no state_dir, frames are in memory only",
    };
    for route in &config.routes {
        tracing::info!(sink = route.sink, destination = %route.destination, "route: {class}");
    }
}

fn log_summary(sink: &str, summary: &Summary, end: u64) {
    let millis = |quantile| {
        Duration::from_micros(summary.latency.value_at_quantile(quantile)).as_secs_f64() * 1000.0
    };
    tracing::info!(
        sink,
        confirmed = summary.confirmed,
        refused = summary.refused,
        undecodable = summary.undecodable,
        resent = summary.resent,
        left_in_journal = end.saturating_sub(summary.settled_to),
        p50_ms = millis(0.5),
        p99_ms = millis(0.99),
        "drained"
    );
}
