//! `journal` and `rewind` as an operator uses them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use central_forwarder::frame::{Frame, Stream, SubscriptionId, Timestamp};
use central_forwarder::journal::{Cursor, Journal, Location, Options, Start};
use serde_json::Value;
use tempfile::TempDir;

/// When frame 0 was received; each other one second after the one before.
const BEGIN: i64 = 1_700_000_000;

fn open(state: &Path) -> (Journal, Cursor) {
    let options = Options {
        location: Location::Directory(state.join("journal")),
        segment_bytes: 1 << 20,
        sync_interval: Duration::from_millis(5),
        max_bytes: None,
        retain: Duration::ZERO,
    };
    let (journal, mut cursors) = Journal::open(&options, &[("lake", Start::End)]).unwrap();
    (journal, cursors.remove(0))
}

/// A journal of ten frames, all of which the sink `lake` has had.
async fn ten_frames() -> TempDir {
    let state = TempDir::new().unwrap();
    fs::create_dir_all(state.path()).unwrap();
    let (journal, mut cursor) = open(state.path());
    for number in 0..10 {
        let frame = Frame {
            subscription: SubscriptionId::new("acme", Stream::parse("classic/x").unwrap()),
            received_at: Timestamp((BEGIN + number) * 1_000_000),
            payload: format!("frame {number}").into(),
        };
        journal.appender().append(&frame).await.unwrap();
    }
    let mut read = 0;
    while read < 10 {
        read += cursor.read(1 << 20).await.unwrap().entries.len();
    }
    cursor.committer().commit(10);
    journal.close().await.unwrap();
    state
}

fn run(state: &TempDir, arguments: &[&str]) -> Output {
    Command::new(support::program())
        .args(arguments)
        .arg("--state-dir")
        .arg(state.path())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn a_journal_is_listed_dumped_and_verified_also_while_it_is_open() {
    let state = ten_frames().await;
    let _daemon = open(state.path());
    let listed = stdout(&run(&state, &["journal", "list"]));
    assert!(
        listed.contains("from 2023-11-14T22:13:20.000000Z\n"),
        "{listed}"
    );
    assert!(
        listed.ends_with("end 10\ncursor lake: 10, 0 behind\n"),
        "{listed}"
    );

    let dumped = stdout(&run(
        &state,
        &["journal", "dump", "--from", "3", "--count", "2"],
    ));
    let offsets = dumped.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["stream"], "classic/x");
        record["offset"].as_u64().unwrap()
    });
    assert_eq!(offsets.collect::<Vec<_>>(), [3, 4]);
    let verified = stdout(&run(&state, &["journal", "verify"]));
    assert_eq!(verified, "10 records are valid, 0 are damaged\n");
}

#[tokio::test]
async fn damage_is_named_and_fails_the_check() {
    let state = ten_frames().await;
    let segment = state.path().join("journal/00000000000000000000.log");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let verified = run(&state, &["journal", "verify"]);
    assert_eq!(verified.status.code(), Some(1));
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(said.starts_with("damaged: 1 records before "), "{said}");
    assert!(
        said.ends_with("9 records are valid, 1 are damaged\n"),
        "{said}"
    );
}

#[tokio::test]
async fn a_sink_is_rewound_to_an_offset_or_a_time_unless_the_daemon_runs() {
    let state = ten_frames().await;
    for (to, offset) in [
        ("4", 4),
        ("2023-11-14T22:13:26.5Z", 7),
        ("2030-01-01T00:00:00Z", 10),
    ] {
        let rewound = stdout(&run(&state, &["rewind", "--sink", "lake", "--to", to]));
        assert_eq!(rewound, format!("lake goes on at {offset}\n"));
        let (journal, cursor) = open(state.path());
        assert_eq!(cursor.committer().committed(), offset);
        let refused = run(&state, &["rewind", "--sink", "lake", "--to", "0"]);
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("in use by another process"), "{said}");
        journal.close().await.unwrap();
    }
    for (arguments, code) in [
        (["--sink", "sea", "--to", "0"], 1),
        (["--sink", "lake", "--to", "11"], 1),
        (["--sink", "lake", "--to", "soon"], 2),
    ] {
        let refused = run(&state, &[&["rewind"], &arguments[..]].concat());
        assert_eq!(refused.status.code(), Some(code), "{refused:?}");
    }
    let (_journal, mut cursor) = open(state.path());
    assert_eq!(cursor.committer().committed(), 10);
    cursor.seek(0);
    assert_eq!(cursor.read(1 << 20).await.unwrap().entries[0].offset, 0);
}

#[tokio::test]
async fn a_sink_that_is_gone_is_forgotten_and_then_new() {
    let state = ten_frames().await;
    let forget = ["journal", "forget", "--sink", "lake"];
    assert_eq!(stdout(&run(&state, &forget)), "lake is forgotten\n");
    let listed = stdout(&run(&state, &["journal", "list"]));
    assert!(!listed.contains("lake"), "{listed}");
    let refused = run(&state, &forget);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("there is no cursor \"lake\""), "{said}");
}
