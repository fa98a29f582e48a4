//! Where a record is found in the log.

use super::index::Index;

/// Where to look for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The record's offset.
    pub(crate) offset: u64,
    /// The segment, by the offset that it is named after.
    pub(crate) segment: u64,
    /// The byte of the segment at which to begin: the record lies there or further on, and a record
    /// begins there unless the segment ends.
    pub(crate) byte: u64,
}

impl Position {
    /// The first record of a segment.
    pub(crate) fn start_of(segment: u64) -> Self {
        Self {
            offset: segment,
            segment,
            byte: 0,
        }
    }

    /// The record `offset`, from the start of the segment that holds it.
    pub(crate) fn of(index: &Index, offset: u64) -> Self {
        let segment = index.containing(offset).unwrap_or(offset);
        Self {
            offset,
            ..Self::start_of(segment)
        }
    }

    /// The record `offset`, which must not lie before this one, from here on.
    pub(crate) fn seek(self, offset: u64) -> Self {
        Self { offset, ..self }
    }
}
