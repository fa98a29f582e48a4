//! What a journal makes of its files after a kill, a torn tail and damage.

use std::fs;

use bytes::Bytes;
use central_forwarder::frame::{Frame, Stream, SubscriptionId, Timestamp};
use central_forwarder::journal::{Journal, LossCause, OpenError, Recovery, Start};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::stand::{
    A_WHILE, WINDOW, all, append, copy, frame, in_memory, on_disk, open_one, read_numbers,
    segments, stored, synced,
};

#[tokio::test]
async fn frames_are_read_back_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let frames = [
        frame("one"),
        frame(""),
        Frame {
            subscription: SubscriptionId::new("globex", Stream::parse("new/a/v1/b").unwrap()),
            received_at: Timestamp(-1),
            payload: Bytes::from(vec![0xF7; 10_000]),
        },
    ];
    let (journal, _cursor) = open_one(&on_disk(folder.path()), Start::End);
    for frame in &frames {
        journal.appender().append(frame).await.unwrap();
    }
    journal.close().await.unwrap();

    let (_journal, mut cursor) = open_one(&on_disk(folder.path()), Start::End);
    let batch = cursor.read(WINDOW).await.unwrap();
    assert_eq!((batch.skipped, batch.damaged), (0, 0));
    let read: Vec<_> = batch
        .entries
        .into_iter()
        .map(|entry| (entry.offset, entry.frame))
        .collect();
    assert_eq!(read, (0..).zip(frames).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_torn_tail_is_cut_wherever_it_is_torn() {
    let folder = TempDir::new().unwrap();
    let (journal, _cursor) = open_one(&on_disk(folder.path()), Start::End);
    append(&journal.appender(), 0..2).await;
    synced(&journal, 2).await;
    let whole = segments(folder.path())[0].metadata().unwrap().len();
    append(&journal.appender(), 2..3).await;
    journal.close().await.unwrap();
    let end = segments(folder.path())[0].metadata().unwrap().len();

    for len in whole..end {
        let copy = copy(folder.path());
        let segment = fs::OpenOptions::new()
            .write(true)
            .open(&segments(copy.path())[0])
            .unwrap();
        segment.set_len(len).unwrap();
        let (journal, mut cursor) = open_one(&on_disk(copy.path()), Start::End);
        assert_eq!(journal.recovery().incomplete_bytes, len - whole);
        append(&journal.appender(), 2..4).await;
        assert_eq!(read_numbers(&mut cursor, 4).await, [0, 1, 2, 3]);
        journal.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_was_written_survives_a_kill() {
    let folder = TempDir::new().unwrap();
    let mut options = on_disk(folder.path());
    options.segment_bytes = 2000;
    let (journal, mut cursor) = open_one(&options, Start::End);
    append(&journal.appender(), 0..100).await;
    assert_eq!(read_numbers(&mut cursor, 50).await[..50], all(0..50));
    cursor.committer().commit(50);
    stored(&journal, "lake", 50).await;
    append(&journal.appender(), 100..200).await;
    synced(&journal, 200).await;

    let left = copy(folder.path());
    let (journal, mut cursor) = open_one(&on_disk(left.path()), Start::End);
    let recovered = Recovery {
        last_received: Some(Timestamp(1_700_000_000_000_000)),
        ..Recovery::default()
    };
    assert_eq!(journal.recovery(), &recovered);
    assert_eq!(read_numbers(&mut cursor, 200).await, all(50..200));
}

#[tokio::test]
async fn damage_costs_the_records_of_that_place_alone() {
    let folder = TempDir::new().unwrap();
    let mut options = on_disk(folder.path());
    options.segment_bytes = 100;
    let (journal, _cursor) = open_one(&options, Start::End);
    for number in 0..6 {
        append(&journal.appender(), number..number + 1).await;
        synced(&journal, number + 1).await;
    }
    journal.close().await.unwrap();
    let count = segments(folder.path()).len();
    assert_eq!(count, 3);

    for segment in 0..count {
        let len = segments(folder.path())[segment].metadata().unwrap().len();
        for position in 0..usize::try_from(len).unwrap() {
            let copy = copy(folder.path());
            let path = &segments(copy.path())[segment];
            let mut bytes = fs::read(path).unwrap();
            bytes[position] ^= 0x10;
            fs::write(path, bytes).unwrap();

            let (journal, mut cursor) = open_one(&on_disk(copy.path()), Start::End);
            let end = journal.stats().end;
            append(&journal.appender(), end..7).await;
            let (mut numbers, mut named) = (Vec::new(), Vec::new());
            while numbers.last() != Some(&6) {
                let batch = timeout(A_WHILE, cursor.read(WINDOW))
                    .await
                    .unwrap()
                    .unwrap();
                let first = batch.entries[0].offset;
                named.extend(first - batch.damaged..first);
                numbers.extend(batch.entries.iter().map(|entry| entry.offset));
            }
            let lost: Vec<u64> = (0..7).filter(|number| !numbers.contains(number)).collect();
            let torn = journal.recovery().incomplete_bytes;
            let what = format!("segment {segment} byte {position}: {numbers:?} {named:?} {torn}");
            // The last record of all is cut off, and its number given again.
            assert!(named.len() == 1 || torn > 0, "{what}");
            assert_eq!(lost, named, "{what}");
            assert!(numbers.is_sorted(), "{what}");
            let kept = fs::read_dir(copy.path().join("damaged")).unwrap();
            assert_eq!(kept.count(), 1, "{what}");
        }
    }
}

#[tokio::test]
async fn damage_at_the_very_end_is_passed_over_too() {
    let folder = TempDir::new().unwrap();
    let (journal, mut cursor) = open_one(&on_disk(folder.path()), Start::End);
    append(&journal.appender(), 0..3).await;
    synced(&journal, 3).await;
    let path = &segments(folder.path())[0];
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();

    assert_eq!(read_numbers(&mut cursor, 2).await, all(0..2));
    let batch = timeout(A_WHILE, cursor.read(WINDOW)).await;
    let batch = batch.unwrap().unwrap();
    assert_eq!((batch.from, batch.end, batch.damaged), (2, 3, 1));
    assert_eq!(batch.entries, []);
    let committer = cursor.committer();
    committer.commit(3);
    assert_eq!(committer.committed(), 3);
    let loss = timeout(A_WHILE, committer.losses().next()).await.unwrap();
    let cause = LossCause::Damaged;
    assert_eq!((loss.cause, loss.records, loss.first), (cause, 1, 2));

    append(&journal.appender(), 3..4).await;
    assert_eq!(read_numbers(&mut cursor, 1).await, all(3..4));
    assert_eq!(journal.stats().cursors[0].damaged, 1);
}

#[tokio::test]
async fn what_is_skipped_is_counted_once_however_often_it_is_read_over() {
    let (journal, mut cursor) = open_one(&in_memory(64 << 10), Start::End);
    let committer = cursor.committer();
    let mut losses = committer.losses();
    for end in [2000, 4000] {
        let from = journal.end();
        append(&journal.appender(), from..end).await;
        synced(&journal, end).await;
        for _ in 0..2 {
            cursor.seek(0);
            assert!(cursor.read(1).await.unwrap().skipped > 0);
        }
    }
    let skipped = journal.stats().cursors[0].skipped;
    assert_eq!(skipped, committer.committed());
    let loss = timeout(A_WHILE, losses.next()).await.unwrap();
    let cause = LossCause::Skipped;
    let expected = (cause, skipped, 0, skipped);
    assert_eq!((loss.cause, loss.records, loss.first, loss.end), expected);
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let folder = TempDir::new().unwrap();
    let (journal, cursor) = open_one(&on_disk(folder.path()), Start::End);
    let second = Journal::open(&on_disk(folder.path()), &[]);
    assert!(matches!(
        second,
        Err(OpenError::Locked { folder: locked, pid: Some(pid) })
            if locked == folder.path() && pid == std::process::id()
    ));
    journal.close().await.unwrap();
    Journal::open(&on_disk(folder.path()), &[]).unwrap();
    drop(cursor);
}

#[tokio::test]
async fn numbers_say_what_is_there() {
    let folder = TempDir::new().unwrap();
    let (journal, mut cursor) = open_one(&on_disk(folder.path()), Start::End);
    append(&journal.appender(), 0..10).await;
    synced(&journal, 10).await;
    read_numbers(&mut cursor, 10).await;
    cursor.committer().commit(4);
    let stats = journal.stats();
    let on_disk = segments(folder.path())[0].metadata().unwrap().len();
    assert_eq!((stats.end, stats.synced, stats.segments), (10, 10, 1));
    assert_eq!((stats.bytes, stats.appended_bytes), (on_disk, on_disk));
    assert_eq!((stats.appended_records, stats.queued_bytes), (10, 0));
    assert_eq!(stats.oldest, Some(Timestamp(1_700_000_000_000_000)));
    assert_eq!(stats.trouble, None);
    assert_eq!((stats.cursors[0].committed, stats.cursors[0].lag), (4, 6));
}

#[tokio::test]
async fn a_record_of_a_kind_that_is_not_known_is_passed_over_and_counted() {
    let folder = TempDir::new().unwrap();
    let (journal, _cursor) = open_one(&on_disk(folder.path()), Start::End);
    append(&journal.appender(), 0..3).await;
    journal.close().await.unwrap();
    let path = &segments(folder.path())[0];
    let mut bytes = fs::read(path).unwrap();
    let record = bytes.len() / 3;
    bytes[record + 12] = 99;
    let checksum = crc32c::crc32c(&bytes[record + 8..2 * record]);
    bytes[record + 4..record + 8].copy_from_slice(&checksum.to_le_bytes());
    fs::write(path, bytes).unwrap();

    let (journal, mut cursor) = open_one(&on_disk(folder.path()), Start::End);
    let batch = timeout(A_WHILE, cursor.read(WINDOW))
        .await
        .unwrap()
        .unwrap();
    let offsets: Vec<u64> = batch.entries.iter().map(|entry| entry.offset).collect();
    assert_eq!((offsets, batch.unknown, batch.damaged), (vec![0, 2], 1, 0));
    assert_eq!(journal.stats().cursors[0].unknown, 1);
    // What is read again is not counted again.
    cursor.seek(0);
    timeout(A_WHILE, cursor.read(WINDOW))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(journal.stats().cursors[0].unknown, 1);
}
