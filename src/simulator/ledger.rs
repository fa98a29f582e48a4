//! What was sent, by topic.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::TOPICS;

/// What was sent on one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames that were written to a socket.
    pub frames: u64,
    /// The highest number that was given to a frame; above `frames` while frames are being written,
    /// and where a connection broke before they were.
    pub last_sequence: u64,
}

#[derive(Debug)]
pub(super) struct Ledger {
    topics: BTreeMap<&'static str, Topic>,
}

#[derive(Debug, Default)]
pub(super) struct Topic {
    frames: AtomicU64,
    last_sequence: AtomicU64,
}

impl Ledger {
    pub(super) fn new() -> Self {
        let topics = TOPICS.map(|topic| (topic, Topic::default()));
        Self {
            topics: topics.into(),
        }
    }

    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    pub(super) fn all(&self) -> BTreeMap<&'static str, Sent> {
        let sent = |(name, topic): (&&'static str, &Topic)| (*name, topic.sent());
        self.topics.iter().map(sent).collect()
    }
}

impl Topic {
    pub(super) fn next_sequence(&self) -> u64 {
        self.last_sequence.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn wrote(&self, frames: u64) {
        self.frames.fetch_add(frames, Relaxed);
    }

    fn sent(&self) -> Sent {
        Sent {
            frames: self.frames.load(Relaxed),
            last_sequence: self.last_sequence.load(Relaxed),
        }
    }
}
