//! What a frame costs on its way into the journal, and out again.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use central_forwarder::frame::{Frame, Stream, SubscriptionId, Timestamp};
use central_forwarder::journal::{Cursor, Journal, Location, Options, Start};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A usual frame of the monitoring topic.
const FRAME_BYTES: usize = 2400;
/// Frames of one round.
const FRAMES: u64 = 1000;
const WINDOW_BYTES: usize = 1 << 20;
/// Frames of a round that ends with a sync.
const SYNCED_FRAMES: u64 = 500_000;
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

fn frame() -> Frame {
    let stream = Stream::parse("classic/monitoring").expect("it is a stream");
    Frame {
        subscription: SubscriptionId::new("acme", stream),
        received_at: Timestamp(1_700_000_000_000_000),
        payload: Bytes::from(vec![0x5A; FRAME_BYTES]),
    }
}

fn options(location: Location) -> Options {
    Options {
        location,
        segment_bytes: 64 << 20,
        sync_interval: SYNC_INTERVAL,
        max_bytes: None,
        retain: Duration::ZERO,
    }
}

fn open(location: Location) -> (Journal, Cursor) {
    let (journal, mut cursors) =
        Journal::open(&options(location), &[("lake", Start::End)]).expect("the journal opens");
    (journal, cursors.remove(0))
}

async fn round(journal: &Journal, cursor: &mut Cursor, frame: &Frame) {
    let appender = journal.appender();
    let end = cursor.committer().committed() + FRAMES;
    let appending = async {
        for _ in 0..FRAMES {
            appender.append(frame).await.expect("the journal is open");
        }
    };
    let reading = async {
        let mut next = 0;
        while next < end {
            let batch = cursor
                .read(WINDOW_BYTES)
                .await
                .expect("the journal is open");
            next = batch.entries.last().map_or(next, |last| last.offset + 1);
            black_box(batch);
        }
        cursor.committer().commit(end);
    };
    tokio::join!(appending, reading);
}

fn append_and_read(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let frame = frame();
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(FRAMES));
    let locations = [
        ("disk", Location::Directory(folder.path().to_owned())),
        ("memory", Location::Memory { bytes: 256 << 20 }),
    ];
    for (name, location) in locations {
        let (journal, mut cursor) = open(location);
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(round(&journal, &mut cursor, &frame)));
        });
    }
    group.finish();
}

/// The same bytes, synced at the same pace: through the journal, and plainly into a file.
fn append_beside_a_plain_file(criterion: &mut Criterion) {
    const BYTES: u64 = SYNCED_FRAMES * FRAME_BYTES as u64;
    let runtime = Runtime::new().expect("a runtime starts");
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let frame = frame();
    let mut group = criterion.benchmark_group("append until synced");
    group.sample_size(10).throughput(Throughput::Bytes(BYTES));
    // Nobody reads: what is in a segment before the last is removed.
    let (journal, _) = Journal::open(
        &options(Location::Directory(folder.path().join("journal"))),
        &[],
    )
    .expect("the journal opens");
    group.bench_function("journal", |bencher| {
        bencher.iter(|| runtime.block_on(append_until_synced(&journal, &frame)));
    });
    group.bench_function("plain file", |bencher| {
        bencher.iter(|| write_until_synced(&folder.path().join("plain"), BYTES));
    });
    group.finish();
}

async fn append_until_synced(journal: &Journal, frame: &Frame) {
    let appender = journal.appender();
    for _ in 0..SYNCED_FRAMES {
        appender.append(frame).await.expect("the journal is open");
    }
    let end = journal.end();
    let mut progress = journal.progress();
    let synced = progress.wait_for(|progress| progress.synced >= end).await;
    synced.expect("the journal is open");
}

fn write_until_synced(path: &Path, bytes: u64) {
    let chunk = vec![0x5A; 1 << 20];
    let mut file = File::create(path).expect("a file can be made");
    let (mut left, mut synced_at) = (bytes, Instant::now());
    while left > 0 {
        let part = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
        file.write_all(&chunk[..part]).expect("it can be written");
        left -= part as u64;
        if synced_at.elapsed() >= SYNC_INTERVAL {
            file.sync_data().expect("it can be synced");
            synced_at = Instant::now();
        }
    }
    file.sync_data().expect("it can be synced");
}

criterion_group!(benches, append_and_read, append_beside_a_plain_file);
criterion_main!(benches);
