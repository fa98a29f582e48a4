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

    /// The oldest segment, if it ends at or before `offset`. The last one has no end yet.
    pub(super) fn oldest_ending_by(&self, offset: u64) -> Option<u64> {
        let mut bases = self.segments.keys();
        let (oldest, next) = (bases.next()?, bases.next()?);
        (*next <= offset).then_some(*oldest)
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.values()
    }

    pub(super) fn bases(&self) -> impl Iterator<Item = (u64, &Segment)> {
        self.segments.iter().map(|(base, segment)| (*base, segment))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.len).sum()
    }
}
