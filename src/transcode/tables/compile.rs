//! Makes the tables from descriptors.

use std::collections::HashMap;
use std::num::NonZeroU32;

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind,
    MessageDescriptor, Syntax,
};

use super::rules;
use super::{
    EnumTable, Field, FieldAction, FieldShape, InlineText, MessageId, MessageShape, MessageTable,
    NO_FIELD, Snippet, Tables, ValueKind,
};
use crate::transcode::JsonStyle;
use crate::wire::ShortTag;

/// Field numbers up to this one are looked up by index.
const DENSE_NUMBERS: u32 = 1024;

impl Tables {
    /// Compiles all messages and enums of a pool.
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
            enums: enums.iter().map(EnumTable::compile).collect(),
            by_name: names
                .iter()
                .zip(0..)
                .map(|(name, id)| (name.clone(), MessageId(id)))
                .collect(),
            names,
        }
    }
}

impl EnumTable {
    fn compile(descriptor: &EnumDescriptor) -> Self {
        let mut names: Vec<(i32, Snippet)> = Vec::new();
        // In the order of declaration, which decides between names of the same number.
        for value in &descriptor.enum_descriptor_proto().value {
            if names.iter().all(|(number, _)| *number != value.number()) {
                names.push((value.number(), Snippet::new(quoted(value.name()))));
            }
        }
        let default = names.first().map_or(0, |(number, _)| *number);
        names.sort_by_key(|(number, _)| *number);
        Self { names, default }
    }
}

/// The index of each message and enum of the pool in the tables.
struct Index {
    messages: HashMap<String, u32>,
    enums: HashMap<String, u32>,
}

fn positions<'a>(names: impl Iterator<Item = &'a str>) -> HashMap<String, u32> {
    names.map(str::to_owned).zip(0..).collect()
}

impl Index {
    fn message(&self, message: &MessageDescriptor, style: JsonStyle) -> MessageTable {
        let mut fields: Vec<Field> = message
            .fields()
            .map(|field| self.field(message, &field, style))
            .chain(
                message
                    .extensions()
                    .map(|extension| self.extension(&extension, style)),
            )
            .collect();
        fields.sort_by_key(Field::number);

        let last = fields
            .iter()
            .map(Field::number)
            .filter(|number| *number <= DENSE_NUMBERS)
            .max()
            .unwrap_or(0);
        let mut dense = vec![NO_FIELD; last as usize + 1];
        for (field, index) in fields.iter().zip(0..) {
            if let Some(known) = dense.get_mut(field.number() as usize) {
                *known = index;
            }
        }
        MessageTable {
            shape: message_shape(message, style),
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
        let mut kind = value_kind(&field.kind(), field.is_group(), style);
        if style == JsonStyle::Readable
            && kind == ValueKind::Bytes
            && shape != FieldShape::List
            && rules::is_text(field.name())
        {
            kind = ValueKind::Text;
        }
        let (key, long_key) = InlineText::of(key(field.name()));
        let tag = kind.tag(field.number());
        Field {
            short_tag: ShortTag::new(tag),
            action: FieldAction::of(kind, shape, long_key.is_some()),
            key,
            long_key,
            tag,
            kind,
            shape,
            quoted: style == JsonStyle::Canonical,
            oneof: oneof.and_then(|index: u32| NonZeroU32::new(index + 1)),
            target: self.target(&field.kind()),
        }
    }

    fn extension(&self, extension: &ExtensionDescriptor, style: JsonStyle) -> Field {
        let kind = value_kind(&extension.kind(), extension.is_group(), style);
        let shape = if extension.is_list() {
            FieldShape::List
        } else {
            FieldShape::Present
        };
        let (key, long_key) = InlineText::of(key(&format!("[{}]", extension.full_name())));
        let tag = kind.tag(extension.number());
        Field {
            short_tag: ShortTag::new(tag),
            action: FieldAction::of(kind, shape, long_key.is_some()),
            key,
            long_key,
            tag,
            kind,
            shape,
            quoted: style == JsonStyle::Canonical,
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

fn value_kind(kind: &Kind, is_group: bool, style: JsonStyle) -> ValueKind {
    match kind {
        Kind::Bool => ValueKind::Bool,
        Kind::Int32 => ValueKind::Int32,
        Kind::Uint32 => ValueKind::Uint32,
        Kind::Sint32 => ValueKind::Sint32,
        Kind::Fixed32 => ValueKind::Fixed32,
        Kind::Sfixed32 => ValueKind::Sfixed32,
        Kind::Int64 => ValueKind::Int64,
        Kind::Uint64 => ValueKind::Uint64,
        Kind::Sint64 => ValueKind::Sint64,
        Kind::Fixed64 => ValueKind::Fixed64,
        Kind::Sfixed64 => ValueKind::Sfixed64,
        Kind::Float => ValueKind::Float,
        Kind::Double => ValueKind::Double,
        Kind::String => ValueKind::String,
        Kind::Bytes => ValueKind::Bytes,
        Kind::Message(_) if is_group => ValueKind::Group,
        Kind::Message(_) => ValueKind::Message,
        Kind::Enum(declared) if declared.full_name() == "google.protobuf.NullValue" => {
            ValueKind::Null
        }
        Kind::Enum(declared)
            if style == JsonStyle::Canonical
                && declared.parent_file().syntax() == Syntax::Proto2 =>
        {
            ValueKind::ClosedEnum
        }
        Kind::Enum(_) => ValueKind::Enum,
    }
}

fn message_shape(message: &MessageDescriptor, style: JsonStyle) -> MessageShape {
    match message.full_name() {
        "google.protobuf.Timestamp" => MessageShape::Timestamp,
        "google.protobuf.Duration" => MessageShape::Duration,
        "google.protobuf.FieldMask" => MessageShape::FieldMask,
        "google.protobuf.Struct" => MessageShape::Struct,
        "google.protobuf.Value" => MessageShape::Value,
        "google.protobuf.ListValue" => MessageShape::ListValue,
        "google.protobuf.Any" => MessageShape::Any,
        _ if message.parent_file().name() == "google/protobuf/wrappers.proto" => {
            MessageShape::Wrapper
        }
        _ if style == JsonStyle::Canonical => MessageShape::Object,
        _ => rules::shape(message),
    }
}

/// `,"name":`
fn key(name: &str) -> Vec<u8> {
    [&b","[..], &quoted(name), b":"].concat()
}

/// A name as a JSON string. Descriptors that no compiler made may have names that must be escaped.
fn quoted(name: &str) -> Vec<u8> {
    let mut text = Vec::new();
    crate::transcode::write_string(name, &mut text);
    text
}
