//! The pieces of a message that came in several parts, joined.

use std::ops::Range;

use super::accepts;
use crate::transcode::tables::{Field, ValueKind};
use crate::wire::{DEPTH_LIMIT, WireError, WireReader};

/// The joined bytes of a message's pieces, and where each piece came from.
#[derive(Debug)]
pub(crate) struct JoinedPieces {
    pub(crate) bytes: Vec<u8>,
    /// The start of each piece in `bytes`, and in the buffer that it came from.
    pieces: Vec<(usize, usize)>,
}

impl JoinedPieces {
    /// Joins the values of `field` at `positions`.
    pub(crate) fn new(
        field: &Field,
        value_positions: impl Iterator<Item = usize>,
        bytes: &[u8],
        depth: u32,
    ) -> Result<Self, Box<WireError>> {
        let mut joined = Self {
            bytes: Vec::new(),
            pieces: Vec::new(),
        };
        for at in value_positions {
            let mut reader = WireReader::starting_at(at, bytes);
            let range = if field.kind == ValueKind::Group {
                reader.group(field.number(), depth)?
            } else {
                reader.delimited()?
            };
            joined.push(reader.part(range))?;
        }
        Ok(joined)
    }

    /// Joins parts of `bytes`.
    pub(crate) fn of(
        parts: impl Iterator<Item = Range<usize>>,
        bytes: &[u8],
    ) -> Result<Self, Box<WireError>> {
        let mut joined = Self {
            bytes: Vec::new(),
            pieces: Vec::new(),
        };
        for part in parts {
            joined.push(WireReader::new(bytes).part(part))?;
        }
        Ok(joined)
    }

    fn push(&mut self, part: WireReader) -> Result<(), Box<WireError>> {
        check_complete(part)?;
        self.pieces.push((self.bytes.len(), part.at));
        self.bytes.extend_from_slice(part.rest());
        Ok(())
    }

    /// Where the byte at `at` came from.
    pub(crate) fn origin(&self, at: usize) -> usize {
        let next = self.pieces.partition_point(|(start, _)| *start <= at);
        match self.pieces[..next].last() {
            Some((start, origin)) => at - start + origin,
            None => at,
        }
    }
}

/// Fails if the piece ends within a field, which joining would hide.
fn check_complete(mut piece: WireReader) -> Result<(), Box<WireError>> {
    while let Some(tag) = piece.tag()? {
        piece.skip(tag, DEPTH_LIMIT)?;
    }
    Ok(())
}

/// The positions after the tags of a field.
pub(crate) fn value_positions(
    field: &Field,
    mut reader: WireReader,
    depth: u32,
) -> Result<Vec<usize>, Box<WireError>> {
    let mut value_positions = Vec::new();
    while let Some(tag) = reader.tag()? {
        if tag.number == field.number() && accepts(field, tag) {
            value_positions.push(reader.at);
        }
        reader.skip(tag, depth)?;
    }
    Ok(value_positions)
}
