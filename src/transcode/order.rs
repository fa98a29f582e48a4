//! The fast path: messages whose fields come in ascending order, read and written in one pass.

use std::ops::Range;

use super::line::Short;
use super::tables::{Field, Form, Message, Slot, Step};
use super::write::{Writer, accepts};
use crate::wire::{CONTINUED, Fault, Reader};

/// Whether a message could be written in one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Done,
    OutOfOrder,
}

impl<'t> Writer<'t, '_> {
    /// Writes the fields as they come, each with a comma before it, unless that is not in order: what
    /// was written up to there is then to be taken back.
    pub(super) fn fields_in_order(
        &mut self,
        message: &'t Message,
        part: Reader,
        depth: u32,
    ) -> Result<Pass, Fault> {
        // One that is passed lies in memory; this one stays in registers.
        let mut reader = part.part(part.at..part.end());
        let mut highest = 0;
        let mut members = 0;
        while !reader.is_at_end() {
            let Some(next) = next_field(message, &mut reader, depth)? else {
                continue;
            };
            // Elements of one list may follow each other, but its step takes them all.
            if next.tag <= highest {
                return Ok(Pass::OutOfOrder);
            }
            highest = next.tag;
            let field = &message.fields[next.slot.index as usize];
            if next.slot.is_member {
                if members & field.member_bit() != 0 {
                    return Ok(Pass::OutOfOrder);
                }
                members |= field.member_bit();
            }
            self.field(field, &next, &mut reader, depth)?;
        }
        Ok(Pass::Done)
    }

    /// Writes a field, or the whole list or map that begins with it.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the reader then stays in registers between two fields"
    )]
    fn field(
        &mut self,
        field: &'t Field,
        next: &Next,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Fault> {
        let before = reader.at;
        let ahead = next.ahead;
        let always = next.slot.is_always_shown;
        let is_written = match next.slot.step {
            Step::String => {
                let range = self.within(field, reader.delimited_ahead(ahead))?;
                self.short_string(field, always, reader.bytes, range.clone())
                    || self.long_string(field, always, reader.bytes, range)?
            }
            Step::Bytes => {
                let range = self.within(field, reader.delimited_ahead(ahead))?;
                self.short_bytes(field, always, reader.bytes, range)
            }
            Step::Enum => {
                let number = self.within(field, reader.uint32_ahead(ahead))?;
                self.enum_name(field, always, number.cast_signed())
            }
            Step::Uint32 => {
                let value = self.within(field, reader.uint32_ahead(ahead))?;
                self.line(field, always, Short::Unsigned(value.into(), false))
            }
            Step::Int32 => {
                let value = self.within(field, reader.uint32_ahead(ahead))?;
                let value = value.cast_signed().into();
                self.line(field, always, Short::Signed(value, false))
            }
            Step::Uint64 => {
                let value = self.within(field, reader.number_ahead(ahead))?;
                self.line(field, always, Short::Unsigned(value, field.quoted))
            }
            Step::Int64 => {
                let value = self.within(field, reader.number_ahead(ahead))?;
                self.line(
                    field,
                    always,
                    Short::Signed(value.cast_signed(), field.quoted),
                )
            }
            Step::Bool => {
                let value = self.within(field, reader.number_ahead(ahead))?;
                self.line(field, always, Short::Bool(value != 0))
            }
            Step::Float => {
                let bits = self.within(field, reader.fixed32())?;
                if always || bits != 0 {
                    self.out.key(&field.key);
                    self.out.float(f32::from_bits(bits));
                }
                true
            }
            Step::Double => {
                let bits = self.within(field, reader.fixed64())?;
                if always || bits != 0 {
                    self.out.key(&field.key);
                    self.out.double(f64::from_bits(bits));
                }
                true
            }
            Step::Message => {
                self.out.key(&field.key);
                self.inner(field, reader, ahead, depth)?;
                true
            }
            Step::Messages => {
                let list = self.begin_list(field);
                let mut element = Some(ahead);
                while let Some(ahead) = element {
                    self.out.byte(b',');
                    self.inner(field, reader, ahead, depth)?;
                    element = reader.follows(next.tag);
                }
                self.end_list(list);
                true
            }
            Step::List => {
                reader.lend(|reader| self.run_of_elements(field, next, reader, depth))?;
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
            reader.lend(|reader| self.any_singular(field, reader, depth))?;
        }
        Ok(())
    }

    /// Writes a key and a value that fits beside it, unless the value is not to be shown: a default
    /// is so only where it `always` is. Says whether it does fit.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every field")]
    fn line(&mut self, field: &Field, always: bool, value: Short) -> bool {
        let mut line = self.out.line();
        line.head(&field.key);
        let fits = line.value(value);
        let length = line.length();
        if fits && (always || !value.is_default()) {
            self.out.advance(length);
        }
        fits
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every string")]
    fn short_string(
        &mut self,
        field: &Field,
        always: bool,
        bytes: &[u8],
        range: Range<usize>,
    ) -> bool {
        match bytes[range.start..].first_chunk() {
            Some(text) => self.line(field, always, Short::String(text, range.len())),
            None => false,
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every address")]
    fn short_bytes(
        &mut self,
        field: &Field,
        always: bool,
        bytes: &[u8],
        range: Range<usize>,
    ) -> bool {
        match bytes[range.start..].first_chunk() {
            Some(bytes) => self.line(field, always, Short::Bytes(bytes, range.len())),
            None => false,
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every enum")]
    fn enum_name(&mut self, field: &Field, always: bool, number: i32) -> bool {
        match self.enums[field.target as usize].name(number) {
            Some(name) => self.line(field, always, Short::Name(name, number)),
            None => false,
        }
    }

    /// Writes key and value where the value is no short string.
    #[inline(never)]
    fn long_string(
        &mut self,
        field: &'t Field,
        always: bool,
        bytes: &[u8],
        range: Range<usize>,
    ) -> Result<bool, Fault> {
        if !always && range.is_empty() {
            return Ok(true);
        }
        if field.kind == Form::Text {
            self.text_field(field, bytes, range);
            return Ok(true);
        }
        self.out.snippet(&field.key);
        let result = self.string(bytes, range);
        self.within(field, result)?;
        Ok(true)
    }

    /// Writes a list from the elements that follow each other, the first one's tag being read.
    #[inline(never)]
    fn run_of_elements(
        &mut self,
        field: &'t Field,
        first: &Next,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Fault> {
        let list = self.begin_list(field);
        loop {
            self.elements(field, first.is_packed, reader, depth)?;
            if first.is_packed || reader.follows(first.tag).is_none() {
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
    ) -> Result<(), Fault> {
        let range = self.within(field, reader.delimited_ahead(ahead))?;
        let result = self.nested(field, reader.part(range), depth);
        self.within(field, result)
    }
}

/// A field whose tag has been read.
struct Next<'t> {
    /// In its shortest form, and not that of a packed list.
    tag: u32,
    slot: &'t Slot,
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
) -> Result<Option<Next<'t>>, Fault> {
    let before = reader.at;
    if let Some((tag, ahead)) = reader.short_tag()
        && let Some(slot) = message.tagged(tag)
    {
        return Ok(Some(Next {
            tag,
            slot,
            is_packed: false,
            ahead,
        }));
    }
    reader.at = before;
    reader.lend(|reader| any_field(message, reader, depth))
}

/// As [`next_field`], for those with a long tag, packed or unknown ones.
#[inline(never)]
fn any_field<'t>(
    message: &'t Message,
    reader: &mut Reader,
    depth: u32,
) -> Result<Option<Next<'t>>, Fault> {
    let Some(tag) = reader.tag()? else {
        return Ok(None);
    };
    let slot = message.slot(tag.number);
    let known = slot.map(|slot| (slot, &message.fields[slot.index as usize]));
    let Some((slot, field)) = known.filter(|(_, field)| accepts(field, tag)) else {
        reader.skip(tag, depth)?;
        return Ok(None);
    };
    Ok(Some(Next {
        tag: field.tag,
        slot,
        is_packed: tag.wire != field.wire(),
        ahead: CONTINUED,
    }))
}
