//! Copies damaged bytes of the journal into a folder beside it, so that a person can look into them.

use std::io;
use std::ops::Range;

use super::segment;
use crate::journal::storage::{DAMAGED, File, Storage, read_up_to, write_all_at};

/// The longest copy.
const MAX_BYTES: u64 = 64 << 20;
/// The most copies. Damage beyond that is counted and logged, not copied.
const MAX_FILES: usize = 64;

/// Copies a part of the segment `base` into a file of its own, unless there is such a file already.
/// A failure is only logged.
pub(crate) fn copy(storage: &dyn Storage, base: u64, file: &dyn File, part: Range<u64>) {
    let name = format!("{base:020}-{}.bytes", part.start);
    match try_copy(storage, &name, file, part) {
        Ok(true) => tracing::error!("the damaged bytes were copied to journal/{DAMAGED}/{name}"),
        Ok(false) => {}
        Err(error) => tracing::warn!("the damaged bytes cannot be copied to {name}: {error}"),
    }
}

fn try_copy(
    storage: &dyn Storage,
    name: &str,
    file: &dyn File,
    part: Range<u64>,
) -> io::Result<bool> {
    let copies = storage.list(DAMAGED)?;
    if copies.len() >= MAX_FILES || copies.iter().any(|known| known == name) {
        return Ok(false);
    }
    let copy = storage.create(&format!("{DAMAGED}/{name}"))?;
    let mut position = part.start;
    let end = part.end.min(part.start + MAX_BYTES);
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
