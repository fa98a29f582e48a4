//! The fast path: messages whose fields come in ascending order, read and written in one pass.

use std::ops::Range;

use super::line::Short;
use super::tables::{Field, Form, Message, Slot, Step};
use super::write::{Writer, accepts};
use crate::wire::{Fault, Reader};

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
            let Some(Next {
                tag,
                slot,
                is_packed,
            }) = next_field(message, &mut reader, depth)?
            else {
                continue;
            };
            // Elements of one list may follow each other, but its step takes them all.
            if tag <= highest {
                return Ok(Pass::OutOfOrder);
            }
            highest = tag;
            let field = &message.fields[slot.index as usize];
            if slot.is_member {
                if members & field.member_bit() != 0 {
                    return Ok(Pass::OutOfOrder);
                }
                members |= field.member_bit();
            }
            match slot.step {
                Step::Messages => {
                    let list = self.begin_list(field);
                    loop {
                        self.out.byte(b',');
                        self.inner(field, &mut reader, depth)?;
                        if !reader.follows(tag) {
                            break;
                        }
                    }
                    self.end_list(list);
                }
                Step::List => {
                    let list = self.begin_list(field);
                    loop {
                        reader.lend(|reader| self.elements(field, is_packed, reader, depth))?;
                        if is_packed || !reader.follows(tag) {
                            break;
                        }
                    }
                    self.end_list(list);
                }
                Step::Map => reader.lend(|reader| self.run_of_entries(field, reader, depth))?,
                _ => self.singular(slot, field, &mut reader, depth)?,
            }
        }
        Ok(Pass::Done)
    }

    /// As [`Self::any_singular`], which it leaves to what is rare.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the reader then stays in registers between two fields"
    )]
    fn singular(
        &mut self,
        slot: Slot,
        field: &'t Field,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Fault> {
        let before = reader.at;
        let is_written = match slot.step {
            Step::String => {
                let range = reader.delimited();
                let range = self.within(field, range)?;
                let text = reader.bytes[range.start..].first_chunk();
                let fits = text
                    .is_some_and(|text| self.line(slot, field, Short::String(text, range.len())));
                if !fits && (slot.is_always_shown || !range.is_empty()) {
                    let result = self.long_string(field, reader.bytes, range);
                    self.within(field, result)?;
                }
                true
            }
            Step::Bytes => {
                let range = reader.delimited();
                let range = self.within(field, range)?;
                let bytes = reader.bytes[range.start..].first_chunk();
                bytes.is_some_and(|bytes| self.line(slot, field, Short::Bytes(bytes, range.len())))
            }
            Step::Enum => {
                let number = reader.int32();
                let number = self.within(field, number)?;
                let name = self.enums[field.target as usize].name(number);
                name.is_some_and(|name| self.line(slot, field, Short::Name(name, number)))
            }
            Step::Uint32 => {
                let value = reader.uint32();
                let value = self.within(field, value)?;
                self.line(slot, field, Short::Unsigned(value.into(), false))
            }
            Step::Int32 => {
                let value = reader.int32();
                let value = self.within(field, value)?;
                self.line(slot, field, Short::Signed(value.into(), false))
            }
            Step::Uint64 => {
                let value = reader.uint64();
                let value = self.within(field, value)?;
                self.line(slot, field, Short::Unsigned(value, field.quoted))
            }
            Step::Int64 => {
                let value = reader.int64();
                let value = self.within(field, value)?;
                self.line(slot, field, Short::Signed(value, field.quoted))
            }
            Step::Bool => {
                let value = reader.bool();
                let value = self.within(field, value)?;
                self.line(slot, field, Short::Bool(value))
            }
            Step::Float => {
                let bits = reader.fixed32();
                let bits = self.within(field, bits)?;
                if slot.is_always_shown || bits != 0 {
                    self.out.key(&field.key);
                    self.out.float(f32::from_bits(bits));
                }
                true
            }
            Step::Double => {
                let bits = reader.fixed64();
                let bits = self.within(field, bits)?;
                if slot.is_always_shown || bits != 0 {
                    self.out.key(&field.key);
                    self.out.double(f64::from_bits(bits));
                }
                true
            }
            Step::Message => {
                self.out.key(&field.key);
                self.inner(field, reader, depth)?;
                true
            }
            _ => false,
        };
        if !is_written {
            reader.at = before;
            reader.lend(|reader| self.any_singular(field, reader, depth))?;
        }
        Ok(())
    }

    /// Writes a key and a value that fits beside it, unless the value is not to be shown. Says
    /// whether it does fit.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every field")]
    fn line(&mut self, slot: Slot, field: &Field, value: Short) -> bool {
        let mut line = self.out.line();
        let fits = line.snippet(&field.key) && line.value(value);
        let length = line.length();
        if fits && (slot.is_always_shown || !value.is_default()) {
            self.out.advance(length);
        }
        fits
    }

    /// Writes key and value where the value is no short string.
    #[inline(never)]
    fn long_string(
        &mut self,
        field: &Field,
        bytes: &[u8],
        range: Range<usize>,
    ) -> Result<(), Fault> {
        if field.kind == Form::Text {
            self.text_field(field, bytes, range);
            return Ok(());
        }
        self.out.snippet(&field.key);
        self.string(bytes, range)
    }

    /// Writes the message behind a tag.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the reader then stays in registers")]
    fn inner(&mut self, field: &'t Field, reader: &mut Reader, depth: u32) -> Result<(), Fault> {
        let range = reader.delimited();
        let range = self.within(field, range)?;
        let result = self.nested(field, reader.part(range), depth);
        self.within(field, result)
    }
}

/// A field whose tag has been read.
struct Next {
    /// In its shortest form, and not that of a packed list.
    tag: u32,
    slot: Slot,
    /// Whether it is a list whose elements stand in one length-delimited value.
    is_packed: bool,
}

/// The next field; `None` where the schema does not know it: it has been skipped.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the reader then stays in registers")]
fn next_field(message: &Message, reader: &mut Reader, depth: u32) -> Result<Option<Next>, Fault> {
    let before = reader.at;
    if let Some(tag) = reader.short_tag()
        && let Some(slot) = message.tagged(tag)
    {
        return Ok(Some(Next {
            tag,
            slot: *slot,
            is_packed: false,
        }));
    }
    reader.at = before;
    reader.lend(|reader| any_field(message, reader, depth))
}

/// As [`next_field`], for those with a long tag, packed or unknown ones.
#[inline(never)]
fn any_field(message: &Message, reader: &mut Reader, depth: u32) -> Result<Option<Next>, Fault> {
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
        slot: *slot,
        is_packed: tag.wire != field.wire(),
    }))
}
