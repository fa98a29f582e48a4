//! Cursors: where they begin, go on, are rewound to, and which segments they keep.

use std::fs;
use std::time::Duration;

use central_forwarder::journal::{Journal, OpenError, Start};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::stand::{
    A_WHILE, WINDOW, all, append, eventually, in_memory, on_disk, open_one, read_numbers, segments,
    stored, synced,
};

#[tokio::test]
async fn segments_are_removed_when_all_cursors_are_past() {
    let folder = TempDir::new().unwrap();
    let mut options = on_disk(folder.path());
    options.segment_bytes = 500;
    let names = [("fast", Start::End), ("slow", Start::End)];
    let (journal, mut cursors) = Journal::open(&options, &names).unwrap();
    for number in 0..100 {
        append(&journal.appender(), number..number + 1).await;
        synced(&journal, number + 1).await;
    }
    assert!(segments(folder.path()).len() > 5);
    let [fast, slow] = &mut cursors[..] else {
        panic!()
    };

    read_numbers(fast, 100).await;
    fast.committer().commit(100);
    stored(&journal, "fast", 100).await;
    assert_eq!(
        segments(folder.path())[0].file_stem().unwrap(),
        "00000000000000000000"
    );

    assert_eq!(read_numbers(slow, 100).await, all(0..100));
    slow.committer().commit(100);
    eventually(|| segments(folder.path()).len() == 1).await;
    assert_eq!(journal.stats().segments, 1);
    append(&journal.appender(), 100..110).await;
    assert_eq!(read_numbers(slow, 110).await, all(100..110));
}

#[tokio::test]
async fn a_cursor_goes_on_after_a_restart() {
    let folder = TempDir::new().unwrap();
    for round in 0..5 {
        let (journal, mut cursor) = open_one(&on_disk(folder.path()), Start::End);
        append(&journal.appender(), round * 10..round * 10 + 10).await;
        let first = round * 10 - round.min(1) * 3;
        let read = read_numbers(&mut cursor, round * 10 + 10).await;
        assert_eq!(read, all(first..round * 10 + 10));
        cursor.committer().commit(round * 10 + 7);
        journal.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_cursor_whose_sink_is_gone_keeps_no_segment() {
    let folder = TempDir::new().unwrap();
    let mut options = on_disk(folder.path());
    options.segment_bytes = 500;
    let names = [("lake", Start::End), ("gone", Start::End)];
    let (journal, _cursors) = Journal::open(&options, &names).unwrap();
    for number in 0..30 {
        append(&journal.appender(), number..number + 1).await;
        synced(&journal, number + 1).await;
    }
    journal.close().await.unwrap();

    let (journal, mut cursor) = open_one(&options, Start::End);
    assert_eq!(read_numbers(&mut cursor, 30).await.len(), 30);
    cursor.committer().commit(30);
    eventually(|| segments(folder.path()).len() == 1).await;
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_new_cursor_begins_at_the_end_or_at_the_oldest() {
    let folder = TempDir::new().unwrap();
    let (journal, _cursor) = open_one(&on_disk(folder.path()), Start::End);
    append(&journal.appender(), 0..10).await;
    journal.close().await.unwrap();

    let names = [
        ("late", Start::End),
        ("all", Start::Oldest),
        ("lake", Start::End),
    ];
    let (journal, mut cursors) = Journal::open(&on_disk(folder.path()), &names).unwrap();
    append(&journal.appender(), 10..20).await;
    for (cursor, first) in cursors.iter_mut().zip([10, 0, 0]) {
        assert_eq!(read_numbers(cursor, 20).await, all(first..20));
    }
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_seek_reads_again_from_there() {
    let folder = TempDir::new().unwrap();
    let mut options = on_disk(folder.path());
    options.segment_bytes = 500;
    let (journal, mut cursor) = open_one(&options, Start::End);
    append(&journal.appender(), 0..100).await;
    let mut read = 0;
    while read < 100 {
        read = cursor
            .read(150)
            .await
            .unwrap()
            .entries
            .last()
            .unwrap()
            .offset
            + 1;
    }
    for offset in [99, 57, 56, 0] {
        cursor.seek(offset);
        assert_eq!(read_numbers(&mut cursor, 100).await, all(offset..100));
    }
    cursor.committer().commit(42);
    cursor.seek(42);
    assert_eq!(read_numbers(&mut cursor, 100).await, all(42..100));
}

#[tokio::test]
async fn a_cursor_beyond_the_end_makes_the_journal_go_on_behind_it() {
    let folder = TempDir::new().unwrap();
    let (journal, mut cursor) = open_one(&on_disk(folder.path()), Start::End);
    append(&journal.appender(), 0..10).await;
    read_numbers(&mut cursor, 10).await;
    cursor.committer().commit(10);
    journal.close().await.unwrap();
    let segment = fs::OpenOptions::new()
        .write(true)
        .open(&segments(folder.path())[0])
        .unwrap();
    segment.set_len(100).unwrap();

    let names = [("lake", Start::End), ("all", Start::Oldest)];
    let (journal, mut cursors) = Journal::open(&on_disk(folder.path()), &names).unwrap();
    assert_eq!(journal.stats().end, 10);
    append(&journal.appender(), 10..12).await;
    let [lake, all] = &mut cursors[..] else {
        panic!()
    };
    let batch = lake.read(WINDOW).await.unwrap();
    assert_eq!((batch.entries[0].offset, batch.damaged), (10, 0));
    let batch = all.read(WINDOW).await.unwrap();
    assert_eq!((batch.entries[0].offset, batch.entries.len()), (0, 1));
    let batch = all.read(WINDOW).await.unwrap();
    assert_eq!((batch.entries[0].offset, batch.damaged), (10, 9));
}

/// The segments go as soon as the cursor is stored; it is moved back in just that moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewind_that_is_granted_finds_its_records_though_segments_are_being_removed() {
    const ROUNDS: u64 = 400;
    const FRAMES: u64 = 50;
    let mut options = in_memory(64 << 20);
    options.segment_bytes = 1;
    options.sync_interval = Duration::from_millis(1);
    let (journal, mut cursor) = open_one(&options, Start::End);
    let mut committer = cursor.committer();
    let mut granted_late = 0;
    for round in 1..=ROUNDS {
        let (end, begun) = (round * FRAMES, journal.end());
        let mut progress = journal.progress();
        for number in begun..end {
            append(&journal.appender(), number..number + 1).await;
            let written = progress.wait_for(|progress| progress.written > number);
            timeout(A_WHILE, written).await.unwrap().unwrap();
        }
        let from = committer.committed();
        assert_eq!(read_numbers(&mut cursor, end).await, all(from..end));
        committer.commit(end);
        while journal.stats().cursors[0].stored < end {}
        for _ in 0..round * 10 {
            std::hint::spin_loop();
        }
        let mut to = from;
        while let Err(outside) = committer.rewind(to) {
            to = outside.oldest;
        }
        granted_late += u64::from(to > from && to < end);
        assert!(committer.renew());
        cursor.seek(to);
        if to < end {
            let batch = timeout(A_WHILE, cursor.read(1)).await.unwrap().unwrap();
            assert_eq!((batch.skipped, batch.entries[0].offset), (0, to));
            cursor.seek(to);
        }
    }
    println!("{granted_late} of {ROUNDS} rewinds were granted while segments were being removed");
}

#[tokio::test]
async fn one_name_has_one_cursor() {
    let twice = Journal::open(
        &in_memory(1 << 20),
        &[("lake", Start::End), ("lake", Start::End)],
    );
    assert!(matches!(twice, Err(OpenError::InUse(name)) if name == "lake"));
}
