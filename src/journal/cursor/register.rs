//! A cursor is begun, or continued where it was.

use std::io;

use super::file::{CursorFile, FileContent, StoredCursor};
use super::state::CursorState;
use crate::journal::log::index::Index;
use crate::journal::log::position::Position;
use crate::journal::log::record::{HEADER_BYTES, Header};
use crate::journal::log::segment;
use crate::journal::options::Start;
use crate::journal::shared::Shared;
use crate::journal::storage::read_up_to;

/// Reads the cursor's file, or makes one that begins at `start`.
pub(super) fn open(shared: &Shared, name: &str, start: Start) -> io::Result<CursorState> {
    let storage = &*shared.storage;
    let start = match CursorFile::open(storage, name) {
        Ok((mut file, FileContent::Valid(stored))) => {
            file.write_again(&stored)?;
            return Ok(CursorState::new(stored, file));
        }
        Ok((_, FileContent::Empty)) => start,
        Ok((_, FileContent::Damaged)) => {
            tracing::error!(
                cursor = name,
                "the cursor's file is damaged: beginning at the oldest record"
            );
            Start::Oldest
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => start,
        Err(error) => return Err(error),
    };
    let near = first_position(&shared.index(), start);
    let stored = StoredCursor {
        offset: near.offset,
        near,
    };
    let file = CursorFile::create(storage, name, &stored)?;
    Ok(CursorState::new(stored, file))
}

fn first_position(index: &Index, start: Start) -> Position {
    if start == Start::Oldest
        && let Some(oldest) = index.oldest()
    {
        return Position::start_of(oldest);
    }
    let (segment, byte) = index.last().unwrap_or_default();
    Position {
        offset: index.end,
        segment,
        byte,
    }
}

/// Where a cursor that is taken up again reads on.
pub(super) fn resume(shared: &Shared, state: &CursorState) -> Position {
    let (offset, near) = state.restart();
    if is_at(shared, near) {
        near.seek(offset)
    } else {
        Position::of(&shared.index(), offset)
    }
}

/// Whether the position's record begins where the position says. If it cannot be read now, it does
/// not.
fn is_at(shared: &Shared, position: Position) -> bool {
    let (segment, is_end) = {
        let index = shared.index();
        let Some(segment) = index.get(position.segment) else {
            return false;
        };
        let is_last = index.last() == Some((position.segment, position.byte));
        (segment, is_last && position.offset == index.end)
    };
    let header = || {
        let file = shared.storage.open(&segment::name(position.segment)).ok()?;
        Header::parse(&read_up_to(&*file, position.byte, HEADER_BYTES).ok()?)
    };
    is_end
        || (position.byte < segment.len
            && header().is_some_and(|header| header.offset == position.offset))
}
