//! What a crash may have left, and how it is put right when the journal is opened.

use std::io;
use std::sync::Arc;

use super::aside;
use super::cursor_file::{self, CursorFile, Found};
use super::index::{Index, Segment};
use super::record::{HEADER_BYTES, Header};
use super::segment;
use super::storage::{File, Storage, read_up_to, write_all_at};
use super::writer::MOST_UNSYNCED_BYTES;
use crate::frame::Timestamp;

/// How much of the last segment is held in memory while it is checked.
const WINDOW_BYTES: usize = 1 << 20;

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes that were cut from the last segment's end: the records in them were not synced.
    pub torn_bytes: u64,
    /// Places in the last segment that hold no record, with good ones behind.
    pub damage: Vec<Damage>,
    /// When the newest frame of the last segment that has one was received: at that time the process
    /// before was there.
    pub last_received: Option<Timestamp>,
}

/// Bytes of a segment that are not records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The offset that the segment is named after.
    pub segment: u64,
    pub position: u64,
    pub bytes: u64,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) base: u64,
    pub(super) file: Arc<dyn File>,
    pub(super) len: u64,
}

/// Makes the files consistent, and durable as they are then.
pub(super) fn recover(storage: &dyn Storage) -> io::Result<(Index, Active, Recovery)> {
    if storage
        .list("")?
        .iter()
        .any(|name| name == segment::UNFINISHED)
    {
        storage.remove(segment::UNFINISHED)?;
    }
    let mut bases = bases(storage)?;
    let last = bases.pop();

    let mut index = Index::default();
    for base in bases {
        let file = storage.open(&segment::name(base))?;
        index.insert(base, describe(&*file)?);
    }
    let mut recovery = Recovery::default();
    let mut active = None;
    recovery.last_received = index
        .segments()
        .filter_map(|segment| segment.received_at)
        .max();
    if let Some(base) = last {
        let opened = repair(storage, base, &mut index, &mut recovery)?;
        active = Some(opened);
    }
    let passed = highest_cursor(storage)?;
    let active = match active {
        Some(active) if passed <= index.end => active,
        _ => {
            index.end = index.end.max(passed);
            begin(storage, &mut index)?
        }
    };
    storage.sync_folder("")?;
    Ok((index, active, recovery))
}

/// Where the segments begin, in order.
pub(super) fn bases(storage: &dyn Storage) -> io::Result<Vec<u64>> {
    let names = storage.list("")?;
    let mut bases: Vec<_> = names
        .iter()
        .filter_map(|name| segment::base(name))
        .collect();
    bases.sort_unstable();
    Ok(bases)
}

pub(super) fn describe(file: &dyn File) -> io::Result<Segment> {
    let first = Header::parse(&read_up_to(file, 0, HEADER_BYTES)?);
    Ok(Segment {
        len: file.len()?,
        generation: 0,
        received_at: first.map(|header| header.received_at),
    })
}

/// Makes an empty segment at the end.
fn begin(storage: &dyn Storage, index: &mut Index) -> io::Result<Active> {
    let base = index.end;
    let file = storage.create(&segment::name(base))?;
    index.insert(base, Segment::empty(0));
    Ok(Active { base, file, len: 0 })
}

/// Cuts what follows the last segment's last good record, and makes the others durable.
fn repair(
    storage: &dyn Storage,
    base: u64,
    index: &mut Index,
    recovery: &mut Recovery,
) -> io::Result<Active> {
    let file = storage.open(&segment::name(base))?;
    let len = file.len()?;
    let sound = Sound::scan(&*file, base)?;
    for damage in &sound.damage {
        tracing::error!(?damage, "the journal's last segment is damaged");
        let part = damage.position..damage.position + damage.bytes;
        aside::keep(storage, base, &*file, part);
    }
    if sound.len < len {
        recovery.torn_bytes = len - sound.len;
        tracing::warn!(
            segment = segment::name(base),
            position = sound.len,
            bytes = recovery.torn_bytes,
            next_offset = sound.end,
            "cut a torn tail off the journal",
        );
        aside::keep(storage, base, &*file, sound.len..len);
        file.truncate(sound.len)?;
    }
    recovery.damage = sound.damage;
    recovery.last_received = recovery.last_received.max(sound.last_received);
    index.end = sound.end;
    write_again(&*file, sound.len)?;
    file.sync()?;
    let segment = Segment {
        len: sound.len,
        ..describe(&*file)?
    };
    index.insert(base, segment);
    Ok(Active {
        base,
        file,
        len: sound.len,
    })
}

/// How far a segment's file holds records.
#[derive(Debug)]
pub(super) struct Sound {
    /// Up to the end of the last good one.
    pub(super) len: u64,
    /// The offset after it.
    pub(super) end: u64,
    damage: Vec<Damage>,
    last_received: Option<Timestamp>,
}

impl Sound {
    /// Checks a segment from its first record to its last.
    pub(super) fn scan(file: &dyn File, base: u64) -> io::Result<Self> {
        let len = file.len()?;
        let mut sound = Self {
            len: 0,
            end: base,
            damage: Vec::new(),
            last_received: None,
        };
        while sound.len < len {
            let chunk = segment::read(file, sound.len, len, WINDOW_BYTES)?;
            for (header, record) in &chunk.records {
                sound.len += record.len() as u64;
                sound.end = sound.end.max(header.offset + 1);
                sound.last_received = sound.last_received.max(Some(header.received_at));
            }
            if !chunk.damaged {
                continue;
            }
            let Some(good) = segment::find(file, base, sound.len + 1, len) else {
                break;
            };
            sound.damage.push(Damage {
                segment: base,
                position: sound.len,
                bytes: good - sound.len,
            });
            sound.len = good;
        }
        Ok(sound)
    }
}

/// A sync that failed before the process died has left pages that look clean, and are not on the
/// disk: the next sync would pass over them. Writing the same bytes again makes it take them.
fn write_again(file: &dyn File, len: u64) -> io::Result<()> {
    let mut position = len.saturating_sub(MOST_UNSYNCED_BYTES);
    while position < len {
        let left = usize::try_from(len - position).unwrap_or(usize::MAX);
        let bytes = read_up_to(file, position, left.min(WINDOW_BYTES))?;
        if bytes.is_empty() {
            break;
        }
        write_all_at(file, &bytes, position)?;
        position += bytes.len() as u64;
    }
    Ok(())
}

/// The highest offset that any cursor has passed, of a sink that is still wanted or not.
fn highest_cursor(storage: &dyn Storage) -> io::Result<u64> {
    let mut highest = 0;
    for name in cursor_file::names(storage)? {
        if let (_, Found::Good(stored)) = CursorFile::open(storage, &name)? {
            highest = highest.max(stored.offset);
        }
    }
    Ok(highest)
}
