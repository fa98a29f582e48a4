//! The fast path: messages whose fields come in ascending order, read and written in one pass.

use std::ops::Range;

use super::line::Short;
use super::tables::{Field, Form, Message, Slot, Step};
use super::write::{OpenList, Writer, accepts};
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
        mut reader: Reader,
        depth: u32,
    ) -> Result<Pass, Fault> {
        let mut last = 0;
        let mut open: Option<OpenList> = None;
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
            let field = &message.fields[slot.index as usize];
            if tag > last {
                last = tag;
                if let Some(list) = open.take() {
                    self.end_list(list);
                }
                if slot.is_member {
                    if members & field.member_bit() != 0 {
                        return Ok(Pass::OutOfOrder);
                    }
                    members |= field.member_bit();
                }
            } else if tag < last || open.is_none() {
                return Ok(Pass::OutOfOrder);
            }
            match slot.step {
                Step::Messages => {
                    if open.is_none() {
                        open = Some(self.begin_list(field));
                    }
                    self.out.byte(b',');
                    self.inner(field, &mut reader, depth)?;
                }
                Step::List => {
                    if open.is_none() {
                        open = Some(self.begin_list(field));
                    }
                    reader.lend(|reader| self.elements(field, is_packed, reader, depth))?;
                }
                Step::Map => reader.lend(|reader| self.run_of_entries(field, reader, depth))?,
                _ => self.singular(slot, field, &mut reader, depth)?,
            }
        }
        if let Some(list) = open {
            self.end_list(list);
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
        let before = *reader;
        let is_written = match slot.step {
            Step::String => {
                let range = reader.delimited();
                let range = self.within(field, range)?;
                let text = reader.bytes[range.start..].first_chunk();
                let fits = text
                    .is_some_and(|text| self.line(slot, field, Short::String(text, range.len())));
                if !fits && field.kind == Form::String {
                    let result = self.long_string(slot, field, *reader, range);
                    return self.within(field, result);
                }
                fits
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
            Step::Message => {
                self.out.key(&field.key);
                return self.inner(field, reader, depth);
            }
            _ => false,
        };
        if !is_written {
            *reader = before;
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

    /// Writes a string that is no short one.
    fn long_string(
        &mut self,
        slot: Slot,
        field: &Field,
        reader: Reader,
        range: Range<usize>,
    ) -> Result<(), Fault> {
        if !range.is_empty() || slot.is_always_shown {
            self.out.snippet(&field.key);
            self.string(&reader, range.start, range.end)?;
        }
        Ok(())
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
    let before = *reader;
    if let Some(tag) = reader.short_tag()
        && let Some(slot) = message.tagged(tag)
    {
        return Ok(Some(Next {
            tag,
            slot: *slot,
            is_packed: false,
        }));
    }
    *reader = before;
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
