use std::path::PathBuf;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::*;
use crate::config::{Backlog, OnFull};
use crate::frame::{Frame, Stream, SubscriptionId, Timestamp};
use crate::journal::options::{MAX_UNSYNCED_BYTES, QUEUE_BYTES};
use crate::journal::storage::simulated::{DiskFault, SimulatedDisk};
use crate::journal::{Appender, Cursor, Journal, Location, Options, Start};

const TIMEOUT: Duration = Duration::from_secs(30);

fn open(disk: &SimulatedDisk) -> (Journal, Cursor) {
    open_with_segments_of(disk, 1 << 20)
}

fn open_with_segments_of(disk: &SimulatedDisk, segment_bytes: u64) -> (Journal, Cursor) {
    let options = Options {
        location: Location::Directory(PathBuf::new()),
        segment_bytes,
        sync_interval: Duration::from_millis(1),
        max_bytes: None,
        retain: Duration::ZERO,
    };
    let names = [("lake", Start::End)];
    let storage = Arc::new(disk.clone());
    let (journal, mut cursors) = Journal::start(storage, None, &options, &names).unwrap();
    (journal, cursors.remove(0))
}

async fn append(appender: &Appender, len: usize) {
    let frame = Frame {
        subscription: SubscriptionId::new("acme", Stream::parse("classic/x").unwrap()),
        received_at: Timestamp(0),
        payload: Bytes::from(vec![0; len]),
    };
    appender.append(&frame).await.unwrap();
}

async fn wait_for_sync(journal: &Journal, offset: u64) {
    let mut progress = journal.progress();
    let done = progress.wait_for(|progress| progress.synced >= offset);
    timeout(TIMEOUT, done).await.unwrap().unwrap();
}

async fn wait_for_trouble(journal: &Journal) {
    wait_until(|| journal.stats().trouble.is_some()).await;
}

async fn wait_until(mut condition: impl FnMut() -> bool) {
    let looking = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(TIMEOUT, looking).await.unwrap();
}

#[tokio::test]
async fn a_record_in_a_bad_sector_counts_as_damaged_after_some_attempts() {
    let disk = SimulatedDisk::default();
    let (journal, mut cursor) = open(&disk);
    let appender = journal.appender();
    for _ in 0..3 {
        append(&appender, 10_000).await;
    }
    wait_for_sync(&journal, 3).await;
    disk.make_unreadable(15_000..15_001);
    let (mut offsets, mut failures, mut damaged) = (Vec::new(), 0, 0);
    while offsets.last() != Some(&2) {
        match timeout(TIMEOUT, cursor.read(1 << 20)).await.unwrap() {
            Ok(batch) => {
                damaged += batch.damaged;
                offsets.extend(batch.entries.iter().map(|entry| entry.offset));
            }
            Err(_) => failures += 1,
        }
    }
    assert_eq!((offsets, damaged), (vec![0, 2], 1));
    assert!(failures >= 5, "only {failures} attempts");
    assert_eq!(journal.stats().cursors[0].damaged, 1);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_makes_appenders_wait_and_loses_nothing() {
    let disk = SimulatedDisk::default();
    let (journal, mut cursor) = open(&disk);
    let appender = journal.appender();
    disk.fill();
    let full = QUEUE_BYTES as usize - 200;
    append(&appender, full).await;
    wait_for_trouble(&journal).await;
    let waiting = tokio::spawn({
        let appender = appender.clone();
        async move { append(&appender, 200).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());

    disk.repair();
    waiting.await.unwrap();
    wait_for_sync(&journal, 2).await;
    wait_until(|| journal.stats().trouble.is_none()).await;
    assert!(journal.stats().append_wait > Duration::ZERO);
    for (offset, len) in [(0, full), (1, 200)] {
        let batch = cursor.read(1).await.unwrap();
        assert_eq!(batch.entries[0].offset, offset);
        assert_eq!(batch.entries[0].frame.payload.len(), len);
    }
    journal.close().await.unwrap();
}

#[tokio::test]
async fn on_a_disk_that_stays_full_the_oldest_frames_are_skipped() {
    const FRAMES: u64 = 100;
    let disk = SimulatedDisk::default();
    disk.limit(30_000);
    let (journal, mut cursor) = open_with_segments_of(&disk, 2000);
    for number in 0..FRAMES {
        append(&journal.appender(), 500).await;
        wait_for_sync(&journal, number + 1).await;
    }
    let first = cursor.read(1).await.unwrap();
    assert!(first.skipped > 0);
    assert_eq!(first.entries[0].offset, first.skipped);
    let mut last = first.skipped;
    while last + 1 < FRAMES {
        let batch = cursor.read(1000).await.unwrap();
        last = batch.entries.last().unwrap().offset;
    }
    assert!(journal.stats().dropped_segments > 0);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn on_a_disk_that_stays_full_appenders_wait_for_a_sink_that_must_not_skip() {
    const FRAMES: u64 = 100;
    let disk = SimulatedDisk::default();
    disk.limit(30_000);
    let (journal, mut cursor) = open_with_segments_of(&disk, 2000);
    cursor.committer().limit(Backlog {
        max_bytes: 1 << 20,
        on_full: OnFull::Block,
    });
    let (appender, mut progress) = (journal.appender(), journal.progress());
    let appending = tokio::spawn(async move {
        for number in 0..FRAMES {
            append(&appender, 500).await;
            let written = progress.wait_for(|progress| progress.written > number);
            written.await.unwrap();
        }
    });
    wait_for_trouble(&journal).await;
    let mut next = 0;
    while next < FRAMES {
        let read = timeout(TIMEOUT, cursor.read(1000));
        let batch = read.await.unwrap().unwrap();
        assert_eq!((batch.skipped, batch.entries[0].offset), (0, next));
        next += batch.entries.len() as u64;
        cursor.committer().commit(next);
    }
    appending.await.unwrap();
    journal.close().await.unwrap();
}

#[tokio::test]
async fn during_a_slow_sync_readers_see_new_frames_until_too_much_is_unsynced() {
    const FRAME_BYTES: usize = 1 << 20;
    const FRAMES: u64 = 48;
    let disk = SimulatedDisk::default();
    let (journal, mut cursor) = open_with_segments_of(&disk, 1 << 30);
    let appender = journal.appender();
    disk.hold_syncs(true);
    append(&appender, 100).await;
    assert_eq!(cursor.read(1).await.unwrap().entries[0].offset, 0);
    wait_until(|| disk.is_syncing()).await;

    append(&appender, 100).await;
    let seen = timeout(TIMEOUT, cursor.read(1)).await.unwrap().unwrap();
    assert_eq!(seen.entries[0].offset, 1);
    assert_eq!(journal.stats().synced, 0);

    let appending = tokio::spawn(async move {
        for _ in 0..FRAMES {
            append(&appender, FRAME_BYTES).await;
        }
    });
    wait_until(|| {
        let stats = journal.stats();
        stats.appended_bytes > 20 << 20 && stats.queued_bytes > 7 << 20
    })
    .await;
    assert!(!appending.is_finished());
    assert!(journal.stats().appended_bytes < MAX_UNSYNCED_BYTES);

    disk.hold_syncs(false);
    appending.await.unwrap();
    wait_for_sync(&journal, 2 + FRAMES).await;
    journal.close().await.unwrap();
}

#[tokio::test]
async fn after_a_failed_sync_the_frames_are_written_again() {
    let disk = SimulatedDisk::default();
    let (journal, mut cursor) = open(&disk);
    disk.inject_fault(DiskFault::FailedSync, 0);
    append(&journal.appender(), 100).await;
    wait_for_sync(&journal, 1).await;

    drop((journal, cursor));
    (_, cursor) = open(&disk.after_power_loss(0));
    assert_eq!(cursor.read(1).await.unwrap().entries[0].offset, 0);
}

#[tokio::test]
async fn closing_a_journal_on_a_full_disk_says_what_is_lost() {
    let disk = SimulatedDisk::default();
    let (journal, _cursor) = open(&disk);
    let appender = journal.appender();
    disk.fill();
    append(&appender, 100).await;
    wait_for_trouble(&journal).await;
    append(&appender, 100).await;
    assert_eq!(journal.close().await.unwrap_err().unsynced, 2);
}

#[tokio::test]
async fn ended_is_ready_once_the_writer_thread_has_ended() {
    let (journal, _cursor) = open(&SimulatedDisk::default());
    let mut ended = std::pin::pin!(journal.ended());
    append(&journal.appender(), 10).await;
    wait_for_sync(&journal, 1).await;
    assert!(ended.as_mut().now_or_never().is_none(), "it works");
    journal.close().await.unwrap();
    timeout(TIMEOUT, ended).await.unwrap();
}
