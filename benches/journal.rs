//! What a frame costs on its way into the journal, and out again.

use std::hint::black_box;
use std::time::Duration;

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

criterion_group!(benches, append_and_read);
criterion_main!(benches);
