//! The slow path: messages whose fields are out of order or repeated.
//!
//! As in Google's runtimes, the last one of a repeated scalar counts, repeated messages are merged, the
//! pieces of a list are joined, and the last member of a oneof counts.

use super::joined::JoinedPieces;
use super::{Writer, accepts, deeper};
use crate::transcode::tables::{Field, FieldShape, MessageTable, ValueKind};
use crate::wire::{Wire, WireError, WireReader};

/// One known field of a message, as it is on the wire.
#[derive(Clone, Copy)]
struct Occurrence<'t> {
    field: &'t Field,
    wire: Wire,
    /// The position after the tag.
    at: usize,
}

impl<'t> Writer<'t> {
    /// Writes the fields of a message in the order of their numbers, each with a comma before it.
    pub(super) fn sorted_fields(
        &mut self,
        message: &'t MessageTable,
        reader: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let mut found = self.occurrences(message, reader, depth)?;
        keep_last_members(&mut found);
        // Stable: repeated fields keep their order.
        found.sort_by_key(|occurrence| occurrence.field.number());
        for same in found.chunk_by(|a, b| a.field.number() == b.field.number()) {
            let field = same[0].field;
            match field.shape {
                FieldShape::List => {
                    let value_positions = same
                        .iter()
                        .map(|occurrence| (occurrence.wire, occurrence.at));
                    self.list(field, value_positions, reader.bytes, depth)?;
                }
                FieldShape::Map => {
                    let value_positions = same.iter().map(|occurrence| occurrence.at);
                    self.map(field, value_positions, reader.bytes, depth)?;
                }
                FieldShape::Present | FieldShape::Implicit => match same {
                    [.., _, _] if field.is_message() => {
                        self.merged(field, same, reader.bytes, depth)?;
                    }
                    [.., last] => {
                        let mut value = WireReader::starting_at(last.at, reader.bytes);
                        self.singular(field, &mut value, depth)?;
                    }
                    [] => {}
                },
            }
        }
        Ok(())
    }

    fn occurrences(
        &self,
        message: &'t MessageTable,
        mut reader: WireReader,
        depth: u32,
    ) -> Result<Vec<Occurrence<'t>>, Box<WireError>> {
        let mut found = Vec::new();
        while let Some(tag) = reader.tag()? {
            let value = reader;
            reader.skip(tag, depth)?;
            if let Some(field) = message.field(tag.number)
                && accepts(field, tag)
                && self.is_known(field, value)?
            {
                found.push(Occurrence {
                    field,
                    wire: tag.wire,
                    at: value.at,
                });
            }
        }
        Ok(found)
    }

    /// Whether the value counts. One that a closed enum does not know counts as absent.
    pub(super) fn is_known(
        &self,
        field: &Field,
        mut value: WireReader,
    ) -> Result<bool, Box<WireError>> {
        if field.kind != ValueKind::ClosedEnum
            || !matches!(field.shape, FieldShape::Present | FieldShape::Implicit)
        {
            return Ok(true);
        }
        let number = value.int32()?;
        Ok(self.enums[field.target as usize].name(number).is_some())
    }

    /// Writes a message that came in several pieces. Their joined bytes are the merged message.
    fn merged(
        &mut self,
        field: &'t Field,
        pieces: &[Occurrence],
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let value_positions = pieces.iter().map(|piece| piece.at);
        let joined = JoinedPieces::new(field, value_positions, bytes, depth)?;
        self.out.key(field);
        let depth = deeper(depth, joined.origin(0))?;
        self.joined(field.target, &joined, depth)
    }

    pub(super) fn joined(
        &mut self,
        id: u32,
        joined: &JoinedPieces,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        self.message(id, WireReader::new(&joined.bytes), depth)
            .map_err(|fault| fault.problem.at(joined.origin(fault.at)))
    }
}

/// Of each oneof, keeps the member that came last, and of that only what came after all other members.
fn keep_last_members(found: &mut Vec<Occurrence>) {
    let mut last: Vec<(u32, u32, usize)> = Vec::new();
    for (index, occurrence) in found.iter().enumerate() {
        let Some(oneof) = occurrence.field.oneof() else {
            continue;
        };
        let number = occurrence.field.number();
        match last.iter_mut().find(|(known, ..)| *known == oneof) {
            Some((_, member, _)) if *member == number => {}
            Some(entry) => *entry = (oneof, number, index),
            None => last.push((oneof, number, index)),
        }
    }
    let mut index = 0;
    found.retain(|occurrence| {
        let this = index;
        index += 1;
        last.iter().all(|(oneof, member, since)| {
            occurrence.field.oneof() != Some(*oneof)
                || (occurrence.field.number() == *member && this >= *since)
        })
    });
}
