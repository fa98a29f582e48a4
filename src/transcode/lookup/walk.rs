//! Walks along a path through wire bytes.

use std::ops::Range;

use super::value::{FieldValue, Value, as_shown, text};
use super::{field_at, shape_of};
use crate::transcode::tables::{Field, FieldShape, MessageId, MessageShape, Tables, ValueKind};
use crate::transcode::writer::accepts;
use crate::transcode::writer::joined::JoinedPieces;
use crate::transcode::{JsonStyle, write_json};
use crate::wire::{DEPTH_LIMIT, Tag, WireError, WireReader};

/// The ranges of a message's bytes: one, unless the message came in pieces.
#[derive(Default)]
pub(crate) struct Pieces {
    first: Option<Range<usize>>,
    others: Vec<Range<usize>>,
}

impl Pieces {
    pub(crate) fn one(range: Range<usize>) -> Self {
        Self {
            first: Some(range),
            others: Vec::new(),
        }
    }

    fn push(&mut self, range: Range<usize>) {
        match self.first {
            None => self.first = Some(range),
            Some(_) => self.others.push(range),
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn iter(&self) -> impl Iterator<Item = Range<usize>> {
        self.first.iter().chain(&self.others).cloned()
    }
}

pub(crate) struct Walk<'a, 's> {
    pub(crate) tables: &'a Tables,
    pub(crate) bytes: &'a [u8],
    pub(crate) see: &'s mut dyn FnMut(FieldValue<'a>) -> bool,
}

impl<'a> Walk<'a, '_> {
    /// Takes the first of the steps in the message at `pieces`. `false` once `see` has returned `false`.
    pub(crate) fn step(
        &mut self,
        steps: &[(u32, u32)],
        pieces: &Pieces,
    ) -> Result<bool, Box<WireError>> {
        let Some((&first, rest)) = steps.split_first() else {
            return Ok(true);
        };
        let field = field_at(self.tables, first);
        match field.shape {
            FieldShape::List | FieldShape::Map => self.each(first.0, field, rest, pieces),
            FieldShape::Present | FieldShape::Implicit => self.single(first.0, field, rest, pieces),
        }
    }

    /// Goes on with every element of a list.
    fn each(
        &mut self,
        message: u32,
        field: &'a Field,
        rest: &[(u32, u32)],
        pieces: &Pieces,
    ) -> Result<bool, Box<WireError>> {
        for piece in pieces.iter() {
            let mut reader = WireReader::new(self.bytes).part(piece);
            while let Some((other, tag)) = self.next_field(message, &mut reader)? {
                if other.number() != field.number() {
                    reader.skip(tag, DEPTH_LIMIT)?;
                } else if field.is_message() {
                    let range = Self::range(field, &mut reader)?;
                    if !self.enter(field, rest, &Pieces::one(range))? {
                        return Ok(false);
                    }
                } else if !self.elements(field, tag, &mut reader)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Goes on with the value of a field that is no list: the last one, or the merged pieces.
    fn single(
        &mut self,
        message: u32,
        field: &'a Field,
        rest: &[(u32, u32)],
        pieces: &Pieces,
    ) -> Result<bool, Box<WireError>> {
        let mut found = Pieces::default();
        let mut last = None;
        for piece in pieces.iter() {
            let end = piece.end;
            let mut reader = WireReader::new(self.bytes).part(piece);
            while let Some((other, tag)) = self.next_field(message, &mut reader)? {
                if other.number() == field.number() {
                    last = Some(reader.at..end);
                    if field.is_message() {
                        found.push(Self::range(field, &mut reader)?);
                        continue;
                    }
                } else if other.oneof().is_some() && other.oneof() == field.oneof() {
                    last = None;
                    found.clear();
                }
                reader.skip(tag, DEPTH_LIMIT)?;
            }
        }
        match last {
            Some(_) if field.is_message() => self.enter(field, rest, &found),
            Some(place) => {
                let mut reader = WireReader::new(self.bytes).part(place);
                self.show(field, &mut reader)
            }
            // An absent field without presence has its default as its value.
            None if field.shape == FieldShape::Implicit => {
                self.show(field, &mut WireReader::new(&[0; 8]))
            }
            None => Ok(true),
        }
    }

    /// The next field that the tables know; the reader is then after its tag.
    fn next_field(
        &self,
        message: u32,
        reader: &mut WireReader,
    ) -> Result<Option<(&'a Field, Tag)>, Box<WireError>> {
        let message = &self.tables.messages(JsonStyle::Readable)[message as usize];
        while let Some(tag) = reader.tag()? {
            match message.field(tag.number) {
                Some(field) if accepts(field, tag) => return Ok(Some((field, tag))),
                _ => reader.skip(tag, DEPTH_LIMIT)?,
            }
        }
        Ok(None)
    }

    /// The bytes of a message's fields.
    fn range(field: &Field, reader: &mut WireReader) -> Result<Range<usize>, Box<WireError>> {
        match field.kind {
            ValueKind::Group => reader.group(field.number(), DEPTH_LIMIT),
            _ => reader.delimited(),
        }
    }

    /// Goes on in a message, or shows it if the path ends here.
    fn enter(
        &mut self,
        field: &'a Field,
        rest: &[(u32, u32)],
        pieces: &Pieces,
    ) -> Result<bool, Box<WireError>> {
        if !rest.is_empty() {
            return self.step(rest, pieces);
        }
        let value = match shape_of(self.tables, field) {
            MessageShape::Object => Value::Message,
            _ if field.shape == FieldShape::Map => Value::Message,
            _ => self.one_value(field, pieces)?,
        };
        Ok((self.see)(FieldValue {
            value,
            is_shown: true,
        }))
    }

    /// The value of a message that stands for one value, such as an address or a time.
    fn one_value(&self, field: &Field, pieces: &Pieces) -> Result<Value<'a>, Box<WireError>> {
        let joined = JoinedPieces::of(pieces.iter(), self.bytes)?;
        let mut json = Vec::new();
        let id = MessageId(field.target);
        write_json(
            self.tables,
            id,
            &joined.bytes,
            JsonStyle::Readable,
            &mut json,
        )
        .map_err(|error| error.problem.at(joined.origin(error.offset)))?;
        Ok(match serde_json::from_slice(&json) {
            Ok(serde_json::Value::String(text)) => Value::Text(text.into()),
            Ok(serde_json::Value::Bool(value)) => Value::Bool(value),
            Ok(serde_json::Value::Number(number)) => match number.as_i128() {
                Some(integer) => Value::Integer(integer),
                None => number.as_f64().map_or(Value::Message, Value::Float),
            },
            _ => Value::Message,
        })
    }

    /// Shows the elements of one occurrence of a list of scalars.
    fn elements(
        &mut self,
        field: &'a Field,
        tag: Tag,
        reader: &mut WireReader<'a>,
    ) -> Result<bool, Box<WireError>> {
        if tag.wire == field.wire() {
            return self.show(field, reader);
        }
        let range = reader.delimited()?;
        let mut packed = reader.part(range);
        while !packed.is_at_end() {
            if !self.show(field, &mut packed)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn show(
        &mut self,
        field: &'a Field,
        reader: &mut WireReader<'a>,
    ) -> Result<bool, Box<WireError>> {
        let value = self.scalar(field, reader)?;
        let is_shown = field.shape != FieldShape::Implicit || !value.is_default();
        Ok((self.see)(FieldValue { value, is_shown }))
    }

    fn scalar(
        &self,
        field: &'a Field,
        reader: &mut WireReader<'a>,
    ) -> Result<Value<'a>, Box<WireError>> {
        Ok(match field.kind {
            ValueKind::Bool => Value::Bool(reader.bool()?),
            ValueKind::Int32 => Value::Integer(reader.int32()?.into()),
            ValueKind::Uint32 => Value::Integer(reader.uint32()?.into()),
            ValueKind::Sint32 => Value::Integer(reader.sint32()?.into()),
            ValueKind::Fixed32 => Value::Integer(reader.fixed32()?.into()),
            ValueKind::Sfixed32 => Value::Integer(reader.sfixed32()?.into()),
            ValueKind::Int64 => Value::Integer(reader.int64()?.into()),
            ValueKind::Uint64 => Value::Integer(reader.varint()?.into()),
            ValueKind::Sint64 => Value::Integer(reader.sint64()?.into()),
            ValueKind::Fixed64 => Value::Integer(reader.fixed64()?.into()),
            ValueKind::Sfixed64 => Value::Integer(reader.sfixed64()?.into()),
            ValueKind::Float => Value::Float(as_shown(f32::from_bits(reader.fixed32()?))),
            ValueKind::Double => Value::Float(f64::from_bits(reader.fixed64()?)),
            ValueKind::String | ValueKind::Text | ValueKind::Bytes => {
                let range = reader.delimited()?;
                text(field, reader.bytes, range)?
            }
            ValueKind::Enum | ValueKind::ClosedEnum => {
                let number = reader.int32()?;
                let name = self.tables.enum_name(field.target, number);
                Value::Enum { number, name }
            }
            ValueKind::Null | ValueKind::Message | ValueKind::Group => Value::Message,
        })
    }
}
