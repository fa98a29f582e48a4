//! Counts what was sent, by stream.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::simulator::{EVENTS, TOPICS};

/// The frames that were sent on one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SentFrames {
    /// Frames that were written to a socket.
    pub frames: u64,
    /// The highest number that a frame was given. It exceeds `frames` while frames are being written, or
    /// if a connection broke before they were; it is lower if several subscribers get copies.
    pub last_sequence: u64,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    streams: BTreeMap<&'static str, StreamLedger>,
}

#[derive(Debug, Default)]
pub(crate) struct StreamLedger {
    frames: AtomicU64,
    last_sequence: AtomicU64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let names = TOPICS.into_iter().chain(EVENTS);
        Self {
            streams: names.map(|name| (name, StreamLedger::default())).collect(),
        }
    }

    pub(crate) fn stream(&self, name: &str) -> Option<&StreamLedger> {
        self.streams.get(name)
    }

    pub(crate) fn all(&self) -> BTreeMap<&'static str, SentFrames> {
        let sent = |(name, topic): (&&'static str, &StreamLedger)| (*name, topic.sent());
        self.streams.iter().map(sent).collect()
    }
}

impl StreamLedger {
    /// Takes this many new numbers, and returns the first.
    pub(crate) fn number(&self, frames: u64) -> u64 {
        self.last_sequence.fetch_add(frames, Relaxed) + 1
    }

    /// Notes a number that was taken elsewhere.
    pub(crate) fn numbered(&self, sequence: u64) {
        self.last_sequence.fetch_max(sequence, Relaxed);
    }

    pub(crate) fn wrote(&self, frames: u64) {
        self.frames.fetch_add(frames, Relaxed);
    }

    fn sent(&self) -> SentFrames {
        SentFrames {
            frames: self.frames.load(Relaxed),
            last_sequence: self.last_sequence.load(Relaxed),
        }
    }
}
