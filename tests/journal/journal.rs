//! The journal as the daemon uses it: through its public interface, on a real disk and in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use central_forwarder::config::{Backlog, OnFull};
use central_forwarder::frame::{Frame, Stream, SubscriptionId, Timestamp};
use central_forwarder::journal::{
    AppendError, Appender, Cursor, Journal, Location, LossCause, MAX_PAYLOAD_BYTES, OpenError,
    Options, ReadError, Recovery, Start,
};
use tempfile::TempDir;
use tokio::time::timeout;

const WINDOW: usize = 64 << 10;
const A_WHILE: Duration = Duration::from_secs(30);

fn on_disk(folder: &Path) -> Options {
    Options {
        location: Location::Directory(folder.to_owned()),
        segment_bytes: 1 << 20,
        sync_interval: Duration::from_millis(5),
        max_bytes: None,
        retain: Duration::ZERO,
    }
}

fn in_memory(bytes: u64) -> Options {
    Options {
        location: Location::Memory { bytes },
        segment_bytes: 64 << 20,
        sync_interval: Duration::from_millis(5),
        max_bytes: None,
        retain: Duration::ZERO,
    }
}

fn frame(payload: impl Into<Bytes>) -> Frame {
    let stream = Stream::parse("classic/monitoring").unwrap();
    Frame {
        subscription: SubscriptionId::new("acme", stream),
        received_at: Timestamp(1_700_000_000_000_000),
        payload: payload.into(),
    }
}

fn numbered(number: u64) -> Frame {
    frame(format!("frame {number}"))
}

fn all(numbers: std::ops::Range<u64>) -> Vec<u64> {
    numbers.collect()
}

async fn append(appender: &Appender, numbers: std::ops::Range<u64>) {
    for number in numbers {
        appender.append(&numbered(number)).await.unwrap();
    }
}

/// Waits until everything below `offset` survives the loss of power.
async fn synced(journal: &Journal, offset: u64) {
    let mut progress = journal.progress();
    let done = progress.wait_for(|progress| progress.synced >= offset);
    timeout(A_WHILE, done).await.unwrap().unwrap();
}

/// Reads the numbered frames up to `end`, and checks that each is where its number says.
async fn read_numbers(cursor: &mut Cursor, end: u64) -> Vec<u64> {
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

async fn stored(journal: &Journal, name: &str, offset: u64) {
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
async fn eventually(mut condition: impl FnMut() -> bool) {
    let looking = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(A_WHILE, looking).await.expect("it never came true");
}

fn segments(folder: &Path) -> Vec<PathBuf> {
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
fn copy(from: &Path) -> TempDir {
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

fn open_one(options: &Options, start: Start) -> (Journal, Cursor) {
    let (journal, mut cursors) = Journal::open(options, &[("lake", start)]).unwrap();
    (journal, cursors.remove(0))
}

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
        assert_eq!(journal.recovery().torn_bytes, len - whole);
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
            let torn = journal.recovery().torn_bytes;
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
async fn one_name_has_one_cursor() {
    let twice = Journal::open(
        &in_memory(1 << 20),
        &[("lake", Start::End), ("lake", Start::End)],
    );
    assert!(matches!(twice, Err(OpenError::InUse(name)) if name == "lake"));
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
