//! Repairs what a crash left when the journal is opened.

use std::io;
use std::sync::Arc;

use super::index::{Index, SegmentInfo};
use super::quarantine;
use super::scan::{self, Damage, READ_BYTES, SegmentScan};
use super::segment;
use crate::frame::Timestamp;
use crate::journal::cursor::file::{self, CursorFile, FileContent};
use crate::journal::options::MAX_UNSYNCED_BYTES;
use crate::journal::storage::{File, Storage, read_up_to, write_all_at};

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes that were cut off the last segment's end. The records in them were not synced.
    pub incomplete_bytes: u64,
    /// Damaged places of the last segment with valid records after them.
    pub damage: Vec<Damage>,
    /// The latest time at which a frame was received, of all frames of the last segment and the first
    /// frame of each other one. The previous process was running then.
    pub last_received: Option<Timestamp>,
}

/// The segment that is written to.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub(crate) base: u64,
    pub(crate) file: Arc<dyn File>,
    pub(crate) len: u64,
}

/// Makes the files consistent, and durable as they are then.
pub(crate) fn recover(storage: &dyn Storage) -> io::Result<(Index, ActiveSegment, Recovery)> {
    remove_unfinished(storage)?;
    let mut bases = scan::bases(storage)?;
    let last = bases.pop();

    let mut index = Index::default();
    for base in bases {
        let file = storage.open(&segment::name(base))?;
        index.insert(base, scan::describe(&*file)?);
    }
    let mut recovery = Recovery {
        last_received: index
            .segments()
            .filter_map(|segment| segment.received_at)
            .max(),
        ..Recovery::default()
    };
    let repaired = match last {
        Some(base) => Some(repair(storage, base, &mut index, &mut recovery)?),
        None => None,
    };
    let passed = highest_cursor(storage)?;
    let active = match repaired {
        Some(active) if passed <= index.end => active,
        _ => {
            index.end = index.end.max(passed);
            begin_segment(storage, &mut index)?
        }
    };
    storage.sync_folder("")?;
    Ok((index, active, recovery))
}

/// Removes a segment that was not complete when the process died.
fn remove_unfinished(storage: &dyn Storage) -> io::Result<()> {
    let names = storage.list("")?;
    if names.iter().any(|name| name == segment::UNFINISHED) {
        storage.remove(segment::UNFINISHED)?;
    }
    Ok(())
}

/// Makes an empty segment at the end.
fn begin_segment(storage: &dyn Storage, index: &mut Index) -> io::Result<ActiveSegment> {
    let base = index.end;
    let file = storage.create(&segment::name(base))?;
    index.insert(base, SegmentInfo::empty(0));
    Ok(ActiveSegment { base, file, len: 0 })
}

/// Cuts off what follows the last segment's last valid record, and makes the records durable.
fn repair(
    storage: &dyn Storage,
    base: u64,
    index: &mut Index,
    recovery: &mut Recovery,
) -> io::Result<ActiveSegment> {
    let file = storage.open(&segment::name(base))?;
    let len = file.len()?;
    let scan = SegmentScan::of(&*file, base)?;
    for damage in &scan.damage {
        tracing::error!(?damage, "the journal's last segment is damaged");
        let part = damage.position..damage.position + damage.bytes;
        quarantine::copy(storage, base, &*file, part);
    }
    if scan.len < len {
        recovery.incomplete_bytes = len - scan.len;
        tracing::warn!(
            segment = segment::name(base),
            position = scan.len,
            bytes = recovery.incomplete_bytes,
            next_offset = scan.end,
            "cut an incomplete record off the journal's end",
        );
        quarantine::copy(storage, base, &*file, scan.len..len);
        file.truncate(scan.len)?;
    }
    recovery.damage = scan.damage;
    recovery.last_received = recovery.last_received.max(scan.last_received);
    index.end = scan.end;
    write_again(&*file, scan.len)?;
    file.sync()?;
    let segment = SegmentInfo {
        len: scan.len,
        ..scan::describe(&*file)?
    };
    index.insert(base, segment);
    Ok(ActiveSegment {
        base,
        file,
        len: scan.len,
    })
}

/// A sync that failed before the process died left pages that are marked as clean without being on the
/// disk: the next sync would pass over them. Writing the same bytes again marks them as dirty.
fn write_again(file: &dyn File, len: u64) -> io::Result<()> {
    let mut position = len.saturating_sub(MAX_UNSYNCED_BYTES);
    while position < len {
        let left = usize::try_from(len - position).unwrap_or(usize::MAX);
        let bytes = read_up_to(file, position, left.min(READ_BYTES))?;
        if bytes.is_empty() {
            break;
        }
        write_all_at(file, &bytes, position)?;
        position += bytes.len() as u64;
    }
    Ok(())
}

/// The highest offset that any cursor has passed, whether its sink is still in the config or not.
fn highest_cursor(storage: &dyn Storage) -> io::Result<u64> {
    let mut highest = 0;
    for name in file::names(storage)? {
        if let (_, FileContent::Valid(stored)) = CursorFile::open(storage, &name)? {
            highest = highest.max(stored.offset);
        }
    }
    Ok(highest)
}
