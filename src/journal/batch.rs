//! What readers of the journal are given.

use crate::frame::Frame;
use crate::journal::log::record::Refusal;

/// A frame and its number in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub offset: u64,
    pub frame: Frame,
    /// Present in a dead letter, which concerns only the sink that refused it.
    pub refusal: Option<Box<Refusal>>,
}

/// Frames in the order in which they were appended. Their payloads share one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The offset at which reading began, after skipped records.
    pub from: u64,
    /// Records between the previous batch and this one that a limit dropped unread.
    pub skipped: u64,
    /// Records between `from` and the first entry that are damaged beyond reading.
    pub damaged: u64,
    /// Records between `from` and `end` of a kind that this version does not know.
    pub unknown: u64,
    /// Empty only where nothing between `from` and `end` can be read.
    pub entries: Vec<Entry>,
    /// Everything below this offset is in this batch, in an earlier one, or was passed over.
    pub end: u64,
}
