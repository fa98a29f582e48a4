//! A journal in memory, and the frames that are put into it.

use std::collections::VecDeque;
use std::time::Duration;

use central_forwarder::frame::Frame;
use central_forwarder::journal::{Appender, Cursor, Journal, Location, Options, Start};
use tokio::time::timeout;

const BYTES: u64 = 512 << 20;
const READ_BYTES: usize = 1 << 20;

pub(crate) struct Inbox {
    journal: Journal,
    cursor: Cursor,
    waiting: VecDeque<Frame>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        let options = Options {
            location: Location::Memory { bytes: BYTES },
            segment_bytes: BYTES,
            sync_interval: Duration::from_millis(1),
            max_bytes: None,
            retain: Duration::ZERO,
        };
        let (journal, mut cursors) = Journal::open(&options, &[("inbox", Start::Oldest)]).unwrap();
        Self {
            journal,
            cursor: cursors.pop().unwrap(),
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn appender(&self) -> Appender {
        self.journal.appender()
    }

    /// The next frame; fails the test if none comes.
    pub(crate) async fn next(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                return frame;
            }
            let read = self.cursor.read(READ_BYTES);
            let batch = timeout(Duration::from_secs(20), read)
                .await
                .expect("a frame arrives")
                .unwrap();
            self.waiting
                .extend(batch.entries.into_iter().map(|entry| entry.frame));
        }
    }

    pub(crate) async fn close(self) {
        drop(self.cursor);
        self.journal.close().await.unwrap();
    }
}
