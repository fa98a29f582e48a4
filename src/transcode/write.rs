//! The fast path: messages whose fields come in ascending order.

use super::JsonStyle;
use super::maps::Entry;
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

/// Whether a message could be written in one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Done,
    OutOfOrder,
}

/// A list that is being written.
#[derive(Clone, Copy)]
struct OpenList {
    /// Where its key stands.
    key: usize,
    /// Where its first element's comma stands, to become the bracket.
    start: usize,
}

pub(super) struct Writer<'t, 'o> {
    pub(super) tables: &'t Tables,
    pub(super) messages: &'t [Message],
    pub(super) enums: &'t [Enum],
    pub(super) style: JsonStyle,
    pub(super) out: Out<'o>,
    /// The fields that lead to a fault, from the innermost one outwards.
    pub(super) path: Vec<&'t Field>,
    /// Entries of the maps that are being read, innermost last.
    pub(super) entries: Vec<Entry>,
    /// Set below a message that was out of order: its parts are sorted at once, without trying, so
    /// that the work stays in proportion to the bytes however deep the disorder goes.
    pub(super) distrust: bool,
}

impl<'t, 'o> Writer<'t, 'o> {
    pub(super) fn new(tables: &'t Tables, style: JsonStyle, out: Out<'o>) -> Self {
        Self {
            tables,
            messages: tables.messages(style),
            enums: &tables.enums,
            style,
            out,
            path: Vec::new(),
            entries: Vec::new(),
            distrust: false,
        }
    }

    /// Writes the message that `reader` holds.
    pub(super) fn message(
        &mut self,
        id: u32,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Fault> {
        let message = &self.messages[id as usize];
        if message.shape == Shape::Object {
            self.object(message, reader, depth)
        } else {
            self.well_known(message, *reader, depth)
        }
    }

    pub(super) fn object(
        &mut self,
        message: &'t Message,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Fault> {
        let start = self.out.position();
        self.fields(message, reader, depth)?;
        self.out.enclose(start, b'{', b'}');
        Ok(())
    }

    /// Writes the fields of a message, each with a comma before it.
    pub(super) fn fields(
        &mut self,
        message: &'t Message,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Fault> {
        if self.distrust {
            return self.sorted_fields(message, *reader, depth);
        }
        let start = self.out.position();
        let first = reader.at;
        match self.fields_in_order(message, reader, depth) {
            Ok(Pass::Done) => return Ok(()),
            Ok(Pass::OutOfOrder) => {}
            // A value without a JSON form does no harm where a later one takes its place.
            Err(fault) if fault.problem.is_about_content() => self.path.clear(),
            Err(fault) => return Err(fault),
        }
        self.out.back_to(start);
        reader.at = first;
        self.distrust = true;
        let result = self.sorted_fields(message, *reader, depth);
        self.distrust = false;
        result
    }

    fn fields_in_order(
        &mut self,
        message: &'t Message,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<Pass, Fault> {
        let mut last = 0;
        let mut open: Option<OpenList> = None;
        let mut members = 0;
        while let Some(tag) = reader.tag()? {
            let known = message.field(tag.number);
            let Some(field) = known.filter(|field| accepts(field, tag)) else {
                reader.skip(tag, depth)?;
                continue;
            };
            if field.number != last || open.is_none() {
                if field.number <= last || members & field.member_bit != 0 {
                    return Ok(Pass::OutOfOrder);
                }
                if let Some(list) = open.take() {
                    self.end_list(list);
                }
                last = field.number;
                members |= field.member_bit;
                match field.shape {
                    FieldShape::List => open = Some(self.begin_list(field)),
                    FieldShape::Map => {
                        self.run_of_entries(field, reader, depth)?;
                        continue;
                    }
                    FieldShape::Present | FieldShape::Implicit => {
                        self.singular(field, reader, depth)?;
                        continue;
                    }
                }
            }
            self.elements(field, tag.wire, reader, depth)?;
        }
        if let Some(list) = open {
            self.end_list(list);
        }
        Ok(Pass::Done)
    }

    /// Writes key and value, unless the value is not to be shown.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the reader then stays in registers between two fields"
    )]
    pub(super) fn singular(
        &mut self,
        field: &'t Field,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Fault> {
        let start = self.out.position();
        self.out.key(&field.key);
        let wrote = match field.kind {
            Form::Text => self.text_field(field, reader, start),
            _ => self.value(field, reader, depth),
        };
        match self.within(field, wrote)? {
            Wrote::Value => {}
            Wrote::Default if field.shape != FieldShape::Implicit => {}
            Wrote::Default | Wrote::Nothing => self.out.back_to(start),
        }
        Ok(())
    }

    fn begin_list(&mut self, field: &Field) -> OpenList {
        let key = self.out.position();
        self.out.key(&field.key);
        OpenList {
            key,
            start: self.out.position(),
        }
    }

    /// Writes the elements of one occurrence, each with a comma before it.
    #[inline]
    fn elements(
        &mut self,
        field: &'t Field,
        wire: Wire,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Fault> {
        if wire == field.wire {
            return self.element(field, reader, depth);
        }
        let range = reader.delimited();
        let mut packed = reader.part(self.within(field, range)?);
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
    ) -> Result<(), Fault> {
        let start = self.out.position();
        self.out.byte(b',');
        let wrote = self.value(field, reader, depth);
        if self.within(field, wrote)? == Wrote::Nothing {
            self.out.back_to(start);
        }
        Ok(())
    }

    fn end_list(&mut self, list: OpenList) {
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
    ) -> Result<(), Fault> {
        let list = self.begin_list(field);
        for (wire, at) in occurrences {
            self.elements(field, wire, &mut Reader { bytes, at }, depth)?;
        }
        self.end_list(list);
        Ok(())
    }

    /// Adds `field` to the path of a fault that happened within it.
    #[inline]
    pub(super) fn within<T>(
        &mut self,
        field: &'t Field,
        result: Result<T, Fault>,
    ) -> Result<T, Fault> {
        if result.is_err() {
            self.path.push(field);
        }
        result
    }

    /// Writes the value behind a tag of the field's own wire type.
    #[inline]
    pub(super) fn value(
        &mut self,
        field: &Field,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<Wrote, Fault> {
        Ok(match field.kind {
            Form::String => {
                let range = reader.delimited()?;
                self.string(reader, range.start, range.end)?;
                shown(!range.is_empty())
            }
            Form::Uint32 => self.uint(u64::from(reader.uint32()?)),
            Form::Int32 => self.int(i64::from(reader.int32()?)),
            Form::Message => {
                let range = reader.delimited()?;
                let mut part = reader.part(range);
                let depth = deeper(depth, part.at)?;
                self.message(field.target, &mut part, depth)?;
                Wrote::Value
            }
            Form::Uint64 => {
                let value = reader.varint()?;
                self.uint64(field, value)
            }
            Form::Int64 => {
                let value = reader.int64()?;
                self.int64(field, value)
            }
            Form::Bool => {
                let value = reader.bool()?;
                self.out.bool(value);
                shown(value)
            }
            Form::Enum | Form::ClosedEnum => {
                let number = reader.int32()?;
                self.enumerated(field, number)
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
            _ => return self.rare_value(field, reader, depth),
        })
    }

    fn rare_value(
        &mut self,
        field: &Field,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<Wrote, Fault> {
        Ok(match field.kind {
            Form::Sint32 => self.int(i64::from(reader.sint32()?)),
            Form::Sint64 => {
                let value = reader.sint64()?;
                self.int64(field, value)
            }
            Form::Fixed32 => self.uint(u64::from(reader.fixed32()?)),
            Form::Sfixed32 => self.int(i64::from(reader.sfixed32()?)),
            Form::Fixed64 => {
                let value = reader.fixed64()?;
                self.uint64(field, value)
            }
            Form::Sfixed64 => {
                let value = reader.sfixed64()?;
                self.int64(field, value)
            }
            Form::Null => {
                let value = reader.int32()?;
                self.out.text(b"null");
                shown(value != 0)
            }
            _ => {
                let range = reader.group(field.number, depth)?;
                let mut part = reader.part(range);
                let depth = deeper(depth, part.at)?;
                self.message(field.target, &mut part, depth)?;
                Wrote::Value
            }
        })
    }

    #[inline]
    pub(super) fn string(
        &mut self,
        reader: &Reader,
        start: usize,
        end: usize,
    ) -> Result<(), Fault> {
        self.out
            .string(&reader.bytes[start..end])
            .map_err(|place| Problem::Utf8.at(start + place))
    }

    /// Bytes that are text: where they are not UTF-8, the field becomes `NAME_base64`.
    fn text_field(
        &mut self,
        field: &Field,
        reader: &mut Reader,
        start: usize,
    ) -> Result<Wrote, Fault> {
        let range = reader.delimited()?;
        let bytes = &reader.bytes[range];
        if self.out.string(bytes).is_err() {
            self.out.back_to(start);
            self.out.text(b",\"");
            self.out.text(field.name().as_bytes());
            self.out.text(b"_base64\":");
            self.out.base64(bytes);
        }
        Ok(shown(!bytes.is_empty()))
    }

    #[inline]
    fn uint(&mut self, value: u64) -> Wrote {
        self.out.unsigned(value);
        shown(value != 0)
    }

    #[inline]
    fn int(&mut self, value: i64) -> Wrote {
        self.out.signed(value);
        shown(value != 0)
    }

    #[inline]
    fn uint64(&mut self, field: &Field, value: u64) -> Wrote {
        if field.quoted {
            self.out.byte(b'"');
            self.out.unsigned(value);
            self.out.byte(b'"');
            shown(value != 0)
        } else {
            self.uint(value)
        }
    }

    #[inline]
    fn int64(&mut self, field: &Field, value: i64) -> Wrote {
        if field.quoted {
            self.out.byte(b'"');
            self.out.signed(value);
            self.out.byte(b'"');
            shown(value != 0)
        } else {
            self.int(value)
        }
    }

    #[inline]
    fn enumerated(&mut self, field: &Field, number: i32) -> Wrote {
        match self.enums[field.target as usize].name(number) {
            Some(name) => self.out.text(name),
            None if field.kind == Form::ClosedEnum => return Wrote::Nothing,
            None => self.out.signed(i64::from(number)),
        }
        shown(number != 0)
    }
}

/// Whether the field has this wire type, or may be packed and is. Any other is an unknown field.
#[inline]
pub(super) fn accepts(field: &Field, tag: Tag) -> bool {
    tag.wire == field.wire || (tag.wire == Wire::Len && field.is_packable())
}

/// One level less than `depth`.
#[inline]
pub(super) fn deeper(depth: u32, at: usize) -> Result<u32, Fault> {
    depth.checked_sub(1).ok_or(Problem::TooDeep.at(at))
}

#[inline]
fn shown(differs_from_default: bool) -> Wrote {
    if differs_from_default {
        Wrote::Value
    } else {
        Wrote::Default
    }
}
