//! A journal on disk or in memory, and frames with numbers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use central_forwarder::frame::{Frame, Stream, SubscriptionId, Timestamp};
use central_forwarder::journal::{Appender, Cursor, Journal, Location, Options, Start};
use tempfile::TempDir;
use tokio::time::timeout;

pub(crate) const WINDOW: usize = 64 << 10;

pub(crate) const A_WHILE: Duration = Duration::from_secs(30);

pub(crate) fn on_disk(folder: &Path) -> Options {
    Options {
        location: Location::Directory(folder.to_owned()),
        segment_bytes: 1 << 20,
        sync_interval: Duration::from_millis(5),
        max_bytes: None,
        retain: Duration::ZERO,
    }
}

pub(crate) fn in_memory(bytes: u64) -> Options {
    Options {
        location: Location::Memory { bytes },
        segment_bytes: 64 << 20,
        sync_interval: Duration::from_millis(5),
        max_bytes: None,
        retain: Duration::ZERO,
    }
}

pub(crate) fn frame(payload: impl Into<Bytes>) -> Frame {
    let stream = Stream::parse("classic/monitoring").unwrap();
    Frame {
        subscription: SubscriptionId::new("acme", stream),
        received_at: Timestamp(1_700_000_000_000_000),
        payload: payload.into(),
    }
}

pub(crate) fn numbered(number: u64) -> Frame {
    frame(format!("frame {number}"))
}

pub(crate) fn all(numbers: std::ops::Range<u64>) -> Vec<u64> {
    numbers.collect()
}

pub(crate) async fn append(appender: &Appender, numbers: std::ops::Range<u64>) {
    for number in numbers {
        appender.append(&numbered(number)).await.unwrap();
    }
}

/// Waits until everything below `offset` survives the loss of power.
pub(crate) async fn synced(journal: &Journal, offset: u64) {
    let mut progress = journal.progress();
    let done = progress.wait_for(|progress| progress.synced >= offset);
    timeout(A_WHILE, done).await.unwrap().unwrap();
}

/// Reads the numbered frames up to `end`, and checks that each is where its number says.
pub(crate) async fn read_numbers(cursor: &mut Cursor, end: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last().is_none_or(|last: &u64| *last + 1 < end) {
        let batch = timeout(A_WHILE, cursor.read(WINDOW))
            .await
            .unwrap()
            .unwrap();
        for entry in batch.entries {
            assert_eq!(entry.frame, numbered(entry.offset));
            numbers.push(entry.offset);
        }
    }
    numbers
}

pub(crate) async fn stored(journal: &Journal, name: &str, offset: u64) {
    eventually(|| {
        journal
            .stats()
            .cursors
            .iter()
            .any(|cursor| cursor.name == name && cursor.stored >= offset)
    })
    .await;
}

/// For what is not announced: looks until it is so.
pub(crate) async fn eventually(mut condition: impl FnMut() -> bool) {
    let looking = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(A_WHILE, looking).await.expect("it never came true");
}

pub(crate) fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    segments.sort();
    segments
}

/// What a kill at this moment leaves to the next process.
pub(crate) fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    fs::create_dir(to.path().join("cursors")).unwrap();
    for folder in ["", "cursors"] {
        for entry in fs::read_dir(from.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, to.path().join(path.strip_prefix(from).unwrap())).unwrap();
            }
        }
    }
    to
}

pub(crate) fn open_one(options: &Options, start: Start) -> (Journal, Cursor) {
    let (journal, mut cursors) = Journal::open(options, &[("lake", start)]).unwrap();
    (journal, cursors.remove(0))
}
