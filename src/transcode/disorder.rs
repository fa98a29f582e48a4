//! The exact path: messages whose fields are out of order, or come again.
//!
//! As Google's runtimes have it: of a scalar that comes again the last one counts, messages are
//! merged, pieces of a list are joined, and of a oneof the last member counts.

use std::ops::Range;

use super::tables::{Field, FieldShape, Form, Message};
use super::write::{Writer, accepts, deeper};
use crate::wire::{DEPTH_LIMIT, Fault, Reader, Wire};

/// One known field of a message, as it stands on the wire.
#[derive(Clone, Copy)]
struct Occurrence<'t> {
    field: &'t Field,
    wire: Wire,
    /// The place behind the tag.
    at: usize,
}

impl<'t> Writer<'t> {
    /// Writes the fields of a message in the order of their numbers, each with a comma before it.
    pub(super) fn sorted_fields(
        &mut self,
        message: &'t Message,
        reader: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let mut found = self.occurrences(message, reader, depth)?;
        keep_last_members(&mut found);
        // Stable: what comes again stays in its order.
        found.sort_by_key(|occurrence| occurrence.field.number());
        for same in found.chunk_by(|a, b| a.field.number() == b.field.number()) {
            let field = same[0].field;
            match field.shape {
                FieldShape::List => {
                    let places = same
                        .iter()
                        .map(|occurrence| (occurrence.wire, occurrence.at));
                    self.list(field, places, reader.bytes, depth)?;
                }
                FieldShape::Map => {
                    let places = same.iter().map(|occurrence| occurrence.at);
                    self.map(field, places, reader.bytes, depth)?;
                }
                FieldShape::Present | FieldShape::Implicit => match same {
                    [.., _, _] if field.is_message() => {
                        self.merged(field, same, reader.bytes, depth)?;
                    }
                    [.., last] => {
                        let mut value = Reader::starting_at(last.at, reader.bytes);
                        self.any_singular(field, &mut value, depth)?;
                    }
                    [] => {}
                },
            }
        }
        Ok(())
    }

    fn occurrences(
        &self,
        message: &'t Message,
        mut reader: Reader,
        depth: u32,
    ) -> Result<Vec<Occurrence<'t>>, Box<Fault>> {
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

    /// An enum value that the schema does not know is as good as absent, where it is not kept.
    pub(super) fn is_known(&self, field: &Field, mut value: Reader) -> Result<bool, Box<Fault>> {
        if field.kind != Form::ClosedEnum
            || !matches!(field.shape, FieldShape::Present | FieldShape::Implicit)
        {
            return Ok(true);
        }
        let number = value.int32()?;
        Ok(self.enums[field.target as usize].name(number).is_some())
    }

    /// Writes a message that came in several pieces: their bytes, joined, are the merged message.
    fn merged(
        &mut self,
        field: &'t Field,
        pieces: &[Occurrence],
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let places = pieces.iter().map(|piece| piece.at);
        let joined = Joined::new(field, places, bytes, depth)?;
        self.out.key(field);
        let depth = deeper(depth, joined.origin(0))?;
        self.joined(field.target, &joined, depth)
    }

    pub(super) fn joined(
        &mut self,
        id: u32,
        joined: &Joined,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        self.message(id, Reader::new(&joined.bytes), depth)
            .map_err(|fault| fault.problem.at(joined.origin(fault.at)))
    }
}

/// Of each oneof, keeps the member that came last, and of that what came behind all other members.
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

/// The places behind the tags of a field.
pub(super) fn places(
    field: &Field,
    mut reader: Reader,
    depth: u32,
) -> Result<Vec<usize>, Box<Fault>> {
    let mut places = Vec::new();
    while let Some(tag) = reader.tag()? {
        if tag.number == field.number() && accepts(field, tag) {
            places.push(reader.at);
        }
        reader.skip(tag, depth)?;
    }
    Ok(places)
}

/// The joined bytes of a message's pieces, and where each piece was.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) bytes: Vec<u8>,
    /// Start in `bytes`, and start in the buffer that it is from.
    pieces: Vec<(usize, usize)>,
}

impl Joined {
    /// Joins the values of `field` behind the tags at `places`.
    pub(super) fn new(
        field: &Field,
        places: impl Iterator<Item = usize>,
        bytes: &[u8],
        depth: u32,
    ) -> Result<Self, Box<Fault>> {
        let mut joined = Self {
            bytes: Vec::new(),
            pieces: Vec::new(),
        };
        for at in places {
            let mut reader = Reader::starting_at(at, bytes);
            let range = if field.kind == Form::Group {
                reader.group(field.number(), depth)?
            } else {
                reader.delimited()?
            };
            joined.push(reader.part(range))?;
        }
        Ok(joined)
    }

    /// Joins parts of `bytes`.
    pub(super) fn of(
        parts: impl Iterator<Item = Range<usize>>,
        bytes: &[u8],
    ) -> Result<Self, Box<Fault>> {
        let mut joined = Self {
            bytes: Vec::new(),
            pieces: Vec::new(),
        };
        for part in parts {
            joined.push(Reader::new(bytes).part(part))?;
        }
        Ok(joined)
    }

    fn push(&mut self, part: Reader) -> Result<(), Box<Fault>> {
        whole(part)?;
        self.pieces.push((self.bytes.len(), part.at));
        self.bytes.extend_from_slice(part.rest());
        Ok(())
    }

    /// Where the byte at `at` is from.
    pub(super) fn origin(&self, at: usize) -> usize {
        let next = self.pieces.partition_point(|(start, _)| *start <= at);
        match self.pieces[..next].last() {
            Some((start, origin)) => at - start + origin,
            None => at,
        }
    }
}

/// Fails where a piece ends in the midst of a field, which joining would hide.
fn whole(mut piece: Reader) -> Result<(), Box<Fault>> {
    while let Some(tag) = piece.tag()? {
        piece.skip(tag, DEPTH_LIMIT)?;
    }
    Ok(())
}
