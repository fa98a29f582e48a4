//! The same bytes, synced at the same pace: through the journal, and plainly into files.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use central_forwarder::frame::{Frame, Stream, SubscriptionId, Timestamp};
use central_forwarder::journal::{Journal, Location, Options};
use tokio::runtime::Runtime;

use super::Pair;

/// A usual frame of the monitoring topic.
const FRAME_BYTES: usize = 2400;
/// Enough for the last sync, which comes by the timer, not to count.
const FRAMES: u64 = 1_000_000;
const SYNC_INTERVAL: Duration = Duration::from_millis(100);
const FILE_BYTES: u64 = 64 << 20;
/// Both sides keep so many files, and remove the oldest for each new one: what is measured is the
/// disk, and not how fast the machine finds memory for a page cache that grows.
const FILES: u64 = 8;
/// What the journal writes at once too; with pieces of mebibytes Linux is slower.
const PIECE_BYTES: usize = 256 << 10;

pub(super) fn measure(turns: usize) -> Pair {
    let runtime = Runtime::new().expect("a runtime starts");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let options = Options {
        location: Location::Directory(folder.path().join("journal")),
        segment_bytes: FILE_BYTES,
        sync_interval: SYNC_INTERVAL,
        max_bytes: Some(FILES * FILE_BYTES),
        retain: Duration::ZERO,
    };
    let (journal, _) = Journal::open(&options, &[]).expect("the journal opens");
    let mut plain = Plain::new(folder.path().join("plain"));
    let mut pair = Pair::default();
    // The first turn fills both with files, and does not count.
    for turn in 0..=turns {
        let before = journal.stats().appended_bytes;
        let took = runtime.block_on(append_until_synced(&journal));
        let bytes = journal.stats().appended_bytes - before;
        let plainly = plain.write_until_synced(bytes);
        if turn > 0 {
            pair.ours.push(mebibytes_a_second(bytes, took));
            pair.other.push(mebibytes_a_second(bytes, plainly));
        }
    }
    pair
}

async fn append_until_synced(journal: &Journal) -> Duration {
    let stream = Stream::parse("classic/monitoring").expect("it is a stream");
    let frame = Frame {
        subscription: SubscriptionId::new("acme", stream),
        received_at: Timestamp(1_700_000_000_000_000),
        payload: Bytes::from(vec![0x5A; FRAME_BYTES]),
    };
    let began = Instant::now();
    let appender = journal.appender();
    for _ in 0..FRAMES {
        appender.append(&frame).await.expect("the journal is open");
    }
    let end = journal.end();
    let mut progress = journal.progress();
    let synced = progress.wait_for(|progress| progress.synced >= end).await;
    synced.expect("the journal is open");
    began.elapsed()
}

struct Plain {
    folder: PathBuf,
    files: VecDeque<PathBuf>,
    made: u64,
}

impl Plain {
    fn new(folder: PathBuf) -> Self {
        fs::create_dir(&folder).expect("a folder can be made");
        Self {
            folder,
            files: VecDeque::new(),
            made: 0,
        }
    }

    fn write_until_synced(&mut self, bytes: u64) -> Duration {
        let piece = vec![0x5A; PIECE_BYTES];
        let began = Instant::now();
        let (mut file, mut room) = (self.next(), FILE_BYTES);
        let (mut left, mut synced_at) = (bytes, Instant::now());
        while left > 0 {
            if room == 0 {
                file.sync_data().expect("it can be synced");
                (file, room) = (self.next(), FILE_BYTES);
            }
            let len = left.min(room).min(PIECE_BYTES as u64);
            let part = usize::try_from(len).expect("a piece is small");
            file.write_all(&piece[..part]).expect("it can be written");
            (left, room) = (left - len, room - len);
            if synced_at.elapsed() >= SYNC_INTERVAL {
                file.sync_data().expect("it can be synced");
                synced_at = Instant::now();
            }
        }
        file.sync_data().expect("it can be synced");
        began.elapsed()
    }

    fn next(&mut self) -> File {
        let path = self.folder.join(self.made.to_string());
        let file = File::create(&path).expect("a file can be made");
        sync_folder(&self.folder);
        self.made += 1;
        self.files.push_back(path);
        if self.files.len() as u64 > FILES {
            let oldest = self.files.pop_front().expect("there are some");
            fs::remove_file(oldest).expect("it can be removed");
        }
        file
    }
}

fn sync_folder(folder: &Path) {
    let opened = File::open(folder).expect("the folder is there");
    opened.sync_all().expect("it can be synced");
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn mebibytes_a_second(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / f64::from(1 << 20) / took.as_secs_f64()
}
