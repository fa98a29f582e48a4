//! What a journal keeps, and what it does when it is full.

use std::time::Duration;

use central_forwarder::config::{Backlog, OnFull};
use central_forwarder::frame::{Frame, Timestamp};
use central_forwarder::journal::{Journal, Start};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::stand::{
    A_WHILE, WINDOW, all, append, eventually, frame, in_memory, on_disk, open_one, read_numbers,
    segments, stored, synced,
};

#[tokio::test]
async fn a_full_journal_in_memory_drops_its_oldest_and_says_so() {
    let (journal, mut cursor) = open_one(&in_memory(64 << 10), Start::End);
    let appender = journal.appender();
    append(&appender, 0..10).await;
    assert_eq!(read_numbers(&mut cursor, 10).await.len(), 10);
    append(&appender, 10..10_000).await;
    synced(&journal, 10_000).await;
    let stats = journal.stats();
    assert!(stats.dropped_segments > 0);
    assert!(stats.bytes <= 64 << 10, "{}", stats.bytes);

    let batch = cursor.read(1).await.unwrap();
    assert_eq!(batch.entries[0].offset, 10 + batch.skipped);
    assert!(batch.skipped > 0);
    // Those that were read and not committed are gone for the sink too.
    assert_eq!(journal.stats().cursors[0].skipped, 10 + batch.skipped);
    let rest = read_numbers(&mut cursor, 10_000).await;
    let first = batch.entries.last().unwrap().offset + 1;
    assert_eq!(rest, all(first..10_000));
}

#[tokio::test]
async fn a_journal_in_memory_forgets_what_all_have_had() {
    let (journal, mut cursor) = open_one(&in_memory(64 << 10), Start::End);
    for round in 0..20 {
        let (first, end) = (round * 500, round * 500 + 500);
        append(&journal.appender(), first..end).await;
        assert_eq!(read_numbers(&mut cursor, end).await, all(first..end));
        cursor.committer().commit(end);
        stored(&journal, "lake", end).await;
    }
    assert_eq!(journal.stats().dropped_segments, 0);
}

#[tokio::test]
async fn a_sink_that_lags_too_far_behind_skips_alone_and_says_so() {
    let folder = TempDir::new().unwrap();
    let mut options = on_disk(folder.path());
    options.segment_bytes = 1000;
    let names = [("lake", Start::End), ("work", Start::End)];
    let (journal, mut cursors) = Journal::open(&options, &names).unwrap();
    let [lake, work] = &mut cursors[..] else {
        panic!()
    };
    lake.committer().limit(Backlog {
        max_bytes: 5000,
        on_full: OnFull::SkipOldest,
    });
    for number in 0..200 {
        append(&journal.appender(), number..number + 1).await;
        synced(&journal, number + 1).await;
    }
    let batch = lake.read(1).await.unwrap();
    let first = batch.entries[0].offset;
    assert_eq!(first, batch.skipped);
    let lag: usize = (first..200)
        .map(|number| 64 + number.to_string().len())
        .sum();
    assert!((3000..=5000).contains(&lag), "{lag} bytes behind");
    assert_eq!(journal.stats().cursors[0].skipped, first);
    stored(&journal, "lake", first).await;
    assert_eq!(read_numbers(lake, 200).await.last(), Some(&199));
    assert_eq!(read_numbers(work, 200).await, all(0..200));
}

#[tokio::test]
async fn a_sink_that_must_not_skip_makes_appenders_wait() {
    const FRAME_BYTES: usize = 1 << 20;
    const FRAMES: u64 = 20;
    let folder = TempDir::new().unwrap();
    let (journal, mut cursor) = open_one(&on_disk(folder.path()), Start::End);
    cursor.committer().limit(Backlog {
        max_bytes: 4 << 20,
        on_full: OnFull::Block,
    });
    let appender = journal.appender();
    let appending = tokio::spawn(async move {
        for _ in 0..FRAMES {
            appender.append(&frame(vec![7; FRAME_BYTES])).await.unwrap();
        }
    });
    eventually(|| journal.stats().queued_bytes > 7 << 20).await;
    assert!(!appending.is_finished());
    let mut read = 0;
    while read < FRAMES {
        let batch = timeout(A_WHILE, cursor.read(WINDOW))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((batch.skipped, batch.entries[0].offset), (0, read));
        read += batch.entries.len() as u64;
        cursor.committer().commit(read);
    }
    appending.await.unwrap();
}

#[tokio::test]
async fn what_all_have_had_is_kept_for_the_time_that_was_asked_for() {
    let folder = TempDir::new().unwrap();
    let mut options = on_disk(folder.path());
    options.segment_bytes = 500;
    options.retain = Duration::from_secs(3600);
    let (journal, mut cursor) = open_one(&options, Start::End);
    let mut end = 0;
    for received_at in [Timestamp(0), Timestamp::now()] {
        for _ in 0..50 {
            let frame = Frame {
                received_at,
                ..frame("x")
            };
            journal.appender().append(&frame).await.unwrap();
            end += 1;
            synced(&journal, end).await;
        }
    }
    let mut read = 0;
    while read < end {
        let batch = timeout(A_WHILE, cursor.read(WINDOW))
            .await
            .unwrap()
            .unwrap();
        read += batch.entries.len() as u64;
    }
    let before = journal.stats();
    cursor.committer().commit(end);
    journal.close().await.unwrap();
    let kept = segments(folder.path()).len();
    assert_eq!((before.segments, kept), (12, 7));
}
