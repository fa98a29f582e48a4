//! `demo`: the whole job with nothing installed, from a simulated Central to a consumer's terminal.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::{MissedTickBehavior, interval, timeout};
use url::Url;
use uuid::Uuid;

use super::logging;
use crate::config::secret::Secret;
use crate::config::template::{Template, TemplateError};
use crate::config::{
    Access, Account, ClassicAccess, Config, Format, Journal, JsonStyle, Kafka, Log, NewAccess,
    Pick, Proxy, Route, Schemas, Selector, Sink, Tls, Topic,
};
use crate::daemon::{self, Daemon, Loader};
use crate::simulator::{EVENTS, Simulator, StartError, TOPICS, sequence_of};
use crate::streams::{new_events, of_path};

/// Partitions of each topic of the embedded broker.
const PARTITIONS: i32 = 3;

/// How long the last records may take from the simulator to the consumer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Records that are printed each second; the others are only counted.
const LINES_A_SECOND: usize = 7;

/// Characters of a record that are printed.
const LINE: usize = 120;

/// How often the consumer checks whether it is to end.
const TICK: Duration = Duration::from_millis(100);

/// The whole job with nothing installed: simulated Central, forwarder, embedded Kafka, consumer
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How long events are sent
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Events a second on each topic: six of Classic Central, eight of New Central
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the embedded Kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Simulator(#[from] StartError),
    #[error(transparent)]
    Daemon(#[from] daemon::Error),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    #[error("the demo's own config: {0}")]
    Endpoint(#[from] url::ParseError),
    #[error("the demo's own config: {0}")]
    Template(#[from] TemplateError),
    #[error("{0} records were lost")]
    Lost(usize),
}

/// Runs for the given time, then prints a summary.
///
/// # Errors
/// See [`Error`]; records that were lost are one.
pub async fn run(args: Args) -> Result<(), Error> {
    logging::install(&Log {
        filter: "warn".to_owned(),
        ..Log::default()
    });
    let count = args.seconds * args.rate;
    let broker = MockCluster::new(1)?;
    for topic in kafka_topics() {
        broker.create_topic(&topic, PARTITIONS, 1)?;
    }
    let simulator = Simulator::start(crate::simulator::Options {
        rate: args.rate,
        count: Some(count.into()),
        ..Default::default()
    })
    .await?;
    let config = config(&simulator, broker.bootstrap_servers())?;
    let consumer = Consumer::start(&broker.bootstrap_servers())?;

    let expected = count as usize * kafka_topics().count();
    let limit = Duration::from_secs(args.seconds.into()) + TIMEOUT;
    let (daemon, handle) = Daemon::start(config, Loader::none())?;
    let until_found = async {
        consumer.until(expected, limit).await;
        handle.drain();
    };
    let (report, ()) = tokio::join!(daemon.run(), until_found);
    let report = report?;

    let read_back = consumer.stop()?;
    let sent: u64 = simulator.sent().values().map(|topic| topic.frames).sum();
    simulator.stop().await;
    let forwarded: u64 = report.sinks.values().map(|sink| sink.confirmed).sum();
    let lost = usize::try_from(sent)
        .unwrap_or(usize::MAX)
        .saturating_sub(read_back);
    writeln!(
        io::stdout(),
        "\nsent {sent}, forwarded {forwarded}, read back {read_back}, lost {lost}"
    )?;
    if lost > 0 {
        return Err(Error::Lost(lost));
    }
    Ok(())
}

/// A topic for each account and topic of Central: both generations have a `location`.
fn kafka_topics() -> impl Iterator<Item = String> {
    let classic = TOPICS
        .into_iter()
        .map(|topic| format!("central.classic.{topic}"));
    let new = new_events().into_iter();
    classic.chain(new.map(|event| format!("central.new.{event}")))
}

/// What an operator would write for the same: all topics, in memory, into one Kafka.
fn config(simulator: &Simulator, brokers: String) -> Result<Config, Error> {
    let account = |endpoint: String, access, topics| {
        Ok::<_, Error>(Account {
            endpoint: Url::parse(&endpoint)?,
            access,
            topics,
            tls: Tls::default(),
            proxy: Proxy::None,
            idle_timeout: None,
        })
    };
    let access = Access::Classic(ClassicAccess {
        key: Secret::literal("simulated-key"),
        username: None,
    });
    let topics = TOPICS.map(Topic::classic).into();
    let classic = account(simulator.endpoint(), access, topics)?;
    let access = Access::New(Box::new(NewAccess {
        client_id: Secret::literal("simulated-id"),
        client_secret: Secret::literal("simulated-secret"),
        token_url: Url::parse(&simulator.token_url())?,
        tenant_token_url: None,
        // There is no state_dir to keep it in, and no other subscriber to share events with.
        subscriber_id: Some(Uuid::new_v4().to_string()),
    }));
    let streams = EVENTS.into_iter().filter_map(of_path);
    let topics = streams.map(Topic::all_of).collect();
    let new = account(simulator.new_endpoint(), access, topics)?;
    let sink = Sink::Kafka(Box::new(Kafka {
        brokers: vec![brokers],
        ..Kafka::default()
    }));
    let route = Route {
        topics: Selector::Any,
        internal: BTreeSet::new(),
        accounts: Selector::Any,
        sink: "kafka".to_owned(),
        destination: Template::parse("central.{account}.{topic}")?,
        key: Some(Template::parse("{customer_id}")?),
        format: Format::Json,
        json: JsonStyle::Readable,
        pick: Pick::default(),
    };
    Ok(Config {
        state_dir: None,
        log: Log::default(),
        journal: Journal::default(),
        admin: None,
        shutdown_timeout: TIMEOUT,
        accounts: BTreeMap::from([("classic".to_owned(), classic), ("new".to_owned(), new)]),
        sinks: BTreeMap::from([("kafka".to_owned(), sink)]),
        backlogs: BTreeMap::new(),
        starts: BTreeMap::new(),
        routes: vec![route],
        schemas: Schemas::default(),
    })
}

/// A Kafka consumer on a thread of its own, independent of the forwarder.
struct Consumer {
    found: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Consumer {
    fn start(brokers: &str) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "demo")
            .create()?;
        let mut partitions = TopicPartitionList::new();
        for topic in kafka_topics() {
            for partition in 0..PARTITIONS {
                partitions.add_partition_offset(&topic, partition, Offset::Beginning)?;
            }
        }
        consumer.assign(&partitions)?;
        let found = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (found, stop) = (Arc::clone(&found), Arc::clone(&stop));
            thread::spawn(move || read(&consumer, &found, &stop))
        };
        Ok(Self {
            found,
            stop,
            thread,
        })
    }

    /// Waits until `expected` different records were read, at most for `limit`.
    async fn until(&self, expected: usize, limit: Duration) {
        let all_found = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while self.found.load(Ordering::Relaxed) < expected && !self.thread.is_finished() {
                ticks.tick().await;
            }
        };
        let _ = timeout(limit, all_found).await;
    }

    /// Ends the thread, and returns how many different records it has read.
    fn stop(self) -> io::Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the consumer panicked")))?;
        Ok(self.found.load(Ordering::Relaxed))
    }
}

fn read(consumer: &BaseConsumer, found: &AtomicUsize, stop: &AtomicBool) -> io::Result<()> {
    let mut seen = HashSet::new();
    let mut second = Instant::now();
    let mut shown = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let Some(Ok(message)) = consumer.poll(TICK) else {
            continue;
        };
        let Some(number) = number(&message) else {
            continue;
        };
        if second.elapsed() >= Duration::from_secs(1) {
            second = Instant::now();
            shown.clear();
        }
        if shown.len() < LINES_A_SECOND && shown.insert(message.topic().to_owned()) {
            show(&message)?;
        }
        if seen.insert((message.topic().to_owned(), number)) {
            found.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The simulator's number of the frame that a record was made of.
fn number(message: &BorrowedMessage<'_>) -> Option<u64> {
    let record: serde_json::Value = serde_json::from_slice(message.payload()?).ok()?;
    sequence_of(record.get("topic")?.as_str()?, record.get("data")?)
}

fn show(message: &BorrowedMessage<'_>) -> io::Result<()> {
    let text = String::from_utf8_lossy(message.payload().unwrap_or_default());
    let start: String = text.chars().take(LINE).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    writeln!(io::stdout(), "{:<30} {start}{more}", message.topic())
}
