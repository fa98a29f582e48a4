//! The fast path: messages whose fields come in ascending order, read and written in one pass.
//!
//! One loop reads, chooses and writes what most fields are. Calls out of it are marked as cold, also
//! those that are only less frequent, so that the registers are the loop's.

use std::ops::Range;

use super::line::{SHORT, Short};
use super::tables::{Field, Form, Message, Step};
use super::write::{Writer, accepts};
use crate::wire::{CONTINUED, Fault, Problem, Reader};

/// Whether a message could be written in one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Done,
    OutOfOrder,
}

impl<'t> Writer<'t> {
    /// Writes the fields as they come, each with a comma before it, unless that is not in order: what
    /// was written up to there is then to be taken back.
    pub(super) fn fields_in_order(
        &mut self,
        message: &'t Message,
        bytes: &[u8],
        place: Range<usize>,
        depth: u32,
    ) -> Result<Pass, Box<Fault>> {
        // One that is passed lies in memory; this one stays in registers.
        let mut reader = Reader::new(bytes).part(place);
        // The lowest index that may come: elements of one list may follow each other, but its step
        // takes them all.
        let mut lowest = 0;
        let mut members = 0;
        while !reader.is_at_end() {
            // Most messages have most of their fields, so that the next one is tried first.
            let next = if let Some(field) = message.fields.get(lowest)
                && let Some(ahead) = reader.follows(field.short_tag)
            {
                Next {
                    field,
                    index: lowest,
                    is_packed: false,
                    ahead,
                }
            } else {
                match next_field(message, &mut reader, depth)? {
                    None => continue,
                    Some(next) if next.index < lowest => return Ok(Pass::OutOfOrder),
                    Some(next) => next,
                }
            };
            lowest = next.index + 1;
            if next.field.oneof.is_some() {
                let member = next.field.member_bit();
                if members & member != 0 {
                    return Ok(Pass::OutOfOrder);
                }
                members |= member;
            }
            self.field(next, &mut reader, depth)?;
        }
        Ok(Pass::Done)
    }

    /// Writes a field, or the whole list or map that begins with it.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the reader then stays in registers between two fields"
    )]
    fn field(&mut self, next: Next<'t>, reader: &mut Reader, depth: u32) -> Result<(), Box<Fault>> {
        let before = reader.at;
        let Next { field, ahead, .. } = next;
        // Each kind asks for its own line, which then knows what it writes.
        let is_written = match field.step {
            Step::String => {
                let range = reader.delimited_ahead(ahead)?;
                self.short(field, reader.bytes, &range, Short::String)
                    || self.other_string(field, reader.bytes, range)?
            }
            Step::Bytes => {
                let range = reader.delimited_ahead(ahead)?;
                self.short(field, reader.bytes, &range, Short::Bytes)
            }
            Step::Enum => {
                let number = truncated(reader.byte_ahead(ahead)?);
                match self.enums[field.target as usize].name(number) {
                    Some(name) => self.line(field, Short::Name(name, number)),
                    None => false,
                }
            }
            Step::Bool => {
                let value = reader.byte_ahead(ahead)? != 0;
                self.line(field, Short::Bool(value))
            }
            Step::Uint32 => {
                let value = reader.uint32_ahead(ahead)?.into();
                self.line(field, Short::Unsigned(value, false))
            }
            Step::Int32 => {
                let value = reader.uint32_ahead(ahead)?.cast_signed().into();
                self.line(field, Short::Signed(value, false))
            }
            Step::Uint64 => {
                let value = reader.number_ahead(ahead)?;
                self.line(field, Short::Unsigned(value, field.quoted))
            }
            Step::Int64 => {
                let value = reader.number_ahead(ahead)?.cast_signed();
                self.line(field, Short::Signed(value, field.quoted))
            }
            Step::Float => {
                let bits = reader.fixed32()?;
                if bits != 0 || field.is_always_shown() {
                    self.out.key(field);
                    self.out.float(f32::from_bits(bits));
                }
                true
            }
            Step::Double => {
                let bits = reader.fixed64()?;
                if bits != 0 || field.is_always_shown() {
                    self.out.key(field);
                    self.out.double(f64::from_bits(bits));
                }
                true
            }
            Step::Message => {
                self.out.key(field);
                self.inner(field, reader, ahead, depth)?;
                true
            }
            Step::Messages => {
                let list = self.begin_list(field);
                let mut element = Some(ahead);
                while let Some(ahead) = element {
                    self.out.byte(b',');
                    self.inner(field, reader, ahead, depth)?;
                    element = reader.follows(field.short_tag);
                }
                self.end_list(list);
                true
            }
            Step::List => {
                let packed = next.is_packed;
                reader.lend(|reader| self.run_of_elements(field, packed, reader, depth))?;
                true
            }
            Step::Map => {
                reader.lend(|reader| self.run_of_entries(field, reader, depth))?;
                true
            }
            Step::Other => false,
        };
        if !is_written {
            reader.at = before;
            reader.lend(|reader| self.singular(field, reader, depth))?;
        }
        Ok(())
    }

    /// Writes a key and a value that fits beside it, unless the value is a default that is
    /// not to be shown. Says whether it does fit.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every field")]
    fn line(&mut self, field: &Field, value: Short) -> bool {
        let mut line = self.out.line();
        line.head(&field.key);
        let fits = line.value(value);
        let length = line.length();
        if fits && (field.is_always_shown() || !value.is_default()) {
            self.out.advance(length);
        }
        fits
    }

    /// As [`Self::line`], for a value of which the buffer holds as much as is looked at in one go.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every string and address")]
    fn short<'b>(
        &mut self,
        field: &Field,
        bytes: &'b [u8],
        range: &Range<usize>,
        value: impl FnOnce(&'b [u8; SHORT], usize) -> Short<'b>,
    ) -> bool {
        match bytes[range.start..].first_chunk() {
            Some(window) => self.line(field, value(window, range.len())),
            None => false,
        }
    }

    /// Writes key and value where the value is no short string that is copied as it is.
    #[cold]
    #[inline(never)]
    fn other_string(
        &mut self,
        field: &'t Field,
        bytes: &[u8],
        range: Range<usize>,
    ) -> Result<bool, Box<Fault>> {
        if range.is_empty() && !field.is_always_shown() {
            return Ok(true);
        }
        let is_begun = range.len() < SHORT && bytes.len() - range.start >= SHORT;
        if is_begun {
            match self.out.string_behind(&field.key, bytes, range.clone()) {
                Ok(()) => return Ok(true),
                Err(place) if field.kind != Form::Text => return Err(Problem::Utf8.at(place)),
                Err(_) => {}
            }
        }
        if field.kind == Form::Text {
            self.text_field(field, bytes, range);
            return Ok(true);
        }
        self.out.key(field);
        self.string(bytes, range)?;
        Ok(true)
    }

    /// A value of a kind that is seldom, or that did not fit in a line.
    #[cold]
    fn singular(
        &mut self,
        field: &'t Field,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        self.any_singular(field, reader, depth)
    }

    /// Writes a list from the elements that follow each other, the first one's tag being read.
    #[cold]
    #[inline(never)]
    fn run_of_elements(
        &mut self,
        field: &'t Field,
        is_packed: bool,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let list = self.begin_list(field);
        loop {
            self.elements(field, is_packed, reader, depth)?;
            if is_packed || reader.follows(field.short_tag).is_none() {
                break;
            }
        }
        self.end_list(list);
        Ok(())
    }

    /// Writes the message behind a tag.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the reader then stays in registers")]
    fn inner(
        &mut self,
        field: &'t Field,
        reader: &mut Reader,
        ahead: u64,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let range = reader.delimited_ahead(ahead)?;
        self.nested(field, reader.part(range), depth)
    }
}

/// Of a wider varint, what fits an enum's number counts, as the specification has it.
#[expect(clippy::cast_possible_truncation, reason = "asked for by protobuf")]
fn truncated(number: u64) -> i32 {
    number as i32
}

/// A field whose tag has been read.
#[derive(Clone, Copy)]
struct Next<'t> {
    field: &'t Field,
    /// Its place among the message's fields.
    index: usize,
    /// Whether it is a list whose elements stand in one length-delimited value.
    is_packed: bool,
    /// The first bytes of its value: 6 at least, or [`CONTINUED`].
    ahead: u64,
}

/// The next field; `None` where the schema does not know it: it has been skipped.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the reader then stays in registers")]
fn next_field<'t>(
    message: &'t Message,
    reader: &mut Reader,
    depth: u32,
) -> Result<Option<Next<'t>>, Box<Fault>> {
    let before = reader.at;
    if let Some((tag, ahead)) = reader.short_tag()
        && let Some((index, field)) = message.tagged(tag)
    {
        return Ok(Some(Next {
            field,
            index,
            is_packed: false,
            ahead,
        }));
    }
    reader.at = before;
    reader.lend(|reader| any_field(message, reader, depth))
}

/// As [`next_field`], for those with a long tag, packed or unknown ones.
#[cold]
#[inline(never)]
fn any_field<'t>(
    message: &'t Message,
    reader: &mut Reader,
    depth: u32,
) -> Result<Option<Next<'t>>, Box<Fault>> {
    let Some(tag) = reader.tag()? else {
        return Ok(None);
    };
    let index = message.index(tag.number);
    let known = index.map(|index| (index, &message.fields[index]));
    let Some((index, field)) = known.filter(|(_, field)| accepts(field, tag)) else {
        reader.skip(tag, depth)?;
        return Ok(None);
    };
    Ok(Some(Next {
        field,
        index,
        is_packed: tag.wire != field.wire(),
        ahead: CONTINUED,
    }))
}
