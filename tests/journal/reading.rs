//! Readers beside a writer, and the end of a journal.

use central_forwarder::journal::{AppendError, Journal, MAX_PAYLOAD_BYTES, ReadError, Start};
use tempfile::TempDir;

use crate::stand::{
    WINDOW, all, append, frame, numbered, on_disk, open_one, read_numbers, stored, synced,
};

#[tokio::test]
async fn a_reader_keeps_up_with_a_writer() {
    let folder = TempDir::new().unwrap();
    let mut options = on_disk(folder.path());
    options.segment_bytes = 10_000;
    let names = [("one", Start::End), ("two", Start::End)];
    let (journal, cursors) = Journal::open(&options, &names).unwrap();
    let readers: Vec<_> = cursors
        .into_iter()
        .map(|mut cursor| {
            tokio::spawn(async move {
                let numbers = read_numbers(&mut cursor, 5000).await;
                cursor.committer().commit(5000);
                numbers
            })
        })
        .collect();
    append(&journal.appender(), 0..5000).await;
    for reader in readers {
        assert_eq!(reader.await.unwrap(), all(0..5000));
    }
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_waiting_reader_is_woken_and_a_timer_syncs() {
    let folder = TempDir::new().unwrap();
    let (journal, mut cursor) = open_one(&on_disk(folder.path()), Start::End);
    let appender = journal.appender();
    let (batch, ()) = tokio::join!(cursor.read(WINDOW), append(&appender, 0..1));
    assert_eq!(batch.unwrap().entries[0].frame, numbered(0));
    synced(&journal, 1).await;
    cursor.committer().commit(1);
    stored(&journal, "lake", 1).await;
    assert_eq!(journal.stats().syncs, 1);
}

#[tokio::test]
async fn a_read_that_is_given_up_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let (journal, mut cursor) = open_one(&on_disk(folder.path()), Start::End);
    append(&journal.appender(), 0..100).await;
    synced(&journal, 100).await;
    for _ in 0..100 {
        tokio::select! {
            biased;
            _ = cursor.read(WINDOW) => {
                cursor.seek(0);
            }
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(read_numbers(&mut cursor, 100).await, all(0..100));
}

#[tokio::test]
async fn large_records_pass_through_small_windows() {
    let folder = TempDir::new().unwrap();
    let (journal, mut cursor) = open_one(&on_disk(folder.path()), Start::End);
    let appender = journal.appender();
    let large = frame(vec![7; MAX_PAYLOAD_BYTES]);
    let appending = tokio::spawn({
        let (appender, large) = (appender.clone(), large.clone());
        async move {
            for frame in [&frame("before"), &large, &frame("after")] {
                appender.append(frame).await.unwrap();
            }
        }
    });
    let mut read = Vec::new();
    while read.len() < 3 {
        let batch = cursor.read(100).await.unwrap();
        read.extend(batch.entries.into_iter().map(|entry| entry.frame));
    }
    appending.await.unwrap();
    assert!(read == [frame("before"), large, frame("after")]);
    let beyond = frame(vec![7; MAX_PAYLOAD_BYTES + 1]);
    assert_eq!(appender.append(&beyond).await, Err(AppendError::TooLarge));
}

#[tokio::test]
async fn a_closed_journal_is_read_to_its_end() {
    let folder = TempDir::new().unwrap();
    let (journal, mut cursor) = open_one(&on_disk(folder.path()), Start::End);
    let appender = journal.appender();
    append(&appender, 0..10).await;
    journal.close().await.unwrap();
    assert_eq!(
        appender.append(&numbered(10)).await,
        Err(AppendError::Closed)
    );
    assert_eq!(read_numbers(&mut cursor, 10).await.len(), 10);
    assert!(matches!(cursor.read(WINDOW).await, Err(ReadError::Closed)));
}

#[tokio::test]
async fn a_dropped_journal_is_closed() {
    let folder = TempDir::new().unwrap();
    let (journal, cursor) = open_one(&on_disk(folder.path()), Start::End);
    append(&journal.appender(), 0..10).await;
    drop((journal, cursor));
    let (_journal, mut cursor) = open_one(&on_disk(folder.path()), Start::End);
    assert_eq!(read_numbers(&mut cursor, 10).await, all(0..10));
}
