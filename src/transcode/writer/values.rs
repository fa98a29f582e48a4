//! Single values: scalars, strings, enums and nested messages.

use std::ops::Range;

use super::{Writer, Written, deeper};
use crate::transcode::tables::{Field, FieldShape, ValueKind};
use crate::wire::{Problem, WireError, WireReader};

impl<'t> Writer<'t> {
    /// Writes key and value of a field that is no list, unless the value is not to be shown.
    pub(super) fn singular(
        &mut self,
        field: &'t Field,
        reader: &mut WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let start = self.out.position();
        let wrote = if field.kind == ValueKind::Text {
            reader.delimited().map(|range| {
                self.text_field(field, reader.bytes, range.clone());
                shown(!range.is_empty())
            })
        } else {
            self.out.key(field);
            self.value(field, reader, depth)
        };
        match wrote? {
            Written::Value => {}
            Written::Default if field.shape != FieldShape::Implicit => {}
            Written::Default | Written::Nothing => self.out.back_to(start),
        }
        Ok(())
    }

    /// Writes the value after a tag of the field's own wire type.
    pub(super) fn value(
        &mut self,
        field: &Field,
        reader: &mut WireReader,
        depth: u32,
    ) -> Result<Written, Box<WireError>> {
        Ok(match field.kind {
            ValueKind::String => {
                let range = reader.delimited()?;
                self.string(reader.bytes, range.clone())?;
                shown(!range.is_empty())
            }
            ValueKind::Message => {
                let range = reader.delimited()?;
                self.nested(field, reader.part(range), depth)?;
                Written::Value
            }
            ValueKind::Group => {
                let range = reader.group(field.number(), depth)?;
                self.nested(field, reader.part(range), depth)?;
                Written::Value
            }
            ValueKind::Uint32 => self.unsigned(reader.uint32()?.into(), false),
            ValueKind::Fixed32 => self.unsigned(reader.fixed32()?.into(), false),
            ValueKind::Uint64 => self.unsigned(reader.uint64()?, field.quoted),
            ValueKind::Fixed64 => self.unsigned(reader.fixed64()?, field.quoted),
            ValueKind::Int32 => self.signed(reader.int32()?.into(), false),
            ValueKind::Sint32 => self.signed(reader.sint32()?.into(), false),
            ValueKind::Sfixed32 => self.signed(reader.sfixed32()?.into(), false),
            ValueKind::Int64 => self.signed(reader.int64()?, field.quoted),
            ValueKind::Sint64 => self.signed(reader.sint64()?, field.quoted),
            ValueKind::Sfixed64 => self.signed(reader.sfixed64()?, field.quoted),
            ValueKind::Bool => {
                let value = reader.bool()?;
                self.out.write_slot(|slot| slot.bool(value));
                shown(value)
            }
            ValueKind::Enum | ValueKind::ClosedEnum => {
                let number = reader.int32()?;
                self.enumerated(field, number)
            }
            ValueKind::Null => {
                let value = reader.int32()?;
                self.out.text(b"null");
                shown(value != 0)
            }
            ValueKind::Float => {
                let bits = reader.fixed32()?;
                self.out.float(f32::from_bits(bits));
                shown(bits != 0)
            }
            ValueKind::Double => {
                let bits = reader.fixed64()?;
                self.out.double(f64::from_bits(bits));
                shown(bits != 0)
            }
            ValueKind::Bytes | ValueKind::Text => {
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
        fields: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let depth = deeper(depth, fields.at)?;
        self.message(field.target, fields, depth)
    }

    pub(super) fn string(
        &mut self,
        bytes: &[u8],
        range: Range<usize>,
    ) -> Result<(), Box<WireError>> {
        self.out
            .string(bytes, range)
            .map_err(|place| Problem::Utf8.at(place))
    }

    /// Writes key and value of a bytes field that is text. If it is not UTF-8, it becomes `NAME_base64`.
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

    fn unsigned(&mut self, value: u64, quoted: bool) -> Written {
        self.out.write_slot(|slot| slot.unsigned(value, quoted));
        shown(value != 0)
    }

    fn signed(&mut self, value: i64, quoted: bool) -> Written {
        self.out.write_slot(|slot| slot.signed(value, quoted));
        shown(value != 0)
    }

    #[inline]
    pub(super) fn enumerated(&mut self, field: &Field, number: i32) -> Written {
        match self.enums[field.target as usize].name(number) {
            Some(name) => self.out.snippet(name),
            None if field.kind == ValueKind::ClosedEnum => return Written::Nothing,
            None => self.out.signed(i64::from(number)),
        }
        shown(number != 0)
    }
}

#[inline]
fn shown(differs_from_default: bool) -> Written {
    if differs_from_default {
        Written::Value
    } else {
        Written::Default
    }
}
