//! Checks a segment's file from its first record to its last.

use std::io;

use super::index::SegmentInfo;
use super::record::{HEADER_BYTES, Header};
use super::segment;
use crate::frame::Timestamp;
use crate::journal::storage::{File, Storage, read_up_to};

/// How much of a segment is held in memory at once.
pub(super) const READ_BYTES: usize = 1 << 20;

/// Bytes of a segment that are not records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The offset that the segment is named after.
    pub segment: u64,
    pub position: u64,
    pub bytes: u64,
}

/// What a segment's file holds.
#[derive(Debug)]
pub(crate) struct SegmentScan {
    /// Bytes up to the end of the last valid record.
    pub(crate) len: u64,
    /// The offset after that record.
    pub(crate) end: u64,
    pub(super) damage: Vec<Damage>,
    pub(super) last_received: Option<Timestamp>,
}

impl SegmentScan {
    pub(crate) fn of(file: &dyn File, base: u64) -> io::Result<Self> {
        let len = file.len()?;
        let mut scan = Self {
            len: 0,
            end: base,
            damage: Vec::new(),
            last_received: None,
        };
        while scan.len < len {
            let chunk = segment::read(file, scan.len, len, READ_BYTES)?;
            for (header, record) in &chunk.records {
                scan.len += record.len() as u64;
                scan.end = scan.end.max(header.offset + 1);
                scan.last_received = scan.last_received.max(Some(header.received_at));
            }
            if !chunk.damaged {
                continue;
            }
            let Some(valid) = segment::find(file, base, scan.len + 1, len) else {
                break;
            };
            scan.damage.push(Damage {
                segment: base,
                position: scan.len,
                bytes: valid - scan.len,
            });
            scan.len = valid;
        }
        Ok(scan)
    }
}

/// Where the segments begin, in order.
pub(crate) fn bases(storage: &dyn Storage) -> io::Result<Vec<u64>> {
    let names = storage.list("")?;
    let mut bases: Vec<_> = names
        .iter()
        .filter_map(|name| segment::base(name))
        .collect();
    bases.sort_unstable();
    Ok(bases)
}

/// What the first record and the length say of a segment.
pub(crate) fn describe(file: &dyn File) -> io::Result<SegmentInfo> {
    let first = Header::parse(&read_up_to(file, 0, HEADER_BYTES)?);
    Ok(SegmentInfo {
        len: file.len()?,
        generation: 0,
        received_at: first.map(|header| header.received_at),
    })
}
