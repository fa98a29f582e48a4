//! What the writer needs to know of each message and field, and nothing else.
//!
//! Both styles have tables of their own, so that a rule of the readable style costs nothing where
//! it does not apply, and a style is never asked for while a message is written.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::JsonStyle;
use crate::wire::{ShortTag, Wire};

/// The longest [`Snippet`] that is copied in one go.
pub(super) const SNIPPET: usize = 32;

/// Names a message of the [`Tables`] that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(pub(super) u32);

/// Everything that is needed to write any message of a descriptor pool as JSON.
#[derive(Debug)]
pub struct Tables {
    pub(super) canonical: Vec<Message>,
    pub(super) readable: Vec<Message>,
    pub(super) enums: Vec<Enum>,
    pub(super) names: Vec<Box<str>>,
    pub(super) by_name: HashMap<Box<str>, MessageId>,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) shape: Shape,
    /// In the order of their numbers.
    pub(super) fields: Box<[Field]>,
    /// The index of each number's field, or [`NO_FIELD`].
    pub(super) dense: Box<[u32]>,
}

/// The index of no field.
pub(super) const NO_FIELD: u32 = u32::MAX;

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
    Float,
    Double,
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

/// All that it takes to read a field and to write its key, in one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Field {
    /// `,"name":`: the comma of an object's first field becomes its brace.
    pub(super) key: Head,
    /// All of it, where it is too long for `key`.
    pub(super) long_key: Option<Box<Box<[u8]>>>,
    /// The tag as it is compared first.
    pub(super) short_tag: ShortTag,
    pub(super) step: Step,
    /// The number and the wire type as they stand on the wire.
    pub(super) tag: u32,
    /// Index of its message or enum.
    pub(super) target: u32,
    /// One more than the index of its oneof in the message.
    pub(super) oneof: Option<NonZeroU32>,
    pub(super) kind: Form,
    pub(super) shape: FieldShape,
    /// 64-bit integers: whether they are text.
    pub(super) quoted: bool,
}

const _: () = assert!(size_of::<Field>() == 64);

/// Text that is written often, ready to be copied.
#[derive(Debug)]
pub(super) struct Snippet {
    pub(super) head: Head,
    /// All of it, where it is too long for `head`.
    pub(super) long: Option<Box<Box<[u8]>>>,
}

/// As much of a text as is copied in one go.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) text: [u8; SNIPPET],
    pub(super) length: u8,
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
    pub(super) names: Vec<(i32, Snippet)>,
    /// The number of the first value, which is the default.
    pub(super) default: i32,
}

impl Tables {
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
        Some(&self.fields[self.index(number)?])
    }

    /// The place of a field among the fields.
    pub(super) fn index(&self, number: u32) -> Option<usize> {
        match self.dense.get(number as usize) {
            Some(&index) => (index != NO_FIELD).then_some(index as usize),
            None => (self.fields)
                .binary_search_by_key(&number, Field::number)
                .ok(),
        }
    }

    /// The field that has this tag, and its place, if its number is not a high one.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every field")]
    pub(super) fn tagged(&self, tag: u32) -> Option<(usize, &Field)> {
        let index = *self.dense.get(tag as usize >> 3)? as usize;
        let field = self.fields.get(index)?;
        (field.tag == tag).then_some((index, field))
    }
}

impl Step {
    pub(super) fn of(kind: Form, shape: FieldShape, has_long_key: bool) -> Self {
        match (shape, kind) {
            (FieldShape::Map, _) => Self::Map,
            (FieldShape::List, Form::Message) => Self::Messages,
            (FieldShape::List, _) => Self::List,
            (_, Form::Message) => Self::Message,
            _ if has_long_key => Self::Other,
            (_, Form::String | Form::Text) => Self::String,
            (_, Form::Bytes) => Self::Bytes,
            (_, Form::Enum | Form::ClosedEnum) => Self::Enum,
            (_, Form::Uint32) => Self::Uint32,
            (_, Form::Int32) => Self::Int32,
            (_, Form::Uint64) => Self::Uint64,
            (_, Form::Int64) => Self::Int64,
            (_, Form::Bool) => Self::Bool,
            (_, Form::Float) => Self::Float,
            (_, Form::Double) => Self::Double,
            _ => Self::Other,
        }
    }
}

impl Field {
    /// The key with its comma, quotes and colon.
    pub(super) fn key_text(&self) -> &[u8] {
        self.key.or(self.long_key.as_deref().map(AsRef::as_ref))
    }

    pub(super) fn name(&self) -> &str {
        let bytes = self.key_text();
        std::str::from_utf8(&bytes[2..bytes.len() - 2]).expect("a name of a descriptor")
    }

    pub(super) fn number(&self) -> u32 {
        self.tag >> 3
    }

    pub(super) fn wire(&self) -> Wire {
        self.kind.wire()
    }

    /// Whether it is written where it has its default.
    #[inline]
    pub(super) fn is_always_shown(&self) -> bool {
        self.shape != FieldShape::Implicit
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

    pub(super) fn tag(self, number: u32) -> u32 {
        number << 3 | self.wire() as u32
    }
}

impl Snippet {
    pub(super) fn new(text: Vec<u8>) -> Self {
        let (head, long) = Head::of(text);
        Self { head, long }
    }

    pub(super) fn text(&self) -> &[u8] {
        self.head.or(self.long.as_deref().map(AsRef::as_ref))
    }
}

impl Head {
    /// The head of a text, and all of it where it is longer.
    pub(super) fn of(text: Vec<u8>) -> (Self, Option<Box<Box<[u8]>>>) {
        let mut head = [0; SNIPPET];
        let shown = text.len().min(SNIPPET);
        head[..shown].copy_from_slice(&text[..shown]);
        let head = Self {
            text: head,
            length: u8::try_from(shown).expect("at most SNIPPET"),
        };
        let is_long = text.len() > SNIPPET;
        (head, is_long.then(|| Box::new(text.into())))
    }

    /// The long text, where there is one.
    fn or<'s>(&'s self, long: Option<&'s [u8]>) -> &'s [u8] {
        long.unwrap_or(&self.text[..usize::from(self.length)])
    }
}

impl Enum {
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
