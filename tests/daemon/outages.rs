//! Nothing that is in the journal is lost: not by `kill -9`, not by a Kafka that is away.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use central_forwarder::journal::{Journal, Location, Options as JournalOptions, Start};
use central_forwarder::simulator::{Options, Simulator, sequence_of_frame};
use tempfile::TempDir;
use tokio::time::{Instant, sleep_until};

use support::brokers::Kafka;
use support::config::{Account, Config, Route, Sink};
use support::forwarder::Forwarder;
use support::order::different_in_order;
use support::read_back::sequences;
use support::stand::drain;
use support::{eventually, fresh_name};

const TOPIC: &str = "monitoring";
const A_WHILE: Duration = Duration::from_secs(60);

/// A simulator that sends one topic, a forwarder's config and the folder of its state.
struct Stand {
    simulator: Simulator,
    folder: TempDir,
    /// In Kafka.
    topic: String,
}

impl Stand {
    async fn new(kafka: &Kafka, rate: u32, count: Option<u64>) -> Self {
        let simulator = Simulator::start(Options {
            rate,
            count,
            ..Options::default()
        })
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let topic = fresh_name("outages");
        let account = Account::classic(&simulator.endpoint(), &[TOPIC]);
        Config::in_folder(folder.path())
            .line("shutdown_timeout = \"3m\"")
            .account("acme", &account)
            .sink("lake", &Sink::kafka(&kafka.address))
            .route(&Route::all("lake").destination(&topic))
            .write(folder.path());
        Self {
            simulator,
            folder,
            topic,
        }
    }

    fn start(&self) -> Forwarder {
        Forwarder::run(&self.folder.path().join("config.toml"))
    }

    fn sent(&self) -> u64 {
        self.simulator.sent()[TOPIC].frames
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("state/journal")
    }

    /// The numbers of the frames that are in the journal, read from a copy of it.
    async fn journalled(&self) -> BTreeSet<u64> {
        let copy = tempfile::tempdir().unwrap();
        copy_files(&self.journal(), copy.path());
        let options = JournalOptions {
            location: Location::Directory(copy.path().to_owned()),
            segment_bytes: 64 << 20,
            sync_interval: Duration::from_millis(100),
            max_bytes: None,
            retain: Duration::ZERO,
        };
        let (journal, mut cursors) = Journal::open(&options, &[("oracle", Start::Oldest)]).unwrap();
        let mut cursor = cursors.pop().unwrap();
        journal.close().await.unwrap();
        let mut numbers = BTreeSet::new();
        while let Ok(batch) = cursor.read(1 << 20).await {
            let frames = batch.entries.iter().map(|entry| &entry.frame);
            // Gaps are in the journal too.
            let centrals = frames.filter(|frame| frame.subscription.topic() == TOPIC);
            numbers.extend(centrals.map(|frame| sequence_of_frame(&frame.payload).unwrap()));
        }
        numbers
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_journal_when_it_is_killed_arrives_after_the_restart() {
    const KILLS: u64 = 10;
    const FRAMES_A_LIFE: u64 = 1500;
    let Some(kafka) = Kafka::real() else { return };
    let stand = Stand::new(&kafka, 3000, None).await;

    let mut owed = BTreeSet::new();
    for kill in 0..KILLS {
        let before = stand.sent();
        let mut forwarder = stand.start();
        eventually(A_WHILE, "frames are read", || {
            stand.sent() >= before + FRAMES_A_LIFE + 100 * kill
        });
        forwarder.kill();
        let journalled = stand.journalled().await;
        assert!(
            !journalled.is_empty(),
            "killed before anything was journalled"
        );
        owed.extend(journalled);
    }
    let last = stand.start();
    drain(last);

    let arrived = sequences(&kafka, &stand.topic);
    let different = different_in_order(&arrived);
    let missing: Vec<_> = owed.difference(&different).collect();
    assert!(missing.is_empty(), "lost {}: {missing:?}", missing.len());
    println!(
        "killed {KILLS} times: {} frames were owed, {} arrived, {} of them repeats, lost 0",
        owed.len(),
        arrived.len(),
        arrived.len() - different.len(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_that_is_away_for_half_a_minute_costs_no_frame_and_holds_up_no_socket() {
    const RATE: u32 = 500;
    const AWAY: Duration = Duration::from_secs(30);
    const COUNT: u64 = 20_000;
    let Some(kafka) = Kafka::own("outages") else {
        return;
    };
    let stand = Stand::new(&kafka, RATE, Some(COUNT)).await;
    let mut forwarder = stand.start();
    eventually(A_WHILE, "the first frames are read", || {
        stand.sent() >= 1000
    });

    kafka.stop();
    let away_since = Instant::now();
    let mut sent = stand.sent();
    while away_since.elapsed() < AWAY {
        // What is measured here is time: in each second that Kafka is away, the socket is read.
        sleep_until(Instant::now() + Duration::from_secs(1)).await;
        let now = stand.sent();
        assert!(now > sent || now == COUNT, "the socket was not read");
        sent = now;
    }
    kafka.start();

    eventually(A_WHILE, "all frames are read", || stand.sent() == COUNT);
    assert!(forwarder.is_running(), "{}", forwarder.stderr());
    drain(forwarder);
    let arrived = sequences(&kafka, &stand.topic);
    let different = different_in_order(&arrived);
    assert_eq!(different, (1..=COUNT).collect(), "numbers that arrived");
    println!(
        "{COUNT} frames, {} repeats, lost 0",
        arrived.len() - different.len()
    );
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() && entry.file_name() != "lock" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
