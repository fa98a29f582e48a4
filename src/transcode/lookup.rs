//! One field of a message, found in the wire bytes by the names that lead to it.
//!
//! What is found is what the readable style shows: addresses and times as their text, bytes as text
//! or base64. As everywhere, the last value of a scalar counts, the pieces of a message are merged,
//! and of a oneof the last member is there. A list on the way stands for all its elements, in their
//! order.

use std::borrow::Cow;
use std::ops::Range;

use super::disorder::Joined;
use super::error::DecodeError;
use super::tables::{Field, FieldShape, Form, MessageId, Shape, Tables};
use super::write::accepts;
use super::{JsonStyle, write_json};
use crate::wire::{DEPTH_LIMIT, Fault, Reader, Tag};

/// The fields that lead to one, in the tables that it was compiled against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The message's index in the tables, and the field's in the message.
    steps: Box<[(u32, u32)]>,
}

/// Why names lead to no field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPath<'t> {
    /// The message has no such field.
    Unknown {
        message: &'t str,
        field: String,
        known: Vec<&'t str>,
    },
    /// The path goes on behind a field that has no fields.
    NoFieldsBehind(String),
}

/// What values a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'t> {
    Bool,
    Integer,
    Float,
    Text,
    /// The names of its values.
    Enum(Vec<&'t str>),
    /// A message or map: it can be there or not, and has no value.
    Message,
    /// One value of a form that is known only once it is read, as that of a wrapper.
    Any,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Cow<'a, str>),
    /// A value that the schema does not know has no name.
    Enum {
        number: i32,
        name: Option<&'a str>,
    },
    Message,
}

/// What stands at the end of a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<'a> {
    pub value: Value<'a>,
    /// Whether it shows in JSON: the default of a field that does not tell it from absence does not.
    pub is_shown: bool,
}

impl Path {
    /// Finds the fields of these names, the first one in the message `id`.
    ///
    /// # Errors
    /// There is no such field.
    pub fn compile<'t>(
        tables: &'t Tables,
        id: MessageId,
        names: &[String],
    ) -> Result<Self, NoPath<'t>> {
        let messages = tables.messages(JsonStyle::Readable);
        let mut steps = Vec::with_capacity(names.len());
        let mut at = Some(id.0);
        for name in names {
            let Some(index) = at else {
                let (message, field) = steps[steps.len() - 1];
                return Err(NoPath::NoFieldsBehind(
                    field_at(tables, (message, field)).name().to_owned(),
                ));
            };
            let message = &messages[index as usize];
            let mut fields = message.fields.iter().zip(0..);
            let Some((field, place)) = fields.find(|(field, _)| field.name() == name) else {
                return Err(NoPath::Unknown {
                    message: tables.name(MessageId(index)),
                    field: name.clone(),
                    known: message.fields.iter().map(Field::name).collect(),
                });
            };
            steps.push((index, place));
            let goes_on = field.is_message()
                && field.shape != FieldShape::Map
                && messages[field.target as usize].shape == Shape::Object;
            at = goes_on.then_some(field.target);
        }
        Ok(Self {
            steps: steps.into(),
        })
    }

    /// What its values are.
    #[must_use]
    pub fn kind<'t>(&self, tables: &'t Tables) -> Kind<'t> {
        let Some(&last) = self.steps.last() else {
            return Kind::Message;
        };
        let field = field_at(tables, last);
        match field.kind {
            _ if field.shape == FieldShape::Map => Kind::Message,
            Form::Bool => Kind::Bool,
            Form::Float | Form::Double => Kind::Float,
            Form::String | Form::Bytes | Form::Text => Kind::Text,
            Form::Enum | Form::ClosedEnum => Kind::Enum(tables.enum_names(field.target)),
            Form::Null => Kind::Any,
            Form::Message | Form::Group => match shape_of(tables, field) {
                Shape::Object | Shape::Struct | Shape::ListValue | Shape::Any => Kind::Message,
                Shape::Value | Shape::Wrapper => Kind::Any,
                _ => Kind::Text,
            },
            _ => Kind::Integer,
        }
    }

    /// Shows what stands at its end in `bytes`, one value after the other, until `see` has seen
    /// enough and says `false`.
    ///
    /// # Errors
    /// The bytes are malformed.
    pub fn visit<'a>(
        &self,
        tables: &'a Tables,
        bytes: &'a [u8],
        mut see: impl FnMut(Found<'a>) -> bool,
    ) -> Result<(), DecodeError> {
        let mut walk = Walk {
            tables,
            bytes,
            see: &mut see,
            path: Vec::new(),
        };
        let whole = 0..bytes.len();
        let result = walk.step(&self.steps, &Pieces::one(whole));
        result.map(drop).map_err(|fault| {
            let root = self.steps.first().map_or(0, |(message, _)| *message);
            DecodeError::new(tables.name(MessageId(root)), &walk.path, fault)
        })
    }

    /// Appends the first value as text; nothing where there is none.
    ///
    /// # Errors
    /// The bytes are malformed.
    pub fn append_first(
        &self,
        tables: &Tables,
        bytes: &[u8],
        to: &mut String,
    ) -> Result<(), DecodeError> {
        self.visit(tables, bytes, |found| {
            found.value.append(to);
            false
        })
    }
}

impl Value<'_> {
    /// Appends its text, as JSON shows it, without quotes; a message has none.
    pub fn append(&self, to: &mut String) {
        match self {
            Self::Bool(value) => to.push_str(if *value { "true" } else { "false" }),
            Self::Integer(value) => to.push_str(itoa::Buffer::new().format(*value)),
            Self::Float(value) => to.push_str(super::float_text(*value).trim_matches('"')),
            Self::Text(text) => to.push_str(text),
            Self::Enum {
                name: Some(name), ..
            } => to.push_str(name),
            Self::Enum { number, .. } => to.push_str(itoa::Buffer::new().format(*number)),
            Self::Message => {}
        }
    }
}

fn field_at(tables: &Tables, (message, field): (u32, u32)) -> &Field {
    &tables.messages(JsonStyle::Readable)[message as usize].fields[field as usize]
}

fn shape_of(tables: &Tables, field: &Field) -> Shape {
    tables.messages(JsonStyle::Readable)[field.target as usize].shape
}

/// The places of a message's bytes: one, unless it came in pieces.
#[derive(Default)]
struct Pieces {
    first: Option<Range<usize>>,
    others: Vec<Range<usize>>,
}

impl Pieces {
    fn one(range: Range<usize>) -> Self {
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

struct Walk<'a, 's> {
    tables: &'a Tables,
    bytes: &'a [u8],
    see: &'s mut dyn FnMut(Found<'a>) -> bool,
    /// The fields that lead to a fault, from the innermost one outwards.
    path: Vec<&'a Field>,
}

impl<'a> Walk<'a, '_> {
    /// Takes the first of the steps in the message at `pieces`; `false` once enough is seen.
    fn step(&mut self, steps: &[(u32, u32)], pieces: &Pieces) -> Result<bool, Fault> {
        let Some((&first, rest)) = steps.split_first() else {
            return Ok(true);
        };
        let field = field_at(self.tables, first);
        let result = match field.shape {
            FieldShape::List | FieldShape::Map => self.each(first.0, field, rest, pieces),
            FieldShape::Present | FieldShape::Implicit => self.single(first.0, field, rest, pieces),
        };
        if result.is_err() {
            self.path.push(field);
        }
        result
    }

    /// Goes on with every element of a list.
    fn each(
        &mut self,
        message: u32,
        field: &'a Field,
        rest: &[(u32, u32)],
        pieces: &Pieces,
    ) -> Result<bool, Fault> {
        for piece in pieces.iter() {
            let mut reader = Reader::new(self.bytes).part(piece);
            while let Some((other, tag)) = self.next_field(message, &mut reader)? {
                if other.number() != field.number() {
                    reader.skip(tag, DEPTH_LIMIT)?;
                } else if field.is_message() {
                    let range = Self::range(field, &mut reader)?;
                    if !self.behind(field, rest, &Pieces::one(range))? {
                        return Ok(false);
                    }
                } else if !self.elements(field, tag, &mut reader)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Goes on with what a field that is no list says in the end.
    fn single(
        &mut self,
        message: u32,
        field: &'a Field,
        rest: &[(u32, u32)],
        pieces: &Pieces,
    ) -> Result<bool, Fault> {
        let mut found = Pieces::default();
        let mut last = None;
        for piece in pieces.iter() {
            let end = piece.end;
            let mut reader = Reader::new(self.bytes).part(piece);
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
            Some(_) if field.is_message() => self.behind(field, rest, &found),
            Some(place) => {
                let mut reader = Reader::new(self.bytes).part(place);
                self.show(field, &mut reader)
            }
            // As absent as its default, which is its value.
            None if field.shape == FieldShape::Implicit => {
                self.show(field, &mut Reader::new(&[0; 8]))
            }
            None => Ok(true),
        }
    }

    /// The next field that the schema knows, the reader behind its tag.
    fn next_field(
        &self,
        message: u32,
        reader: &mut Reader,
    ) -> Result<Option<(&'a Field, Tag)>, Fault> {
        let message = &self.tables.messages(JsonStyle::Readable)[message as usize];
        while let Some(tag) = reader.tag()? {
            match message.field(tag.number) {
                Some(field) if accepts(field, tag) => return Ok(Some((field, tag))),
                _ => reader.skip(tag, DEPTH_LIMIT)?,
            }
        }
        Ok(None)
    }

    /// The place of a message's fields.
    fn range(field: &Field, reader: &mut Reader) -> Result<Range<usize>, Fault> {
        match field.kind {
            Form::Group => reader.group(field.number(), DEPTH_LIMIT),
            _ => reader.delimited(),
        }
    }

    /// Goes on in a message, or shows it where the path ends.
    fn behind(
        &mut self,
        field: &'a Field,
        rest: &[(u32, u32)],
        pieces: &Pieces,
    ) -> Result<bool, Fault> {
        if !rest.is_empty() {
            return self.step(rest, pieces);
        }
        let value = match shape_of(self.tables, field) {
            Shape::Object => Value::Message,
            _ if field.shape == FieldShape::Map => Value::Message,
            _ => self.one_value(field, pieces)?,
        };
        Ok((self.see)(Found {
            value,
            is_shown: true,
        }))
    }

    /// The value of a message that is one, as an address or a time.
    fn one_value(&self, field: &Field, pieces: &Pieces) -> Result<Value<'a>, Fault> {
        let joined = Joined::of(pieces.iter(), self.bytes)?;
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
        reader: &mut Reader<'a>,
    ) -> Result<bool, Fault> {
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

    fn show(&mut self, field: &'a Field, reader: &mut Reader<'a>) -> Result<bool, Fault> {
        let value = self.scalar(field, reader)?;
        let is_shown = field.shape != FieldShape::Implicit || !is_default(&value);
        Ok((self.see)(Found { value, is_shown }))
    }

    fn scalar(&self, field: &'a Field, reader: &mut Reader<'a>) -> Result<Value<'a>, Fault> {
        Ok(match field.kind {
            Form::Bool => Value::Bool(reader.bool()?),
            Form::Int32 => Value::Integer(reader.int32()?.into()),
            Form::Uint32 => Value::Integer(reader.uint32()?.into()),
            Form::Sint32 => Value::Integer(reader.sint32()?.into()),
            Form::Fixed32 => Value::Integer(reader.fixed32()?.into()),
            Form::Sfixed32 => Value::Integer(reader.sfixed32()?.into()),
            Form::Int64 => Value::Integer(reader.int64()?.into()),
            Form::Uint64 => Value::Integer(reader.varint()?.into()),
            Form::Sint64 => Value::Integer(reader.sint64()?.into()),
            Form::Fixed64 => Value::Integer(reader.fixed64()?.into()),
            Form::Sfixed64 => Value::Integer(reader.sfixed64()?.into()),
            Form::Float => Value::Float(as_shown(f32::from_bits(reader.fixed32()?))),
            Form::Double => Value::Float(f64::from_bits(reader.fixed64()?)),
            Form::String | Form::Text | Form::Bytes => {
                let range = reader.delimited()?;
                text(field, reader.bytes, range)?
            }
            Form::Enum | Form::ClosedEnum => {
                let number = reader.int32()?;
                let name = self.tables.enum_name(field.target, number);
                Value::Enum { number, name }
            }
            Form::Null | Form::Message | Form::Group => Value::Message,
        })
    }
}

/// The number that the shortest text of a float stands for, which is what people compare with.
fn as_shown(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn text<'a>(field: &Field, bytes: &'a [u8], range: Range<usize>) -> Result<Value<'a>, Fault> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let start = range.start;
    let value = &bytes[range];
    if field.kind != Form::Bytes {
        match std::str::from_utf8(value) {
            Ok(text) => return Ok(Value::Text(text.into())),
            Err(error) if field.kind == Form::String => {
                return Err(crate::wire::Problem::Utf8.at(start + error.valid_up_to()));
            }
            Err(_) => {}
        }
    }
    Ok(Value::Text(STANDARD.encode(value).into()))
}

fn is_default(value: &Value<'_>) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Integer(value) => *value == 0,
        Value::Float(value) => value.to_bits() == 0,
        Value::Text(text) => text.is_empty(),
        Value::Enum { number, .. } => *number == 0,
        Value::Message => false,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::proto::monitoring;
    use crate::schema;

    fn tables() -> Tables {
        Tables::compile(&schema::built_in())
    }

    fn names(path: &str) -> Vec<String> {
        path.split('.').map(str::to_owned).collect()
    }

    fn values(message: &str, path: &str, bytes: &[u8]) -> Result<Vec<String>, DecodeError> {
        let tables = tables();
        let id = tables.message(message).unwrap();
        let path = Path::compile(&tables, id, &names(path)).unwrap();
        let mut all = Vec::new();
        path.visit(&tables, bytes, |found| {
            let mut text = String::new();
            found.value.append(&mut text);
            all.push(if found.is_shown {
                text
            } else {
                format!("({text})")
            });
            true
        })?;
        Ok(all)
    }

    const MONITORING: &str = "Monitoring.MonitoringInformation";

    fn information() -> monitoring::MonitoringInformation {
        let ap = |serial: &str, status| monitoring::Ap {
            serial: Some(serial.to_owned()),
            status,
            ip_address: Some(monitoring::IpAddress {
                addr: b"\x0a\x01\x0a\x67".as_slice().into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        monitoring::MonitoringInformation {
            customer_id: "c1".to_owned(),
            timestamp: Some(1_700_000_000),
            aps: vec![ap("S1", Some(2)), ap("S2", None)],
            ..Default::default()
        }
    }

    #[test]
    fn scalars_enums_and_addresses_are_found_as_json_shows_them() {
        let bytes = information().encode_to_vec();
        let found = |path| values(MONITORING, path, &bytes).unwrap();
        assert_eq!(found("customer_id"), ["c1"]);
        assert_eq!(found("timestamp"), ["1700000000"]);
        assert_eq!(found("aps.serial"), ["S1", "S2"]);
        assert_eq!(found("aps.status"), ["DOWN"]);
        assert_eq!(found("aps.ip_address"), ["10.1.10.103", "10.1.10.103"]);
        assert_eq!(found("aps"), ["", ""], "messages are there, without a text");
        assert_eq!(found("switches.serial"), Vec::<String>::new());
    }

    #[test]
    fn of_a_scalar_the_last_value_counts_and_an_unknown_enum_value_is_its_number() {
        let bytes = [information().encode_to_vec(), b"\x0a\x02c2".to_vec()].concat();
        assert_eq!(values(MONITORING, "customer_id", &bytes).unwrap(), ["c2"]);
        let ap = monitoring::Ap {
            status: Some(77),
            ..Default::default()
        };
        let bytes = ap.encode_to_vec();
        assert_eq!(values("Monitoring.Ap", "status", &bytes).unwrap(), ["77"]);
    }

    #[test]
    fn the_default_of_a_field_without_presence_is_its_value_and_does_not_show() {
        let message = "audittrail.AuditTrail";
        assert_eq!(values(message, "tenant_id", b"").unwrap(), ["()"]);
        assert_eq!(values(MONITORING, "customer_id", b"").unwrap(), [""; 0]);
    }

    #[test]
    fn malformed_bytes_are_an_error_with_field_and_place() {
        // Field 4, aps, whose field 2, serial, is longer than it.
        let error = values(MONITORING, "aps.serial", b"\x22\x02\x12\x09").unwrap_err();
        assert_eq!(
            error.to_string(),
            "length 9 reaches past the end at byte 3 of the payload \
             (Monitoring.MonitoringInformation.aps.serial)"
        );
    }

    #[test]
    fn names_that_lead_nowhere_say_where_they_stop() {
        let tables = tables();
        let id = tables.message(MONITORING).unwrap();
        let compile = |path| Path::compile(&tables, id, &names(path));
        match compile("aps.serail") {
            Err(NoPath::Unknown {
                message,
                field,
                known,
            }) => {
                assert_eq!((message, &*field), ("Monitoring.Ap", "serail"));
                assert!(known.contains(&"serial"));
            }
            other => panic!("{other:?}"),
        }
        for path in ["customer_id.x", "aps.ip_address.addr"] {
            let stop = path.rsplit('.').nth(1).unwrap().to_owned();
            assert_eq!(compile(path), Err(NoPath::NoFieldsBehind(stop)));
        }
        let kind = |path| compile(path).unwrap().kind(&tables);
        assert_eq!(kind("aps"), Kind::Message);
        assert_eq!(kind("aps.ip_address"), Kind::Text);
        assert_eq!(kind("timestamp"), Kind::Integer);
        assert!(matches!(kind("aps.status"), Kind::Enum(names) if names.contains(&"DOWN")));
    }
}
