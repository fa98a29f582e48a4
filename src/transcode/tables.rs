//! Descriptors, compiled into what the writer needs for each field and nothing else.
//!
//! Both styles have tables of their own, so that a rule of the readable style costs nothing where
//! it does not apply, and a style is never asked for while a message is written.

use std::collections::HashMap;

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind,
    MessageDescriptor, Syntax,
};

use super::JsonStyle;
use super::rules;
use crate::wire::Wire;

/// Bytes of a key that are copied in one go; longer ones take a second step.
pub(super) const KEY_CHUNK: usize = 32;

/// Field numbers up to this one are looked up by index.
const DENSE_NUMBERS: u32 = 1024;

/// No field has this index.
const NO_FIELD: u32 = u32::MAX;

/// Names a message of the [`Tables`] that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(pub(super) u32);

/// Everything that is needed to write any message of a descriptor pool as JSON.
#[derive(Debug)]
pub struct Tables {
    canonical: Vec<Message>,
    readable: Vec<Message>,
    pub(super) enums: Vec<Enum>,
    names: Vec<Box<str>>,
    by_name: HashMap<Box<str>, MessageId>,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) shape: Shape,
    /// In the order of their numbers.
    pub(super) fields: Box<[Field]>,
    /// Field number to index in `fields`.
    dense: Box<[u32]>,
}

/// How a message looks in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Timestamp,
    Duration,
    FieldMask,
    Struct,
    Value,
    ListValue,
    Any,
    Wrapper,
    /// A MAC address as text; the number of the field that holds its bytes.
    Mac(u32),
    /// An IP address as text; the number of the field that holds its bytes.
    Ip(u32),
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) key: Key,
    pub(super) number: u32,
    pub(super) wire: Wire,
    pub(super) kind: Form,
    pub(super) shape: FieldShape,
    /// 64-bit integers: whether they are text.
    pub(super) quoted: bool,
    /// The bit of the oneof that it is a member of, or 0. The 64th bit stands for all further
    /// oneofs of the message.
    pub(super) member_bit: u64,
    /// Index of its oneof in the message.
    pub(super) oneof: Option<u32>,
    /// Index of its message or enum.
    pub(super) target: u32,
}

/// `,"name":`, ready to be copied: the comma of an object's first field becomes its brace.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) head: [u8; KEY_CHUNK],
    pub(super) length: usize,
    pub(super) tail: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldShape {
    /// Written where it is present, whatever its value is.
    Present,
    /// proto3 without `optional`: not written where it has its default.
    Implicit,
    List,
    Map,
}

/// What a value is, on the wire and in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Int32,
    Uint32,
    Sint32,
    Fixed32,
    Sfixed32,
    Int64,
    Uint64,
    Sint64,
    Fixed64,
    Sfixed64,
    Float,
    Double,
    String,
    Bytes,
    /// Bytes that are text, unless they are not UTF-8.
    Text,
    Enum,
    /// proto2, canonical: a value that the schema does not know counts as an unknown field.
    ClosedEnum,
    Null,
    Message,
    Group,
}

#[derive(Debug)]
pub(super) struct Enum {
    /// Number to `"NAME"`, in the order of the numbers.
    names: Vec<(i32, Box<[u8]>)>,
    /// The name of the first value, which is the default.
    pub(super) default: Box<[u8]>,
}

impl Tables {
    #[must_use]
    pub fn compile(pool: &DescriptorPool) -> Self {
        let messages: Vec<MessageDescriptor> = pool.all_messages().collect();
        let enums: Vec<EnumDescriptor> = pool.all_enums().collect();
        let names: Vec<Box<str>> = messages.iter().map(|m| m.full_name().into()).collect();
        let index = Index {
            messages: positions(messages.iter().map(MessageDescriptor::full_name)),
            enums: positions(enums.iter().map(EnumDescriptor::full_name)),
        };
        let of_style = |style| {
            messages
                .iter()
                .map(|message| index.message(message, style))
                .collect()
        };
        Self {
            canonical: of_style(JsonStyle::Canonical),
            readable: of_style(JsonStyle::Readable),
            enums: enums.iter().map(Enum::compile).collect(),
            by_name: names
                .iter()
                .zip(0..)
                .map(|(name, id)| (name.clone(), MessageId(id)))
                .collect(),
            names,
        }
    }

    /// The message of this full name, such as `Monitoring.MonitoringInformation`.
    #[must_use]
    pub fn message(&self, full_name: &str) -> Option<MessageId> {
        self.by_name.get(full_name).copied()
    }

    /// The full name.
    #[must_use]
    pub fn name(&self, id: MessageId) -> &str {
        &self.names[id.0 as usize]
    }

    pub(super) fn messages(&self, style: JsonStyle) -> &[Message] {
        match style {
            JsonStyle::Canonical => &self.canonical,
            JsonStyle::Readable => &self.readable,
        }
    }
}

impl Message {
    #[inline]
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        match self.dense.get(number as usize) {
            Some(&index) => self.fields.get(index as usize),
            None => self.sparse(number),
        }
    }

    fn sparse(&self, number: u32) -> Option<&Field> {
        let index = self
            .fields
            .binary_search_by_key(&number, |field| field.number)
            .ok()?;
        Some(&self.fields[index])
    }
}

impl Field {
    pub(super) fn name(&self) -> &str {
        let bytes = if self.key.tail.is_empty() {
            &self.key.head[..self.key.length]
        } else {
            &self.key.tail
        };
        std::str::from_utf8(&bytes[2..bytes.len() - 2]).expect("a name of a descriptor")
    }

    /// Whether several values may stand in one length-delimited field.
    pub(super) fn is_packable(&self) -> bool {
        self.shape == FieldShape::List && !matches!(self.wire, Wire::Len | Wire::Group)
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(self.kind, Form::Message | Form::Group)
    }
}

impl Key {
    fn new(name: &str) -> Self {
        let text = [&b","[..], &quoted(name), b":"].concat();
        let mut head = [0; KEY_CHUNK];
        let fits = text.len() <= KEY_CHUNK;
        let shown = text.len().min(KEY_CHUNK);
        head[..shown].copy_from_slice(&text[..shown]);
        Self {
            head,
            length: text.len(),
            tail: if fits { Box::default() } else { text.into() },
        }
    }
}

/// A name as a JSON string: a descriptor that no compiler made may have one that must be escaped.
fn quoted(name: &str) -> Vec<u8> {
    let mut text = Vec::new();
    super::write_string(name, &mut text);
    text
}

impl Enum {
    fn compile(descriptor: &EnumDescriptor) -> Self {
        let mut names: Vec<(i32, Box<[u8]>)> = Vec::new();
        // In the order of declaration, which decides between names of the same number.
        for value in &descriptor.enum_descriptor_proto().value {
            if names.iter().all(|(number, _)| *number != value.number()) {
                names.push((value.number(), quoted(value.name()).into()));
            }
        }
        let default = names.first().map(|(_, name)| name.clone());
        names.sort_by_key(|(number, _)| *number);
        Self {
            names,
            default: default.unwrap_or_else(|| b"0".as_slice().into()),
        }
    }

    /// The name of `number`, in quotes.
    #[inline]
    pub(super) fn name(&self, number: i32) -> Option<&[u8]> {
        // Most enums count from 0 or 1 without a gap.
        let first = self.names.first()?.0;
        let guess = usize::try_from(i64::from(number) - i64::from(first)).ok()?;
        if let Some((found, name)) = self.names.get(guess)
            && *found == number
        {
            return Some(name);
        }
        let index = self
            .names
            .binary_search_by_key(&number, |(number, _)| *number)
            .ok()?;
        Some(&self.names[index].1)
    }
}

/// Where each message and enum of the pool stands in the tables.
struct Index {
    messages: HashMap<String, u32>,
    enums: HashMap<String, u32>,
}

fn positions<'a>(names: impl Iterator<Item = &'a str>) -> HashMap<String, u32> {
    names.map(str::to_owned).zip(0..).collect()
}

impl Index {
    fn message(&self, message: &MessageDescriptor, style: JsonStyle) -> Message {
        let mut fields: Vec<Field> = message
            .fields()
            .map(|field| self.field(message, &field, style))
            .chain(
                message
                    .extensions()
                    .map(|extension| self.extension(&extension, style)),
            )
            .collect();
        fields.sort_by_key(|field| field.number);

        let last = fields
            .iter()
            .map(|field| field.number)
            .filter(|number| *number <= DENSE_NUMBERS)
            .max()
            .unwrap_or(0);
        let mut dense = vec![NO_FIELD; last as usize + 1];
        for (field, index) in fields.iter().zip(0..) {
            if let Some(slot) = dense.get_mut(field.number as usize) {
                *slot = index;
            }
        }
        Message {
            shape: shape(message, style),
            fields: fields.into(),
            dense: dense.into(),
        }
    }

    fn field(
        &self,
        message: &MessageDescriptor,
        field: &FieldDescriptor,
        style: JsonStyle,
    ) -> Field {
        let oneof = field.containing_oneof().and_then(|oneof| {
            let (index, _) = (0..)
                .zip(message.oneofs())
                .find(|(_, other)| *other == oneof)?;
            (!oneof.is_synthetic()).then_some(index)
        });
        let shape = if field.is_map() {
            FieldShape::Map
        } else if field.cardinality() == Cardinality::Repeated {
            FieldShape::List
        } else if field.supports_presence() {
            FieldShape::Present
        } else {
            FieldShape::Implicit
        };
        let mut kind = form(&field.kind(), field.is_group(), style);
        if style == JsonStyle::Readable
            && kind == Form::Bytes
            && shape != FieldShape::List
            && rules::is_text(field.name())
        {
            kind = Form::Text;
        }
        Field {
            key: Key::new(field.name()),
            number: field.number(),
            wire: wire(kind),
            kind,
            shape,
            quoted: style == JsonStyle::Canonical,
            member_bit: oneof.map_or(0, |index| 1 << index.min(63)),
            oneof,
            target: self.target(&field.kind()),
        }
    }

    fn extension(&self, extension: &ExtensionDescriptor, style: JsonStyle) -> Field {
        let kind = form(&extension.kind(), extension.is_group(), style);
        Field {
            key: Key::new(&format!("[{}]", extension.full_name())),
            number: extension.number(),
            wire: wire(kind),
            kind,
            shape: if extension.is_list() {
                FieldShape::List
            } else {
                FieldShape::Present
            },
            quoted: style == JsonStyle::Canonical,
            member_bit: 0,
            oneof: None,
            target: self.target(&extension.kind()),
        }
    }

    fn target(&self, kind: &Kind) -> u32 {
        match kind {
            Kind::Message(message) => self.messages[message.full_name()],
            Kind::Enum(declared) => self.enums[declared.full_name()],
            _ => 0,
        }
    }
}

fn form(kind: &Kind, is_group: bool, style: JsonStyle) -> Form {
    match kind {
        Kind::Bool => Form::Bool,
        Kind::Int32 => Form::Int32,
        Kind::Uint32 => Form::Uint32,
        Kind::Sint32 => Form::Sint32,
        Kind::Fixed32 => Form::Fixed32,
        Kind::Sfixed32 => Form::Sfixed32,
        Kind::Int64 => Form::Int64,
        Kind::Uint64 => Form::Uint64,
        Kind::Sint64 => Form::Sint64,
        Kind::Fixed64 => Form::Fixed64,
        Kind::Sfixed64 => Form::Sfixed64,
        Kind::Float => Form::Float,
        Kind::Double => Form::Double,
        Kind::String => Form::String,
        Kind::Bytes => Form::Bytes,
        Kind::Message(_) if is_group => Form::Group,
        Kind::Message(_) => Form::Message,
        Kind::Enum(declared) if declared.full_name() == "google.protobuf.NullValue" => Form::Null,
        Kind::Enum(declared)
            if style == JsonStyle::Canonical
                && declared.parent_file().syntax() == Syntax::Proto2 =>
        {
            Form::ClosedEnum
        }
        Kind::Enum(_) => Form::Enum,
    }
}

fn wire(kind: Form) -> Wire {
    match kind {
        Form::Bool
        | Form::Int32
        | Form::Uint32
        | Form::Sint32
        | Form::Int64
        | Form::Uint64
        | Form::Sint64
        | Form::Enum
        | Form::ClosedEnum
        | Form::Null => Wire::Varint,
        Form::Fixed32 | Form::Sfixed32 | Form::Float => Wire::Fixed32,
        Form::Fixed64 | Form::Sfixed64 | Form::Double => Wire::Fixed64,
        Form::String | Form::Bytes | Form::Text | Form::Message => Wire::Len,
        Form::Group => Wire::Group,
    }
}

fn shape(message: &MessageDescriptor, style: JsonStyle) -> Shape {
    match message.full_name() {
        "google.protobuf.Timestamp" => Shape::Timestamp,
        "google.protobuf.Duration" => Shape::Duration,
        "google.protobuf.FieldMask" => Shape::FieldMask,
        "google.protobuf.Struct" => Shape::Struct,
        "google.protobuf.Value" => Shape::Value,
        "google.protobuf.ListValue" => Shape::ListValue,
        "google.protobuf.Any" => Shape::Any,
        _ if message.parent_file().name() == "google/protobuf/wrappers.proto" => Shape::Wrapper,
        _ if style == JsonStyle::Canonical => Shape::Object,
        _ => rules::shape(message),
    }
}
