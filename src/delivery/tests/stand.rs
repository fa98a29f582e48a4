//! A journal with numbered frames, and a sink that follows a script.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::DestinationCharset;
use crate::config::template::Template;
use crate::config::{self, Config, Format, JsonStyle, Route, Selector};
use crate::delivery::{Handle, Plan, Preparer, SinkContext, Summary, spawn};
use crate::frame::{Frame, Internal, Stream, SubscriptionId, Timestamp};
use crate::journal::{Cursor, Journal, Location, Options, Start};
use crate::proto::stream_message::MsgProto;
use crate::sink::{ConnectionError, DeliveryId, Outcome, Outcomes, Record, Sink};

pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// What the script says of the n-th record that is sent, counted over all connections; `None`: no
/// word about it.
pub(super) type Script = fn(usize) -> Option<Outcome>;

/// What was sent, and how often it was connected.
pub(super) struct Log {
    pub(super) script: Script,
    /// The first record that finds the connection broken.
    pub(super) breaks_at: Option<usize>,
    pub(super) sent: StdMutex<Vec<String>>,
    pub(super) connections: AtomicUsize,
}

impl Log {
    pub(super) fn new(script: Script) -> Self {
        Self {
            script,
            breaks_at: None,
            sent: StdMutex::default(),
            connections: AtomicUsize::new(0),
        }
    }
}

struct ScriptedSink {
    log: Arc<Log>,
    outcomes: Outcomes,
}

impl Sink for ScriptedSink {
    type Config = Arc<Log>;

    async fn probe(_: &Arc<Log>, _: &BTreeSet<String>) -> Result<String, String> {
        Ok(String::new())
    }

    async fn connect(log: &Arc<Log>, outcomes: Outcomes) -> Result<Self, ConnectionError> {
        log.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            log: Arc::clone(log),
            outcomes,
        })
    }

    async fn send(
        &mut self,
        delivery_id: DeliveryId,
        record: &Record<'_>,
    ) -> Result<(), ConnectionError> {
        let nth = {
            let mut sent = self.log.sent.lock().unwrap();
            sent.push(record.destination.to_owned());
            sent.len() - 1
        };
        if self.log.breaks_at == Some(nth) {
            return Err(ConnectionError("it broke".into()));
        }
        let outcome = (self.log.script)(nth);
        if let Some(outcome) = outcome {
            assert!(self.outcomes.is_heard(delivery_id, outcome));
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ConnectionError> {
        Ok(())
    }
}

/// A journal with numbered frames, and a delivery that is to send all of them.
pub(super) struct Stand {
    pub(super) journal: Journal,
    dead_letters: Journal,
    pub(super) log: Arc<Log>,
    pub(super) delivery: Handle,
    pub(super) task: JoinHandle<Summary>,
    /// A cursor of the test's own.
    watch: Cursor,
}

impl Stand {
    pub(super) async fn new(frames: u64, script: Script) -> Self {
        Self::to(Log::new(script), frames).await
    }

    pub(super) async fn to(log: Log, frames: u64) -> Self {
        Self::on(Location::Memory { bytes: 1 << 20 }, frames, log, || {}).await
    }

    /// `meddle` comes between the frames and the delivery.
    pub(super) async fn on(
        location: Location,
        frames: u64,
        log: Log,
        meddle: impl FnOnce(),
    ) -> Self {
        let letters = Location::Memory { bytes: 1 << 20 };
        let options = |location| Options {
            location,
            segment_bytes: 1 << 20,
            sync_interval: Duration::from_millis(1),
            max_bytes: None,
            retain: Duration::ZERO,
        };
        let (dead_letters, _) = Journal::open(&options(letters), &[]).unwrap();
        let names = [("sink", Start::End), ("watch", Start::End)];
        let (journal, mut cursors) = Journal::open(&options(location), &names).unwrap();
        for number in 0..frames {
            journal.appender().append(&frame(number)).await.unwrap();
        }
        let mut progress = journal.progress();
        let synced = progress.wait_for(|progress| progress.synced >= frames);
        synced.await.unwrap();
        meddle();
        let watch = cursors.pop().unwrap();
        let log = Arc::new(log);
        let preparer = Preparer::new(
            watch::channel(Arc::new(Plan::new(&config()).unwrap())).1,
            "sink",
            DestinationCharset::ANY,
        );
        let context = SinkContext::new(cursors.pop().unwrap(), &journal, &dead_letters);
        let (delivery, task) =
            spawn::<ScriptedSink>("sink".to_owned(), Arc::clone(&log), preparer, context);
        Self {
            journal,
            dead_letters,
            log,
            delivery,
            task,
            watch,
        }
    }

    /// The next event of our own that is in the journal.
    pub(super) async fn own_event(&mut self) -> (Internal, serde_json::Value) {
        let looking = async {
            loop {
                let batch = self.watch.read(1).await.unwrap();
                for entry in batch.entries {
                    if let Stream::Internal(topic) = entry.frame.subscription.stream() {
                        let data = serde_json::from_slice(&entry.frame.payload).unwrap();
                        return (*topic, data);
                    }
                }
            }
        };
        timeout(TIMEOUT, looking).await.expect("there is an event")
    }

    /// Lets it settle everything, and tells what it did.
    pub(super) async fn drain(self) -> (Summary, Vec<String>) {
        self.delivery.drain_to(self.journal.end());
        let ended = timeout(TIMEOUT, self.task).await;
        let summary = ended.expect("it drains").expect("it does not panic");
        let sent = self.log.sent.lock().unwrap().clone();
        let letters = self.dead_letters.progress().borrow().synced;
        assert_eq!(letters, summary.refused + summary.undecodable);
        (summary, sent)
    }
}

pub(super) fn frame(number: u64) -> Frame {
    frame_with(number, Vec::new())
}

pub(super) fn frame_with(number: u64, data: Vec<u8>) -> Frame {
    let envelope = MsgProto {
        subject: number.to_string(),
        data: data.into(),
        ..MsgProto::default()
    };
    let stream = Stream::Classic {
        topic: "security".to_owned(),
    };
    Frame {
        subscription: SubscriptionId::new("acme", stream),
        received_at: Timestamp::now(),
        payload: Bytes::from(envelope.encode_to_vec()),
    }
}

fn config() -> Config {
    let route = Route {
        topics: Selector::Any,
        internal: [].into(),
        accounts: Selector::Any,
        sink: "sink".to_owned(),
        destination: Template::parse("{subject}").unwrap(),
        key: None,
        format: Format::Frame,
        json: JsonStyle::Readable,
        pick: config::Pick::default(),
    };
    let alarm = Route {
        topics: Selector::Named([].into()),
        internal: [Internal::DeadLetters].into(),
        sink: "alarm".to_owned(),
        ..route.clone()
    };
    Config {
        state_dir: None,
        log: config::Log::default(),
        journal: config::Journal::default(),
        admin: None,
        shutdown_timeout: TIMEOUT,
        accounts: [].into(),
        sinks: [].into(),
        backlogs: [].into(),
        starts: [].into(),
        routes: vec![route, alarm],
        schemas: config::Schemas::default(),
    }
}
