//! What a sink refuses for good and what cannot be decoded: kept with its bytes and the reason.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use central_forwarder::config::{self, Config, DestinationCharset};
use central_forwarder::delivery::{self, Plan, Preparer, SinkContext};
use central_forwarder::frame::{Frame, Stream, SubscriptionId, Timestamp};
use central_forwarder::journal::{Entry, Journal, Location, Options, Refusal, Start};
use central_forwarder::sink::{ConnectionError, DeliveryId, Outcome, Outcomes, Record, Sink};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

use support::config::{Account, Route};

const A_WHILE: Duration = Duration::from_secs(30);

/// Refuses frames that hold `bad`; has the others.
struct Picky(Outcomes);

impl Sink for Picky {
    type Config = ();

    async fn probe((): &(), _: &BTreeSet<String>) -> Result<String, String> {
        Ok(String::new())
    }

    async fn connect((): &(), outcomes: Outcomes) -> Result<Self, ConnectionError> {
        Ok(Self(outcomes))
    }

    async fn send(
        &mut self,
        delivery_id: DeliveryId,
        record: &Record<'_>,
    ) -> Result<(), ConnectionError> {
        let outcome = if record.payload.windows(3).any(|part| part == b"bad") {
            Outcome::Refused("too bad".into())
        } else {
            Outcome::Confirmed
        };
        assert!(self.0.is_heard(delivery_id, outcome));
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ConnectionError> {
        Ok(())
    }
}

fn options(folder: &Path) -> Options {
    Options {
        location: Location::Directory(folder.to_owned()),
        segment_bytes: 1 << 20,
        sync_interval: Duration::from_millis(5),
        max_bytes: None,
        retain: Duration::ZERO,
    }
}

/// An envelope whose customer is `customer`.
fn frame(customer: &str) -> Frame {
    let mut payload = vec![0x12, u8::try_from(customer.len()).unwrap()];
    payload.extend_from_slice(customer.as_bytes());
    raw_frame(payload)
}

fn raw_frame(payload: impl Into<Bytes>) -> Frame {
    Frame {
        subscription: SubscriptionId::new("acme", Stream::parse("classic/monitoring").unwrap()),
        received_at: Timestamp(1_700_000_000_000_000),
        payload: payload.into(),
    }
}

fn config(folder: &Path) -> Config {
    let account = Account::classic("ws://127.0.0.1:9/streaming/api", &["monitoring"]);
    let path = support::config::Config::in_folder(folder)
        .account("acme", &account)
        .sink("lake", &support::config::Sink::file(&folder.join("lake")))
        .route(&Route::all("lake"))
        .write(folder);
    config::load(&[path], std::iter::empty(), |_, _| Ok(()))
        .unwrap()
        .config
}

/// Delivers everything that is in the journal of the folder to [`Picky`], and gives back the new
/// dead letters and how far the cursor came.
async fn deliver(folder: &Path) -> (Vec<Entry>, u64) {
    let (journal, mut cursors) = Journal::open(
        &options(&folder.join("journal")),
        &[("lake", Start::Oldest)],
    )
    .unwrap();
    let letters = options(&folder.join("dead-letters"));
    let names = [("test", Start::Oldest), ("lake", Start::Oldest)];
    let (dead_letters, mut read) = Journal::open(&letters, &names).unwrap();
    let context = SinkContext::new(cursors.remove(0), &journal, &dead_letters);
    let (_, plans) = watch::channel(Arc::new(Plan::new(&config(folder)).unwrap()));
    let preparer = Preparer::new(plans, "lake", DestinationCharset::ANY);
    let (delivery, task) = delivery::spawn::<Picky>("lake".to_owned(), (), preparer, context);
    delivery.drain_to(journal.end());
    let summary = timeout(A_WHILE, task).await.unwrap().unwrap();
    assert_eq!(dead_letters.progress().borrow().synced, dead_letters.end());
    dead_letters.close().await.unwrap();
    journal.close().await.unwrap();

    let mut entries = Vec::new();
    while let Ok(batch) = read[0].read(1 << 20).await {
        entries.extend(batch.entries);
    }
    (entries, summary.resolved_to)
}

async fn append(folder: &Path, frames: &[Frame]) {
    let (journal, _cursors) = Journal::open(
        &options(&folder.join("journal")),
        &[("lake", Start::Oldest)],
    )
    .unwrap();
    for frame in frames {
        journal.appender().append(frame).await.unwrap();
    }
    journal.close().await.unwrap();
}

#[tokio::test]
async fn what_is_refused_or_undecodable_is_kept_with_its_reason_before_the_cursor_passes_it() {
    let folder = TempDir::new().unwrap();
    let frames = [
        frame("good"),
        frame("bad one"),
        raw_frame("\u{7f}no envelope"),
        frame("good"),
        frame("bad two"),
    ];
    append(folder.path(), &frames).await;

    let (letters, resolved_to) = deliver(folder.path()).await;
    assert_eq!(resolved_to, 5);
    let kept: Vec<_> = letters.iter().map(|letter| &letter.frame).collect();
    assert_eq!(kept, [&frames[1], &frames[2], &frames[4]]);
    let refusals: Vec<&Refusal> = letters
        .iter()
        .map(|letter| letter.refusal.as_deref().unwrap())
        .collect();
    assert!(
        refusals
            .iter()
            .all(|refusal| refusal.sink == "lake" && refusal.times == 1)
    );
    assert_eq!(refusals[0].reason, "too bad");
    assert!(
        refusals[1].reason.starts_with("cannot be decoded: "),
        "{}",
        refusals[1].reason
    );
}

#[tokio::test]
async fn a_letter_in_the_main_journal_is_for_its_sink_alone_and_counts_its_refusals() {
    let folder = TempDir::new().unwrap();
    let (journal, _cursors) = Journal::open(
        &options(&folder.path().join("journal")),
        &[("lake", Start::Oldest)],
    )
    .unwrap();
    for sink in ["lake", "work"] {
        let refusal = Refusal {
            sink: sink.to_owned(),
            reason: "too bad".to_owned(),
            refused_at: Timestamp(0),
            times: 2,
        };
        let appender = journal.appender();
        appender
            .append_refused(&frame("bad"), &refusal)
            .await
            .unwrap();
    }
    journal.close().await.unwrap();

    let (letters, resolved_to) = deliver(folder.path()).await;
    assert_eq!((letters.len(), resolved_to), (1, 2));
    let refusal = letters[0].refusal.as_deref().unwrap();
    assert_eq!((refusal.sink.as_str(), refusal.times), ("lake", 3));
}

fn dead_letters(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(support::program())
        .arg("dead-letters")
        .args(arguments)
        .arg("--state-dir")
        .arg(folder)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap()
}

#[tokio::test]
async fn an_operator_lists_dumps_and_retries_letters() {
    let folder = TempDir::new().unwrap();
    append(folder.path(), &[frame("bad"), frame("good")]).await;
    deliver(folder.path()).await;

    let listed = dead_letters(folder.path(), &["list"]);
    let listed = stdout(&listed);
    assert!(
        listed.ends_with(" lake acme/monitoring 5 bytes, 1 times: too bad\n"),
        "{listed}"
    );
    let dumped = dead_letters(folder.path(), &["dump", "--sink", "lake"]);
    let dumped: serde_json::Value = serde_json::from_str(stdout(&dumped)).unwrap();
    assert_eq!(dumped["frame"], "EgNiYWQ=");
    assert_eq!(dumped["received_at"], "2023-11-14T22:13:20.000000Z");
    let others = dead_letters(folder.path(), &["dump", "--sink", "work"]);
    assert_eq!(stdout(&others), "");

    let refused = dead_letters(folder.path(), &["retry", "--sink", "work"]);
    assert_eq!(refused.status.code(), Some(1));
    let retried = dead_letters(folder.path(), &["retry"]);
    assert_eq!(stdout(&retried), "1 dead letter to be sent again\n");
    let dealt_with = dead_letters(folder.path(), &["list"]);
    assert_eq!(stdout(&dealt_with), "");

    let (letters, resolved_to) = deliver(folder.path()).await;
    assert_eq!(resolved_to, 3);
    let times = letters
        .iter()
        .map(|letter| letter.refusal.as_ref().unwrap().times);
    assert_eq!(times.collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn letters_are_not_retried_while_the_daemon_runs() {
    let folder = TempDir::new().unwrap();
    append(folder.path(), &[frame("bad")]).await;
    deliver(folder.path()).await;
    let _daemon = Journal::open(
        &options(&folder.path().join("journal")),
        &[("lake", Start::Oldest)],
    )
    .unwrap();
    let refused = dead_letters(folder.path(), &["retry"]);
    assert_eq!(refused.status.code(), Some(1));
    let listed = dead_letters(folder.path(), &["list"]);
    assert_eq!(stdout(&listed).lines().count(), 1);
}
