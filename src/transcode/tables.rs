//! Descriptors, compiled into what the writer needs for each field and nothing else.
//!
//! Both styles have tables of their own, so that a rule of the readable style costs nothing where
//! it does not apply, and a style is never asked for while a message is written.

use std::collections::HashMap;
use std::num::NonZeroU32;

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind,
    MessageDescriptor, Syntax,
};

use super::JsonStyle;
use super::rules;
use crate::wire::Wire;

/// The longest [`Snippet`] that is copied in one go.
pub(super) const SNIPPET: usize = 32;

/// Field numbers up to this one are looked up by index.
const DENSE_NUMBERS: u32 = 1024;

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
    /// A slot for each field.
    slots: Box<[Slot]>,
    /// The same by field number.
    dense: Box<[Slot]>,
}

/// What must be known of a field before its value is read. All of it is in one small place for each
/// message: the fields themselves are many, and are waited for only when a key is copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// In the message's fields.
    pub(super) index: u32,
    /// The wire type.
    wire: u8,
    pub(super) step: Step,
    pub(super) is_member: bool,
    /// Whether it is written where it has its default.
    pub(super) is_always_shown: bool,
}

/// What is to be done for a field: its kind where that is a common one, and the field is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    String,
    Bytes,
    Enum,
    Uint32,
    Int32,
    Uint64,
    Int64,
    Bool,
    Message,
    Messages,
    List,
    Map,
    Other,
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

/// One cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Field {
    /// `,"name":`: the comma of an object's first field becomes its brace.
    pub(super) key: Snippet,
    /// The number and the wire type as they stand on the wire.
    pub(super) tag: u32,
    /// Index of its message or enum.
    pub(super) target: u32,
    /// One more than the index of its oneof in the message.
    oneof: Option<NonZeroU32>,
    pub(super) kind: Form,
    pub(super) shape: FieldShape,
    /// 64-bit integers: whether they are text.
    pub(super) quoted: bool,
}

/// Text that is written often, ready to be copied.
#[derive(Debug)]
pub(super) struct Snippet {
    pub(super) head: [u8; SNIPPET],
    pub(super) length: u8,
    /// All of it, where it is too long for `head`.
    pub(super) long: Option<Box<Box<[u8]>>>,
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
    names: Vec<(i32, Snippet)>,
    /// The number of the first value, which is the default.
    pub(super) default: i32,
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

    /// All messages.
    pub fn ids(&self) -> impl Iterator<Item = MessageId> + use<> {
        (0..).take(self.names.len()).map(MessageId)
    }

    /// The names of an enum's values.
    pub(super) fn enum_names(&self, index: u32) -> Vec<&str> {
        let names = self.enums[index as usize].names.iter();
        names
            .filter_map(|(_, name)| unquoted(name.text()))
            .collect()
    }

    pub(super) fn enum_name(&self, index: u32, number: i32) -> Option<&str> {
        unquoted(self.enums[index as usize].name(number)?.text())
    }

    pub(super) fn messages(&self, style: JsonStyle) -> &[Message] {
        match style {
            JsonStyle::Canonical => &self.canonical,
            JsonStyle::Readable => &self.readable,
        }
    }
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        let slot = self.slot(number)?;
        Some(&self.fields[slot.index as usize])
    }

    pub(super) fn slot(&self, number: u32) -> Option<&Slot> {
        match self.dense.get(number as usize) {
            Some(slot) => (slot.wire != Slot::EMPTY.wire).then_some(slot),
            None => self.sparse(number),
        }
    }

    /// The field that has this tag, if its number is not a high one.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every field")]
    pub(super) fn tagged(&self, tag: u32) -> Option<&Slot> {
        let slot = self.dense.get(tag as usize >> 3)?;
        (u32::from(slot.wire) == tag & 7).then_some(slot)
    }

    fn sparse(&self, number: u32) -> Option<&Slot> {
        let fields = &self.fields;
        let index = fields.binary_search_by_key(&number, Field::number).ok()?;
        Some(&self.slots[index])
    }
}

impl Slot {
    /// No field has this number.
    const EMPTY: Self = Self {
        index: u32::MAX,
        wire: u8::MAX,
        step: Step::Other,
        is_member: false,
        is_always_shown: false,
    };

    fn new(field: &Field, index: u32) -> Self {
        Self {
            index,
            wire: field.wire() as u8,
            step: Step::of(field),
            is_member: field.oneof.is_some(),
            is_always_shown: field.shape != FieldShape::Implicit,
        }
    }
}

impl Step {
    fn of(field: &Field) -> Self {
        match (field.shape, field.kind) {
            (FieldShape::Map, _) => Self::Map,
            (FieldShape::List, Form::Message) => Self::Messages,
            (FieldShape::List, _) => Self::List,
            (_, Form::Message) => Self::Message,
            _ if field.key.long.is_some() => Self::Other,
            (_, Form::String | Form::Text) => Self::String,
            (_, Form::Bytes) => Self::Bytes,
            (_, Form::Enum | Form::ClosedEnum) => Self::Enum,
            (_, Form::Uint32) => Self::Uint32,
            (_, Form::Int32) => Self::Int32,
            (_, Form::Uint64) => Self::Uint64,
            (_, Form::Int64) => Self::Int64,
            (_, Form::Bool) => Self::Bool,
            _ => Self::Other,
        }
    }
}

impl Field {
    pub(super) fn name(&self) -> &str {
        let bytes = self.key.text();
        std::str::from_utf8(&bytes[2..bytes.len() - 2]).expect("a name of a descriptor")
    }

    pub(super) fn number(&self) -> u32 {
        self.tag >> 3
    }

    pub(super) fn wire(&self) -> Wire {
        self.kind.wire()
    }

    /// Index of its oneof in the message.
    pub(super) fn oneof(&self) -> Option<u32> {
        self.oneof.map(|oneof| oneof.get() - 1)
    }

    /// The bit of the oneof that it is a member of, or 0. The 64th bit stands for all further
    /// oneofs of the message.
    #[inline]
    pub(super) fn member_bit(&self) -> u64 {
        self.oneof().map_or(0, |index| 1 << index.min(63))
    }

    /// Whether several values may stand in one length-delimited field.
    pub(super) fn is_packable(&self) -> bool {
        self.shape == FieldShape::List && !matches!(self.wire(), Wire::Len | Wire::Group)
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(self.kind, Form::Message | Form::Group)
    }
}

impl Form {
    fn wire(self) -> Wire {
        match self {
            Self::Bool
            | Self::Int32
            | Self::Uint32
            | Self::Sint32
            | Self::Int64
            | Self::Uint64
            | Self::Sint64
            | Self::Enum
            | Self::ClosedEnum
            | Self::Null => Wire::Varint,
            Self::Fixed32 | Self::Sfixed32 | Self::Float => Wire::Fixed32,
            Self::Fixed64 | Self::Sfixed64 | Self::Double => Wire::Fixed64,
            Self::String | Self::Bytes | Self::Text | Self::Message => Wire::Len,
            Self::Group => Wire::Group,
        }
    }

    fn tag(self, number: u32) -> u32 {
        number << 3 | self.wire() as u32
    }
}

impl Snippet {
    fn new(text: Vec<u8>) -> Self {
        let mut head = [0; SNIPPET];
        let shown = text.len().min(SNIPPET);
        head[..shown].copy_from_slice(&text[..shown]);
        Self {
            head,
            length: u8::try_from(shown).expect("at most SNIPPET"),
            long: (text.len() > SNIPPET).then(|| Box::new(text.into())),
        }
    }

    fn key(name: &str) -> Self {
        Self::new([&b","[..], &quoted(name), b":"].concat())
    }

    pub(super) fn text(&self) -> &[u8] {
        match &self.long {
            Some(text) => text,
            None => &self.head[..usize::from(self.length)],
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

    /// The name of `number`, in quotes.
    #[inline]
    pub(super) fn name(&self, number: i32) -> Option<&Snippet> {
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

fn unquoted(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name)
        .ok()?
        .strip_prefix('"')?
        .strip_suffix('"')
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
        fields.sort_by_key(Field::number);

        let last = fields
            .iter()
            .map(Field::number)
            .filter(|number| *number <= DENSE_NUMBERS)
            .max()
            .unwrap_or(0);
        let mut dense = vec![Slot::EMPTY; last as usize + 1];
        let slots = fields.iter().zip(0..);
        let slots: Box<[Slot]> = slots
            .map(|(field, index)| Slot::new(field, index))
            .collect();
        for (field, known) in fields.iter().zip(&slots) {
            if let Some(slot) = dense.get_mut(field.number() as usize) {
                *slot = *known;
            }
        }
        Message {
            shape: shape(message, style),
            fields: fields.into(),
            slots,
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
            key: Snippet::key(field.name()),
            tag: kind.tag(field.number()),
            kind,
            shape,
            quoted: style == JsonStyle::Canonical,
            oneof: oneof.and_then(|index: u32| NonZeroU32::new(index + 1)),
            target: self.target(&field.kind()),
        }
    }

    fn extension(&self, extension: &ExtensionDescriptor, style: JsonStyle) -> Field {
        let kind = form(&extension.kind(), extension.is_group(), style);
        Field {
            key: Snippet::key(&format!("[{}]", extension.full_name())),
            tag: kind.tag(extension.number()),
            kind,
            shape: if extension.is_list() {
                FieldShape::List
            } else {
                FieldShape::Present
            },
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
