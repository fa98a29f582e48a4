//! Which segments there are, and how much of each may be read.

use std::collections::BTreeMap;

use crate::frame::Timestamp;

/// All segments, by the offset of their first record. Never empty once the journal is open.
#[derive(Debug, Default)]
pub(crate) struct Index {
    segments: BTreeMap<u64, SegmentInfo>,
    /// The offset after the last record that may be read.
    pub(crate) end: u64,
}

/// What is known of a segment without reading it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentInfo {
    /// Bytes that hold whole batches; the file may be longer while one is written.
    pub(crate) len: u64,
    /// Changes when the file of this name is replaced: it must then be opened again.
    pub(crate) generation: u32,
    /// When its first record was received.
    pub(crate) received_at: Option<Timestamp>,
}

impl SegmentInfo {
    pub(crate) fn empty(generation: u32) -> Self {
        Self {
            len: 0,
            generation,
            received_at: None,
        }
    }
}

impl Index {
    pub(crate) fn insert(&mut self, base: u64, segment: SegmentInfo) {
        self.segments.insert(base, segment);
    }

    pub(crate) fn remove(&mut self, base: u64) -> Option<SegmentInfo> {
        self.segments.remove(&base)
    }

    pub(crate) fn get(&self, base: u64) -> Option<SegmentInfo> {
        self.segments.get(&base).copied()
    }

    pub(crate) fn get_mut(&mut self, base: u64) -> Option<&mut SegmentInfo> {
        self.segments.get_mut(&base)
    }

    /// Where the segment after `base` begins.
    pub(crate) fn next(&self, base: u64) -> Option<u64> {
        self.segments
            .range(base + 1..)
            .next()
            .map(|(base, _)| *base)
    }

    /// The segment that holds `offset`; the oldest one if that was removed.
    pub(crate) fn containing(&self, offset: u64) -> Option<u64> {
        let holding = self.segments.range(..=offset).next_back();
        holding.map(|(base, _)| *base).or_else(|| self.oldest())
    }

    /// Where the last segment begins, and how long it is.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        self.segments
            .last_key_value()
            .map(|(base, segment)| (*base, segment.len))
    }

    pub(crate) fn oldest(&self) -> Option<u64> {
        self.segments.keys().next().copied()
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &SegmentInfo> {
        self.segments.values()
    }

    /// Where the oldest segment begins and ends, unless it is the last.
    pub(crate) fn oldest_closed(&self) -> Option<(u64, u64)> {
        let mut bases = self.segments.keys();
        Some((*bases.next()?, *bases.next()?))
    }

    /// Bytes from a position to the end.
    pub(crate) fn bytes_from(&self, segment: u64, position: u64) -> u64 {
        let bytes = self.segments.range(segment..).map(|(base, found)| {
            let before = if *base == segment { position } else { 0 };
            found.len.saturating_sub(before)
        });
        bytes.sum()
    }

    /// Where the newest segments begin that together hold at most `bytes`: the last one, if that alone
    /// holds more.
    pub(crate) fn newest(&self, bytes: u64) -> Option<u64> {
        let mut segments = self.segments.iter().rev();
        let (last, segment) = segments.next()?;
        let mut total = segment.len;
        let fitting = segments.take_while(|(_, segment)| {
            total += segment.len;
            total <= bytes
        });
        fitting.last().map(|(base, _)| *base).or(Some(*last))
    }

    pub(crate) fn bases(&self) -> impl Iterator<Item = (u64, &SegmentInfo)> {
        self.segments.iter().map(|(base, segment)| (*base, segment))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.len).sum()
    }
}
