//! Which segments there are, and how much of each may be read.

use std::collections::BTreeMap;

use crate::frame::Timestamp;

/// All segments, by the offset of their first record. Never empty once the journal is open.
#[derive(Debug, Default)]
pub(super) struct Index {
    segments: BTreeMap<u64, Segment>,
    /// The offset after the last record that may be read.
    pub(super) end: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Bytes that hold whole batches; the file may be longer while one is written.
    pub(super) len: u64,
    /// Differs once the file behind the name has been replaced: open it again.
    pub(super) generation: u32,
    /// When its first record was received.
    pub(super) received_at: Option<Timestamp>,
}

impl Segment {
    pub(super) fn empty(generation: u32) -> Self {
        Self {
            len: 0,
            generation,
            received_at: None,
        }
    }
}

impl Index {
    pub(super) fn insert(&mut self, base: u64, segment: Segment) {
        self.segments.insert(base, segment);
    }

    pub(super) fn remove(&mut self, base: u64) -> Option<Segment> {
        self.segments.remove(&base)
    }

    pub(super) fn get(&self, base: u64) -> Option<Segment> {
        self.segments.get(&base).copied()
    }

    pub(super) fn get_mut(&mut self, base: u64) -> Option<&mut Segment> {
        self.segments.get_mut(&base)
    }

    /// Where the segment after `base` begins.
    pub(super) fn next(&self, base: u64) -> Option<u64> {
        self.segments
            .range(base + 1..)
            .next()
            .map(|(base, _)| *base)
    }

    /// The segment that holds `offset`; the oldest if that one is gone.
    pub(super) fn containing(&self, offset: u64) -> Option<u64> {
        let holding = self.segments.range(..=offset).next_back();
        holding.map(|(base, _)| *base).or_else(|| self.oldest())
    }

    /// Where the last segment begins, and how long it is.
    pub(super) fn last(&self) -> Option<(u64, u64)> {
        self.segments
            .last_key_value()
            .map(|(base, segment)| (*base, segment.len))
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.segments.keys().next().copied()
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.values()
    }

    /// Where the oldest segment begins and ends, unless it is the last.
    pub(super) fn oldest_closed(&self) -> Option<(u64, u64)> {
        let mut bases = self.segments.keys();
        Some((*bases.next()?, *bases.next()?))
    }

    /// Bytes behind a position.
    pub(super) fn bytes_from(&self, segment: u64, position: u64) -> u64 {
        let bytes = self.segments.range(segment..).map(|(base, found)| {
            let before = if *base == segment { position } else { 0 };
            found.len.saturating_sub(before)
        });
        bytes.sum()
    }

    /// Where the newest segments begin that hold no more than `bytes`; where the last one begins if
    /// that alone holds more.
    pub(super) fn newest(&self, bytes: u64) -> Option<u64> {
        let mut segments = self.segments.iter().rev();
        let (last, segment) = segments.next()?;
        let mut total = segment.len;
        let fitting = segments.take_while(|(_, segment)| {
            total += segment.len;
            total <= bytes
        });
        fitting.last().map(|(base, _)| *base).or(Some(*last))
    }

    pub(super) fn bases(&self) -> impl Iterator<Item = (u64, &Segment)> {
        self.segments.iter().map(|(base, segment)| (*base, segment))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.len).sum()
    }
}
