//! How a journal is opened, and the sizes that its threads keep to.

use std::path::PathBuf;
use std::time::Duration;

use super::log::record::MAX_PAYLOAD_BYTES;

/// Bytes of encoded frames that may wait for the writer thread, before appenders wait. Each record
/// takes at least its header, so this bounds their number too. Large enough to ride out a slow sync
/// (a second of 3,000 frames of 2.4 KB), small enough not to matter in memory.
pub(crate) const QUEUE_BYTES: u32 = 8 << 20;

/// With this much unsynced a sync is due at once.
pub(crate) const SYNC_BYTES: usize = 12 << 20;

/// Written batches are kept in memory until they are synced. While a sync runs and this much is kept,
/// nothing more is written, which bounds memory beside the queue.
pub(crate) const MAX_KEPT_BYTES: usize = 2 * SYNC_BYTES;

/// More than this is never unsynced: what may be kept, and one more batch. A batch is smaller than
/// the queue, or is one record of the largest size.
pub(crate) const MAX_UNSYNCED_BYTES: u64 = (MAX_KEPT_BYTES + 2 * MAX_PAYLOAD_BYTES) as u64;

/// A journal with a limit has at least this many segments: a full one drops such a share at once.
const MIN_SEGMENTS: u64 = 8;

/// How a journal is opened.
#[derive(Clone, Debug)]
pub struct Options {
    pub location: Location,
    /// Bytes at which a segment is closed and the next one begun.
    pub segment_bytes: u64,
    /// The longest time that an appended frame may be unsynced.
    pub sync_interval: Duration,
    /// Beyond this many bytes on disk the oldest segment is dropped. `None`: no limit.
    pub max_bytes: Option<u64>,
    /// How long a segment is kept after all cursors have passed it.
    pub retain: Duration,
}

/// Where the journal's files are.
#[derive(Clone, Debug)]
pub enum Location {
    /// A folder for the journal alone; created if it does not exist.
    Directory(PathBuf),
    /// Nothing survives the process. Beyond `bytes` the oldest segment is dropped.
    Memory { bytes: u64 },
}

/// Where a cursor begins that has no file yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After the newest record: only what is appended from now on.
    End,
    /// At the oldest record that the journal holds.
    Oldest,
}

/// What the writer keeps to; sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) segment: u64,
    /// Beyond this the oldest segment is dropped, read or not.
    pub(crate) total: Option<u64>,
    pub(crate) queue: u32,
    pub(crate) retain_micros: i64,
}

impl Limits {
    pub(crate) fn new(options: &Options) -> Self {
        let total = match options.location {
            Location::Directory(_) => options.max_bytes,
            Location::Memory { bytes } => Some(bytes),
        };
        let share = total.map_or(u64::MAX, |total| total / MIN_SEGMENTS);
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
