//! What was sent, by stream.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{EVENTS, TOPICS};

/// What was sent on one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sent {
    /// Frames that were written to a socket.
    pub frames: u64,
    /// The highest number that was given to a frame; above `frames` while frames are being written,
    /// and where a connection broke before they were; below where subscribers each have a copy.
    pub last_sequence: u64,
}

#[derive(Debug)]
pub(super) struct Ledger {
    streams: BTreeMap<&'static str, Topic>,
}

#[derive(Debug, Default)]
pub(super) struct Topic {
    frames: AtomicU64,
    last_sequence: AtomicU64,
}

impl Ledger {
    pub(super) fn new() -> Self {
        let names = TOPICS.into_iter().chain(EVENTS);
        Self {
            streams: names.map(|name| (name, Topic::default())).collect(),
        }
    }

    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.streams.get(name)
    }

    pub(super) fn all(&self) -> BTreeMap<&'static str, Sent> {
        let sent = |(name, topic): (&&'static str, &Topic)| (*name, topic.sent());
        self.streams.iter().map(sent).collect()
    }
}

impl Topic {
    /// The first of so many new numbers.
    pub(super) fn number(&self, frames: u64) -> u64 {
        self.last_sequence.fetch_add(frames, Relaxed) + 1
    }

    /// A number that was given elsewhere.
    pub(super) fn numbered(&self, sequence: u64) {
        self.last_sequence.fetch_max(sequence, Relaxed);
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
