//! Messages, fields and values, whatever they are: what is common goes by `order`, one pass over fields
//! that come in ascending order; what does not, by `disorder`.

use std::ops::Range;

use super::JsonStyle;
use super::maps::Entry;
use super::order::Pass;
use super::out::Out;
use super::tables::{Enum, Field, FieldShape, Form, Message, Shape, Tables};
use crate::wire::{Fault, Problem, Reader, Tag, Wire};

/// What became of a value that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    Value,
    /// A value that is the default of its type.
    Default,
    /// Nothing: the schema does not know this enum value.
    Nothing,
}

/// A list that is being written.
#[derive(Clone, Copy)]
pub(super) struct OpenList {
    /// Where its key stands.
    key: usize,
    /// Where its first element's comma stands, to become the bracket.
    start: usize,
}

pub(super) struct Writer<'t> {
    pub(super) tables: &'t Tables,
    pub(super) messages: &'t [Message],
    pub(super) enums: &'t [Enum],
    pub(super) style: JsonStyle,
    pub(super) out: Out,
    /// Entries of the maps that are being read, innermost last.
    pub(super) entries: Vec<Entry>,
    /// Set below a message that was out of order: its parts are sorted at once, without trying, so
    /// that the work stays in proportion to the bytes however deep the disorder goes.
    pub(super) distrust: bool,
}

impl<'t> Writer<'t> {
    pub(super) fn new(tables: &'t Tables, style: JsonStyle, out: Out) -> Self {
        Self {
            tables,
            messages: tables.messages(style),
            enums: &tables.enums,
            style,
            out,
            entries: Vec::new(),
            distrust: false,
        }
    }

    /// Writes the message that `reader` holds.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one call a message, not two")]
    pub(super) fn message(
        &mut self,
        id: u32,
        reader: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let message = &self.messages[id as usize];
        if message.shape == Shape::Object {
            self.object(message, reader, depth)
        } else {
            self.well_known(message, reader, depth)
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one call a message, not two")]
    pub(super) fn object(
        &mut self,
        message: &'t Message,
        reader: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let start = self.out.position();
        self.fields(message, reader, depth)?;
        self.out.enclose(start, b'{', b'}');
        Ok(())
    }

    /// Writes the fields of a message, each with a comma before it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one call a message, not two")]
    pub(super) fn fields(
        &mut self,
        message: &'t Message,
        reader: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        if self.distrust {
            return self.sorted_fields(message, reader, depth);
        }
        let start = self.out.position();
        let fault =
            match self.fields_in_order(message, reader.bytes, reader.at..reader.end(), depth) {
                Ok(Pass::Done) => return Ok(()),
                Ok(Pass::OutOfOrder) => None,
                Err(fault) => Some(fault),
            };
        self.fields_again(message, reader, depth, start, fault)
    }

    /// Takes back what was written of a message in one pass, and writes its fields sorted.
    #[cold]
    fn fields_again(
        &mut self,
        message: &'t Message,
        reader: Reader,
        depth: u32,
        start: usize,
        fault: Option<Box<Fault>>,
    ) -> Result<(), Box<Fault>> {
        if let Some(fault) = fault {
            // A value without a JSON form does no harm where a later one takes its place.
            if !fault.problem.is_about_content() {
                return Err(fault);
            }
        }
        self.out.back_to(start);
        self.distrust = true;
        let result = self.sorted_fields(message, reader, depth);
        self.distrust = false;
        result
    }

    /// Writes key and value, unless the value is not to be shown.
    pub(super) fn any_singular(
        &mut self,
        field: &'t Field,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let start = self.out.position();
        let wrote = if field.kind == Form::Text {
            reader.delimited().map(|range| {
                self.text_field(field, reader.bytes, range.clone());
                shown(!range.is_empty())
            })
        } else {
            self.out.key(field);
            self.value(field, reader, depth)
        };
        match wrote? {
            Wrote::Value => {}
            Wrote::Default if field.shape != FieldShape::Implicit => {}
            Wrote::Default | Wrote::Nothing => self.out.back_to(start),
        }
        Ok(())
    }

    pub(super) fn begin_list(&mut self, field: &Field) -> OpenList {
        let key = self.out.position();
        self.out.key(field);
        OpenList {
            key,
            start: self.out.position(),
        }
    }

    /// Writes the elements of one occurrence, each with a comma before it.
    #[inline]
    pub(super) fn elements(
        &mut self,
        field: &'t Field,
        is_packed: bool,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        if !is_packed {
            return self.element(field, reader, depth);
        }
        let range = reader.delimited()?;
        let mut packed = reader.part(range);
        while !packed.is_at_end() {
            self.element(field, &mut packed, depth)?;
        }
        Ok(())
    }

    #[inline]
    pub(super) fn element(
        &mut self,
        field: &'t Field,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let start = self.out.position();
        self.out.byte(b',');
        if self.value(field, reader, depth)? == Wrote::Nothing {
            self.out.back_to(start);
        }
        Ok(())
    }

    pub(super) fn end_list(&mut self, list: OpenList) {
        if self.out.position() == list.start {
            self.out.back_to(list.key);
        } else {
            self.out.enclose(list.start, b'[', b']');
        }
    }

    /// Writes a whole list from its occurrences, each the place behind a tag.
    pub(super) fn list(
        &mut self,
        field: &'t Field,
        occurrences: impl Iterator<Item = (Wire, usize)>,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let list = self.begin_list(field);
        for (wire, at) in occurrences {
            let is_packed = wire != field.wire();
            self.elements(field, is_packed, &mut Reader::starting_at(at, bytes), depth)?;
        }
        self.end_list(list);
        Ok(())
    }

    /// Writes the value behind a tag of the field's own wire type.
    pub(super) fn value(
        &mut self,
        field: &Field,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<Wrote, Box<Fault>> {
        Ok(match field.kind {
            Form::String => {
                let range = reader.delimited()?;
                self.string(reader.bytes, range.clone())?;
                shown(!range.is_empty())
            }
            Form::Message => {
                let range = reader.delimited()?;
                self.nested(field, reader.part(range), depth)?;
                Wrote::Value
            }
            Form::Group => {
                let range = reader.group(field.number(), depth)?;
                self.nested(field, reader.part(range), depth)?;
                Wrote::Value
            }
            Form::Uint32 => self.unsigned(reader.uint32()?.into(), false),
            Form::Fixed32 => self.unsigned(reader.fixed32()?.into(), false),
            Form::Uint64 => self.unsigned(reader.uint64()?, field.quoted),
            Form::Fixed64 => self.unsigned(reader.fixed64()?, field.quoted),
            Form::Int32 => self.signed(reader.int32()?.into(), false),
            Form::Sint32 => self.signed(reader.sint32()?.into(), false),
            Form::Sfixed32 => self.signed(reader.sfixed32()?.into(), false),
            Form::Int64 => self.signed(reader.int64()?, field.quoted),
            Form::Sint64 => self.signed(reader.sint64()?, field.quoted),
            Form::Sfixed64 => self.signed(reader.sfixed64()?, field.quoted),
            Form::Bool => {
                let value = reader.bool()?;
                self.out.number(|line| line.bool(value));
                shown(value)
            }
            Form::Enum | Form::ClosedEnum => {
                let number = reader.int32()?;
                self.enumerated(field, number)
            }
            Form::Null => {
                let value = reader.int32()?;
                self.out.text(b"null");
                shown(value != 0)
            }
            Form::Float => {
                let bits = reader.fixed32()?;
                self.out.float(f32::from_bits(bits));
                shown(bits != 0)
            }
            Form::Double => {
                let bits = reader.fixed64()?;
                self.out.double(f64::from_bits(bits));
                shown(bits != 0)
            }
            Form::Bytes | Form::Text => {
                let range = reader.delimited()?;
                self.out.base64(&reader.bytes[range.clone()]);
                shown(!range.is_empty())
            }
        })
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one call a message, not two")]
    pub(super) fn nested(
        &mut self,
        field: &Field,
        fields: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let depth = deeper(depth, fields.at)?;
        self.message(field.target, fields, depth)
    }

    pub(super) fn string(&mut self, bytes: &[u8], range: Range<usize>) -> Result<(), Box<Fault>> {
        self.out
            .string(bytes, range)
            .map_err(|place| Problem::Utf8.at(place))
    }

    /// Writes key and value of a field of bytes that are text: where they are not UTF-8, it becomes
    /// `NAME_base64`.
    pub(super) fn text_field(&mut self, field: &Field, bytes: &[u8], range: Range<usize>) {
        let start = self.out.position();
        self.out.key(field);
        if self.out.string(bytes, range.clone()).is_err() {
            self.out.back_to(start);
            self.out.text(b",\"");
            self.out.text(field.name().as_bytes());
            self.out.text(b"_base64\":");
            self.out.base64(&bytes[range]);
        }
    }

    fn unsigned(&mut self, value: u64, quoted: bool) -> Wrote {
        self.out.number(|line| line.unsigned(value, quoted));
        shown(value != 0)
    }

    fn signed(&mut self, value: i64, quoted: bool) -> Wrote {
        self.out.number(|line| line.signed(value, quoted));
        shown(value != 0)
    }

    #[inline]
    pub(super) fn enumerated(&mut self, field: &Field, number: i32) -> Wrote {
        match self.enums[field.target as usize].name(number) {
            Some(name) => self.out.snippet(name),
            None if field.kind == Form::ClosedEnum => return Wrote::Nothing,
            None => self.out.signed(i64::from(number)),
        }
        shown(number != 0)
    }
}

/// Whether the field has this wire type, or may be packed and is. Any other is an unknown field.
#[inline]
pub(super) fn accepts(field: &Field, tag: Tag) -> bool {
    tag.wire == field.wire() || (tag.wire == Wire::Len && field.is_packable())
}

/// One level less than `depth`.
#[inline]
pub(super) fn deeper(depth: u32, at: usize) -> Result<u32, Box<Fault>> {
    depth.checked_sub(1).ok_or_else(|| Problem::TooDeep.at(at))
}

#[inline]
fn shown(differs_from_default: bool) -> Wrote {
    if differs_from_default {
        Wrote::Value
    } else {
        Wrote::Default
    }
}
