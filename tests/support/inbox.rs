//! A journal in memory, and the frames that are put into it.

use std::collections::VecDeque;
use std::time::Duration;

use central_forwarder::config::{Backlog, OnFull};
use central_forwarder::frame::{Frame, Stream};
use central_forwarder::journal::{Appender, Cursor, Journal, Location, Options, Start};
use serde_json::Value;
use tokio::time::timeout;

const BYTES: u64 = 512 << 20;
const READ_BYTES: usize = 1 << 20;

pub struct Inbox {
    journal: Journal,
    cursor: Cursor,
    waiting: VecDeque<Frame>,
    gaps: VecDeque<Value>,
}

impl Inbox {
    pub fn new() -> Self {
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
            gaps: VecDeque::new(),
        }
    }

    /// One that takes no more, once so many bytes were not read.
    pub fn holding(max_bytes: u64) -> Self {
        let inbox = Self::new();
        inbox.cursor.committer().limit(Backlog {
            max_bytes,
            on_full: OnFull::Block,
        });
        inbox
    }

    pub fn appender(&self) -> Appender {
        self.journal.appender()
    }

    /// The next frame of Central; fails the test if none comes.
    pub async fn next(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                return frame;
            }
            self.read().await;
        }
    }

    /// The next gap; fails the test if none comes.
    pub async fn next_gap(&mut self) -> Value {
        loop {
            if let Some(gap) = self.gaps.pop_front() {
                return gap;
            }
            self.read().await;
        }
    }

    /// The gaps that were told among the frames so far.
    pub fn gaps(&self) -> usize {
        self.gaps.len()
    }

    async fn read(&mut self) {
        let read = self.cursor.read(READ_BYTES);
        let batch = timeout(Duration::from_secs(20), read)
            .await
            .expect("a frame arrives")
            .unwrap();
        self.cursor.committer().commit(batch.end);
        for entry in batch.entries {
            match entry.frame.subscription.stream() {
                Stream::Internal(_) => {
                    let gap = serde_json::from_slice(&entry.frame.payload).unwrap();
                    self.gaps.push_back(gap);
                }
                _ => self.waiting.push_back(entry.frame),
            }
        }
    }

    pub async fn close(self) {
        drop(self.cursor);
        self.journal.close().await.unwrap();
    }
}
