//! A journal far larger than memory, behind a sink that is dead: start, memory, the other sinks, and
//! the return.
//!
//! `CF_JOURNAL_BYTES=5000000000 cargo test --release --test journal large -- --nocapture` fills as
//! much as one likes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use central_forwarder::frame::{Frame, Stream, SubscriptionId, Timestamp};
use central_forwarder::journal::{Journal, Location, Options, Start};
use central_forwarder::proto::monitoring::MonitoringInformation;
use central_forwarder::proto::stream_message::MsgProto;
use central_forwarder::simulator::{self, Simulator};
use prost::Message as _;
use serde_json::Value;

use support::config::{Account, Config, Route, Sink};
use support::eventually;
use support::forwarder::Forwarder;

const BYTES: u64 = 64 << 20;
const FRAME_BYTES: usize = 64 << 10;
const FRESH: u64 = 50;
/// What the whole process may have, in KiB.
const MEMORY: u64 = 64 << 10;
const A_WHILE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_beyond_memory_costs_neither_start_nor_memory_nor_the_other_sinks() {
    let bytes = std::env::var("CF_JOURNAL_BYTES");
    let bytes: u64 = bytes.map_or(BYTES, |bytes| bytes.parse().expect("a number of bytes"));
    let count = bytes / FRAME_BYTES as u64;
    let folder = tempfile::tempdir().unwrap();
    fill(&folder.path().join("state/journal"), count).await;

    let simulator = Simulator::start(simulator::Options {
        topics: vec!["monitoring".to_owned()],
        count: Some(FRESH),
        ..simulator::Options::default()
    })
    .await
    .unwrap();
    let config = config(folder.path(), &simulator.endpoint()).write(folder.path());
    let begin = Instant::now();
    let mut forwarder = Forwarder::run(&config);
    forwarder.wait_for_stderr(A_WHILE, "connected");
    let started = begin.elapsed();

    let alive = folder.path().join("alive");
    eventually(A_WHILE, "the other sink has all that is new", || {
        lines(&alive) == FRESH
    });
    let behind = peak_memory(&forwarder);
    fs::create_dir(folder.path().join("dead")).unwrap();
    let late = folder.path().join("dead/records");
    eventually(A_WHILE, "the sink that came back has it all", || {
        lines(&late) == count + FRESH
    });
    let peak = peak_memory(&forwarder);
    forwarder.terminate();
    assert_eq!(forwarder.wait(A_WHILE).code(), Some(0));
    simulator.stop().await;

    println!(
        "{count} frames, {bytes} bytes behind: connected after {started:.2?}, \
         {behind} KiB at most while the sink was dead, {peak} KiB until it had all"
    );
    in_order(&late, count);
    assert!(peak < MEMORY, "{peak} KiB");
}

/// Frames of a number and much that the schema does not know, which costs a record nothing.
async fn fill(folder: &Path, count: u64) {
    let options = Options {
        location: Location::Directory(folder.to_owned()),
        segment_bytes: 64 << 20,
        sync_interval: Duration::from_millis(100),
        max_bytes: None,
        retain: Duration::ZERO,
    };
    let (journal, _cursors) = Journal::open(&options, &[("gone", Start::End)]).unwrap();
    let appender = journal.appender();
    let stream = Stream::parse("classic/monitoring").unwrap();
    let subscription = SubscriptionId::new("acme", stream);
    for number in 0..count {
        let information = MonitoringInformation {
            customer_id: number.to_string(),
            ..MonitoringInformation::default()
        };
        let mut data = information.encode_to_vec();
        prost::encoding::bytes::encode(15_000, &vec![0xa5_u8; FRAME_BYTES], &mut data);
        let envelope = MsgProto {
            subject: "monitoring".to_owned(),
            data: data.into(),
            ..MsgProto::default()
        };
        let frame = Frame {
            subscription: subscription.clone(),
            received_at: Timestamp(1_700_000_000_000_000),
            payload: envelope.encode_to_vec().into(),
        };
        appender.append(&frame).await.unwrap();
    }
    journal.close().await.unwrap();
}

/// Both sinks are new: one has all that the journal still has, the other what comes from now on. The first
/// cannot write until somebody makes the folder of its file.
fn config(folder: &Path, endpoint: &str) -> Config {
    let late = Sink::file(&folder.join("dead/records")).line("start = \"oldest\"");
    Config::in_folder(folder)
        .account("acme", &Account::classic(endpoint, &["monitoring"]))
        .sink("late", &late)
        .sink("alive", &Sink::file(&folder.join("alive")))
        .route(&Route::all("late"))
        .route(&Route::all("alive"))
}

fn lines(file: &Path) -> u64 {
    File::open(file).map_or(0, |file| BufReader::new(file).lines().count() as u64)
}

/// The numbers that [`fill`] gave come first, each once.
fn in_order(file: &Path, count: u64) {
    let lines = BufReader::new(File::open(file).unwrap()).lines();
    let count = usize::try_from(count).unwrap();
    for (number, line) in lines.take(count).enumerate() {
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(record["data"]["customer_id"], number.to_string());
    }
}

/// In KiB.
fn peak_memory(forwarder: &Forwarder) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", forwarder.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.expect("the kernel tells").trim().split(' ').next();
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}
