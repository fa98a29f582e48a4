//! How a journal is opened, and what follows from that.

use std::path::PathBuf;
use std::time::Duration;

/// Bytes of encoded frames that may wait for the writer thread, before appenders wait. Each record
/// takes at least its header, so this bounds their number too. Large enough to ride out a slow sync
/// (a second of 3,000 frames of 2.4 KB), small enough not to matter in memory.
pub(super) const QUEUE_BYTES: u32 = 8 << 20;

/// A journal with a limit is cut into at least this many segments: how much is dropped at once when
/// it is full.
const SEGMENTS: u64 = 8;

/// How a journal is opened.
#[derive(Clone, Debug)]
pub struct Options {
    pub location: Location,
    /// Bytes at which a segment is closed and the next one begun.
    pub segment_bytes: u64,
    /// The longest time that an appended frame may be unsynced.
    pub sync_interval: Duration,
    /// Beyond so many bytes on disk the oldest segment is dropped. In memory there is always a limit.
    pub max_bytes: Option<u64>,
    /// How long a segment is kept that all cursors have passed.
    pub retain: Duration,
}

#[derive(Clone, Debug)]
pub enum Location {
    /// The journal's own folder; made if it is not there.
    Directory(PathBuf),
    /// Nothing outlives the process; the oldest segment is dropped beyond `bytes`.
    Memory { bytes: u64 },
}

/// Where a cursor begins that has no stored place yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Behind the newest record: only what is appended from now on.
    End,
    /// At the oldest record that is still there.
    Oldest,
}

/// What the writer must not exceed, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) segment: u64,
    /// Beyond this the oldest segment is dropped, read or not.
    pub(super) total: Option<u64>,
    pub(super) queue: u32,
    pub(super) retain_micros: i64,
}

impl Limits {
    pub(super) fn new(options: &Options) -> Self {
        let total = match options.location {
            Location::Directory(_) => options.max_bytes,
            Location::Memory { bytes } => Some(bytes),
        };
        let share = total.map_or(u64::MAX, |total| total / SEGMENTS);
        Self {
            segment: options.segment_bytes.min(share).max(1),
            total,
            queue: u32::try_from(share)
                .unwrap_or(u32::MAX)
                .clamp(1, QUEUE_BYTES),
            retain_micros: i64::try_from(options.retain.as_micros()).unwrap_or(i64::MAX),
        }
    }
}
