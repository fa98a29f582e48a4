//! What is in the journal and is no record is kept beside it, for whoever wants to look into it.

use std::io;
use std::ops::Range;

use super::segment;
use super::storage::{DAMAGED, File, Storage, read_up_to, write_all_at};

/// Of one place.
const MOST_BYTES: u64 = 64 << 20;
/// Places; what is damaged beyond them is counted and said, and not kept.
const MOST_FILES: usize = 64;

/// Copies a part of the segment `base` into a file of its own, unless it is there already. That this
/// fails holds up nobody: it is said, no more.
pub(super) fn keep(storage: &dyn Storage, base: u64, file: &dyn File, part: Range<u64>) {
    let name = format!("{base:020}-{}.bytes", part.start);
    match copy(storage, &name, file, part) {
        Ok(true) => tracing::error!("what is damaged is kept in journal/{DAMAGED}/{name}"),
        Ok(false) => {}
        Err(error) => tracing::warn!("what is damaged cannot be kept as {name}: {error}"),
    }
}

fn copy(storage: &dyn Storage, name: &str, file: &dyn File, part: Range<u64>) -> io::Result<bool> {
    let kept = storage.list(DAMAGED)?;
    if kept.len() >= MOST_FILES || kept.iter().any(|known| known == name) {
        return Ok(false);
    }
    let copy = storage.create(&format!("{DAMAGED}/{name}"))?;
    let mut position = part.start;
    let end = part.end.min(part.start + MOST_BYTES);
    while position < end {
        let left = usize::try_from(end - position).unwrap_or(usize::MAX);
        let bytes = read_up_to(file, position, left.min(segment::SEARCH_BYTES))?;
        if bytes.is_empty() {
            break;
        }
        write_all_at(&*copy, &bytes, position - part.start)?;
        position += bytes.len() as u64;
    }
    Ok(true)
}
