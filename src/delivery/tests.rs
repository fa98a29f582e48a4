//! Delivery against a sink that does as it is told.

use std::collections::BTreeSet;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use prost::Message as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::config::template::Template;
use crate::config::{self, Config, Format, JsonStyle, Route, Selector};
use crate::frame::{Frame, Internal, Stream, SubscriptionId};
use crate::journal::{Journal, Location, OffsetOutOfRange, Options, Start};
use crate::proto::stream_message::MsgProto;
use crate::route::DestinationCharset;
use crate::sink::{Outcomes, Record};

const A_WHILE: Duration = Duration::from_secs(30);

/// What the script says of the n-th record that is sent, counted over all connections; `None`: no
/// word about it.
type Script = fn(usize) -> Option<Outcome>;

/// What was sent, and how often it was connected.
struct Log {
    script: Script,
    /// The first record that finds the connection broken.
    breaks_at: Option<usize>,
    sent: StdMutex<Vec<String>>,
    connections: AtomicUsize,
}

impl Log {
    fn new(script: Script) -> Self {
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
struct Stand {
    journal: Journal,
    dead_letters: Journal,
    log: Arc<Log>,
    delivery: Handle,
    task: JoinHandle<Summary>,
    /// A cursor of the test's own.
    watch: Cursor,
}

impl Stand {
    async fn new(frames: u64, script: Script) -> Self {
        Self::to(Log::new(script), frames).await
    }

    async fn to(log: Log, frames: u64) -> Self {
        Self::on(Location::Memory { bytes: 1 << 20 }, frames, log, || {}).await
    }

    /// `meddle` comes between the frames and the delivery.
    async fn on(location: Location, frames: u64, log: Log, meddle: impl FnOnce()) -> Self {
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
            DestinationCharset::Any,
        );
        let ends = Ends::new(cursors.pop().unwrap(), &journal, &dead_letters);
        let (delivery, task) =
            spawn::<ScriptedSink>("sink".to_owned(), Arc::clone(&log), preparer, ends);
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
    async fn own_event(&mut self) -> (Internal, serde_json::Value) {
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
        timeout(A_WHILE, looking).await.expect("there is an event")
    }

    /// Lets it settle everything, and tells what it did.
    async fn drain(self) -> (Summary, Vec<String>) {
        self.delivery.drain_to(self.journal.end());
        let ended = timeout(A_WHILE, self.task).await;
        let summary = ended.expect("it drains").expect("it does not panic");
        let sent = self.log.sent.lock().unwrap().clone();
        let letters = self.dead_letters.progress().borrow().synced;
        assert_eq!(letters, summary.refused + summary.undecodable);
        (summary, sent)
    }
}

fn frame(number: u64) -> Frame {
    frame_with(number, Vec::new())
}

fn frame_with(number: u64, data: Vec<u8>) -> Frame {
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
        shutdown_timeout: A_WHILE,
        accounts: [].into(),
        sinks: [].into(),
        backlogs: [].into(),
        starts: [].into(),
        routes: vec![route, alarm],
        schemas: config::Schemas::default(),
    }
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn all_records_are_sent_once_and_in_order_while_all_is_well() {
    let stand = Stand::new(1000, |_| Some(Outcome::Confirmed)).await;
    let (summary, sent) = stand.drain().await;
    assert_eq!(sent, numbers(0..1000));
    assert_eq!((summary.confirmed, summary.resent), (1000, 0));
    assert_eq!(summary.latency.len(), 1000);
    assert!(
        summary.latency.max() >= 10,
        "microseconds since the frames were made"
    );
    assert_eq!(summary.settled_to, 1000);
}

#[tokio::test]
async fn a_frame_larger_than_a_batch_is_sent_in_its_turn() {
    let stand = Stand::new(2, |_| Some(Outcome::Confirmed)).await;
    for (number, bytes) in [(2, 300 << 10), (3, 0), (4, 200 << 10)] {
        let frame = frame_with(number, vec![0; bytes]);
        stand.journal.appender().append(&frame).await.unwrap();
    }
    let (summary, sent) = stand.drain().await;
    assert_eq!(sent, numbers(0..5));
    assert_eq!(summary.confirmed, 5);
}

#[tokio::test]
async fn after_a_failure_it_begins_again_at_the_first_unconfirmed_record() {
    let script = |nth| match nth {
        3 => Some(Outcome::Retry("not now".into())),
        _ => Some(Outcome::Confirmed),
    };
    let stand = Stand::new(10, script).await;
    let log = Arc::clone(&stand.log);
    let (summary, sent) = stand.drain().await;
    let again = sent.iter().rposition(|number| number == "3").unwrap();
    assert!(again > 3, "3 was sent again: {sent:?}");
    assert_eq!(sent[again..], numbers(3..10));
    assert_eq!(sent[..again], numbers(0..u64::try_from(again).unwrap()));
    assert_eq!(summary.settled_to, 10);
    assert_eq!(log.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_was_said_before_a_connection_broke_is_not_asked_for_again() {
    let script = |nth| match nth {
        2 => Some(Outcome::Refused("too large".into())),
        _ => Some(Outcome::Confirmed),
    };
    let log = Log {
        breaks_at: Some(5),
        ..Log::new(script)
    };
    let stand = Stand::to(log, 10).await;
    let (summary, sent) = stand.drain().await;
    assert_eq!(sent, [numbers(0..6), numbers(5..10)].concat());
    assert_eq!((summary.confirmed, summary.refused), (9, 1));
}

#[tokio::test]
async fn its_status_says_how_it_is_doing() {
    let script = |nth| match nth {
        2 => Some(Outcome::Refused(Failure::new(Cause::TooLarge, "too large"))),
        3 => Some(Outcome::Retry(Failure::new(Cause::Overloaded, "not now"))),
        // The first try hands over all of them.
        28.. => None,
        _ => Some(Outcome::Confirmed),
    };
    let stand = Stand::new(20, script).await;
    let looking = async {
        loop {
            let status = stand.delivery.status();
            if matches!(status.connection, Connection::Connected { .. })
                && status.in_flight_records > 0
                && status.confirmed > 3
                && status.in_flight_bytes > 0
            {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    let status = timeout(A_WHILE, looking).await.expect("it gets on");
    assert!(status.reached && !status.draining);
    assert_eq!(status.retried, [(Cause::Overloaded, 1)].into());
    assert_eq!(status.refused, [(Cause::TooLarge, 1)].into());
    assert_eq!(status.last_error.expect("it failed").why, "not now");
    assert_eq!(status.latency.count(), status.confirmed);
    assert!(status.sent >= status.confirmed + status.resent);
    assert!(status.last_confirmed.is_some());
    assert!(status.lag.records >= status.in_flight_records);
    assert!(status.lag.bytes > 0 && status.lag.time > Duration::ZERO);

    let handle = stand.delivery.clone();
    handle.stop();
    timeout(A_WHILE, stand.task).await.unwrap().unwrap();
    assert_eq!(handle.status().connection, Connection::Ended);
}

#[tokio::test]
async fn a_delivery_is_rewound_while_it_runs() {
    let stand = Stand::new(10, |_| Some(Outcome::Confirmed)).await;
    let handle = stand.delivery.clone();
    let confirmed = |count| {
        let handle = handle.clone();
        timeout(A_WHILE, async move {
            while handle.status().confirmed < count {
                tokio::task::yield_now().await;
            }
        })
    };
    confirmed(10).await.expect("all are sent");
    handle.rewind(4).expect("it is in the journal");
    confirmed(16)
        .await
        .expect("those from there on are sent again");
    assert_eq!(
        handle.rewind(11),
        Err(OffsetOutOfRange { oldest: 0, end: 10 })
    );
    let (summary, sent) = stand.drain().await;
    assert_eq!(sent, [numbers(0..10), numbers(4..10)].concat());
    assert_eq!(summary.settled_to, 10);
}

#[tokio::test]
async fn a_refused_record_holds_up_no_other() {
    let script = |nth| match nth {
        4 => Some(Outcome::Refused("too large".into())),
        _ => Some(Outcome::Confirmed),
    };
    let (summary, sent) = Stand::new(10, script).await.drain().await;
    assert_eq!(sent, numbers(0..10));
    assert_eq!((summary.confirmed, summary.refused), (9, 1));
    // The dead letter has become an event, perhaps in time to be passed too.
    assert!((10..=11).contains(&summary.settled_to));
}

#[tokio::test]
async fn a_dead_letter_is_an_event_where_a_route_takes_such() {
    let script = |nth| match nth {
        4 => Some(Outcome::Refused("too large".into())),
        _ => Some(Outcome::Confirmed),
    };
    let mut stand = Stand::new(10, script).await;
    let (topic, data) = stand.own_event().await;
    assert_eq!(topic, Internal::DeadLetters);
    assert_eq!(data["sink"], "sink");
    assert_eq!(data["reason"], "too large");
    assert_eq!((&data["offset"], &data["times"]), (&4.into(), &1.into()));
    stand.drain().await;
}

#[tokio::test]
async fn what_a_sink_must_skip_becomes_a_gap_event_also_while_it_is_away() {
    let mut stand = Stand::new(10, |_| None).await;
    for number in 10..30_000 {
        stand
            .journal
            .appender()
            .append(&frame(number))
            .await
            .unwrap();
    }
    let (topic, data) = stand.own_event().await;
    assert_eq!(topic, Internal::Gaps);
    assert_eq!(
        (&data["kind"], &data["sink"]),
        (&"sink".into(), &"sink".into())
    );
    assert_eq!(
        (&data["cause"], &data["first_offset"]),
        (&"skipped".into(), &0.into())
    );
    assert_eq!(data["records"], data["end_offset"]);
    stand.delivery.stop();
    timeout(A_WHILE, stand.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_ends_although_the_last_record_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let damage = || {
        let path = path.join("00000000000000000000.log");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    let location = Location::Directory(path.clone());
    let script = |_| Some(Outcome::Confirmed);
    let stand = Stand::on(location, 10, Log::new(script), damage).await;
    stand.delivery.drain_to(10);
    let summary = timeout(A_WHILE, stand.task).await.unwrap().unwrap();
    assert_eq!((summary.confirmed, summary.settled_to), (9, 10));
}

#[tokio::test]
async fn the_cursor_does_not_pass_a_record_of_which_no_word_has_come() {
    let script = |nth| match nth {
        4 => None,
        _ => Some(Outcome::Confirmed),
    };
    let stand = Stand::new(10, script).await;
    stand.delivery.drain_to(4);
    let summary = timeout(A_WHILE, stand.task).await.unwrap().unwrap();
    assert_eq!(summary.settled_to, 4);
    assert_eq!(stand.journal.stats().cursors[0].committed, 4);
}

#[tokio::test]
async fn it_stops_although_the_broker_never_answers() {
    let stand = Stand::new(10, |_| None).await;
    stand.delivery.drain_to(10);
    stand.delivery.stop();
    let ended = timeout(A_WHILE, stand.task).await;
    assert_eq!(ended.unwrap().unwrap().settled_to, 0);
}

#[tokio::test]
async fn a_delivery_that_panics_begins_again_at_its_cursor_and_is_counted() {
    let script = |nth| {
        assert!(nth != 5, "a bug, made for this test");
        Some(Outcome::Confirmed)
    };
    let stand = Stand::new(10, script).await;
    let delivery = stand.delivery.clone();
    let (summary, sent) = stand.drain().await;
    assert_eq!(delivery.panics(), 1);
    assert_eq!(summary.settled_to, 10);
    assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), 10, "{sent:?}");
}
