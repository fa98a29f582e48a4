//! The fast path: messages whose fields come in ascending order, read and written in one pass.
//!
//! One loop reads, dispatches and writes the usual kinds of fields. Calls out of it are marked as cold,
//! also those that are only less frequent, so that the loop keeps its variables in registers.

use std::ops::Range;

use super::{FastPathOutcome, Writer, accepts};
use crate::transcode::json::short_field::{SHORT_STRING, ShortValue};
use crate::transcode::tables::{Field, FieldAction, MessageTable, ValueKind};
use crate::wire::{CONTINUED, Problem, WireError, WireReader};

impl<'t> Writer<'t> {
    /// Writes the fields as they come, each after a comma. If they are out of order, the caller must take
    /// back what was written.
    pub(super) fn fields_in_order(
        &mut self,
        message: &'t MessageTable,
        bytes: &[u8],
        place: Range<usize>,
        depth: u32,
    ) -> Result<FastPathOutcome, Box<WireError>> {
        // A reader that is passed in would be in memory; this one stays in registers.
        let mut reader = WireReader::new(bytes).part(place);
        // The lowest index that is in order. The elements of a list are all taken together.
        let mut lowest = 0;
        let mut members = 0;
        while !reader.is_at_end() {
            // Most messages have most of their fields: try the next one first.
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
                    Some(next) if next.index < lowest => return Ok(FastPathOutcome::OutOfOrder),
                    Some(next) => next,
                }
            };
            lowest = next.index + 1;
            if next.field.oneof.is_some() {
                let member = next.field.member_bit();
                if members & member != 0 {
                    return Ok(FastPathOutcome::OutOfOrder);
                }
                members |= member;
            }
            self.field(next, &mut reader, depth)?;
        }
        Ok(FastPathOutcome::Done)
    }

    /// Writes a field, or the whole list or map that begins with it.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the reader then stays in registers between two fields"
    )]
    fn field(
        &mut self,
        next: Next<'t>,
        reader: &mut WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let before = reader.at;
        let Next { field, ahead, .. } = next;
        // Each kind calls `slot` separately, so that each inlined copy knows what it writes.
        let is_written = match field.action {
            FieldAction::String => {
                let range = reader.delimited_ahead(ahead)?;
                self.short_bytes(field, reader.bytes, &range, ShortValue::String)
                    || self.other_string(field, reader.bytes, range)?
            }
            FieldAction::Bytes => {
                let range = reader.delimited_ahead(ahead)?;
                self.short_bytes(field, reader.bytes, &range, ShortValue::Bytes)
            }
            FieldAction::Enum => {
                let number = truncated(reader.byte_ahead(ahead)?);
                match self.enums[field.target as usize].name(number) {
                    Some(name) => self.short_value(field, ShortValue::Name(name, number)),
                    None => false,
                }
            }
            FieldAction::Bool => {
                let value = reader.byte_ahead(ahead)? != 0;
                self.short_value(field, ShortValue::Bool(value))
            }
            FieldAction::Uint32 => {
                let value = reader.uint32_ahead(ahead)?.into();
                self.short_value(field, ShortValue::Unsigned(value, false))
            }
            FieldAction::Int32 => {
                let value = reader.uint32_ahead(ahead)?.cast_signed().into();
                self.short_value(field, ShortValue::Signed(value, false))
            }
            FieldAction::Uint64 => {
                let value = reader.number_ahead(ahead)?;
                self.short_value(field, ShortValue::Unsigned(value, field.quoted))
            }
            FieldAction::Int64 => {
                let value = reader.number_ahead(ahead)?.cast_signed();
                self.short_value(field, ShortValue::Signed(value, field.quoted))
            }
            FieldAction::Float => {
                let bits = reader.fixed32()?;
                if bits != 0 || field.is_always_shown() {
                    self.out.key(field);
                    self.out.float(f32::from_bits(bits));
                }
                true
            }
            FieldAction::Double => {
                let bits = reader.fixed64()?;
                if bits != 0 || field.is_always_shown() {
                    self.out.key(field);
                    self.out.double(f64::from_bits(bits));
                }
                true
            }
            FieldAction::Message => {
                self.out.key(field);
                self.inner(field, reader, ahead, depth)?;
                true
            }
            FieldAction::Messages => {
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
            FieldAction::List => {
                let packed = next.is_packed;
                reader.lend(|reader| self.run_of_elements(field, packed, reader, depth))?;
                true
            }
            FieldAction::Map => {
                reader.lend(|reader| self.run_of_entries(field, reader, depth))?;
                true
            }
            FieldAction::Other => false,
        };
        if !is_written {
            reader.at = before;
            reader.lend(|reader| self.other_value(field, reader, depth))?;
        }
        Ok(())
    }

    /// Writes a key and a short value, unless the value is a default that is not to be shown. Whether
    /// the value was short enough.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every field")]
    fn short_value(&mut self, field: &Field, value: ShortValue) -> bool {
        let mut slot = self.out.slot();
        slot.inline_text(&field.key);
        let fits = slot.value(value);
        let length = slot.length();
        if fits && (field.is_always_shown() || !value.is_default()) {
            self.out.advance(length);
        }
        fits
    }

    /// The same for a string or bytes, if the buffer goes on long enough to be read in one piece.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every string and address")]
    fn short_bytes<'b>(
        &mut self,
        field: &Field,
        bytes: &'b [u8],
        range: &Range<usize>,
        value: impl FnOnce(&'b [u8; SHORT_STRING], usize) -> ShortValue<'b>,
    ) -> bool {
        match bytes[range.start..].first_chunk() {
            Some(window) => self.short_value(field, value(window, range.len())),
            None => false,
        }
    }

    /// Writes key and value of a string that is long or must be escaped.
    #[cold]
    #[inline(never)]
    fn other_string(
        &mut self,
        field: &'t Field,
        bytes: &[u8],
        range: Range<usize>,
    ) -> Result<bool, Box<WireError>> {
        if range.is_empty() && !field.is_always_shown() {
            return Ok(true);
        }
        let key_is_written =
            range.len() < SHORT_STRING && bytes.len() - range.start >= SHORT_STRING;
        if key_is_written {
            match self.out.string_after_key(&field.key, bytes, range.clone()) {
                Ok(()) => return Ok(true),
                Err(place) if field.kind != ValueKind::Text => return Err(Problem::Utf8.at(place)),
                Err(_) => {}
            }
        }
        if field.kind == ValueKind::Text {
            self.text_field(field, bytes, range);
            return Ok(true);
        }
        self.out.key(field);
        self.string(bytes, range)?;
        Ok(true)
    }

    /// Writes a value of a rare kind, or one that was too long for a slot.
    #[cold]
    fn other_value(
        &mut self,
        field: &'t Field,
        reader: &mut WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        self.singular(field, reader, depth)
    }

    /// Writes a list whose elements follow each other. The first one's tag has been read.
    #[cold]
    #[inline(never)]
    fn run_of_elements(
        &mut self,
        field: &'t Field,
        is_packed: bool,
        reader: &mut WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
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

    /// Writes the message after a tag.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the reader then stays in registers")]
    fn inner(
        &mut self,
        field: &'t Field,
        reader: &mut WireReader,
        ahead: u64,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let range = reader.delimited_ahead(ahead)?;
        self.nested(field, reader.part(range), depth)
    }
}

/// The low 32 bits, which the specification takes as the enum's number.
#[expect(clippy::cast_possible_truncation, reason = "asked for by protobuf")]
fn truncated(number: u64) -> i32 {
    number as i32
}

/// A field whose tag has been read.
#[derive(Clone, Copy)]
struct Next<'t> {
    field: &'t Field,
    /// Its index among the message's fields.
    index: usize,
    /// Whether it is a packed list.
    is_packed: bool,
    /// The first bytes of its value: at least 6, or [`CONTINUED`].
    ahead: u64,
}

/// The next field; `None` if the descriptors do not know it, in which case it was skipped.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the reader then stays in registers")]
fn next_field<'t>(
    message: &'t MessageTable,
    reader: &mut WireReader,
    depth: u32,
) -> Result<Option<Next<'t>>, Box<WireError>> {
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

/// The same for fields that are packed, unknown, or have a long tag.
#[cold]
#[inline(never)]
fn any_field<'t>(
    message: &'t MessageTable,
    reader: &mut WireReader,
    depth: u32,
) -> Result<Option<Next<'t>>, Box<WireError>> {
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
