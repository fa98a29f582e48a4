//! What the writer needs to know of each message and field.
//!
//! Each style has tables of its own, so that nothing depends on the style while a message is written, and
//! the readable style's rules cost nothing where they do not apply.
//!
//! | file | what |
//! |---|---|
//! | here | the tables |
//! | `compile` | makes them from descriptors |
//! | `rules` | which messages and fields the readable style writes differently |

mod compile;
mod rules;

use std::collections::HashMap;
use std::num::NonZeroU32;

use crate::transcode::JsonStyle;
use crate::wire::{ShortTag, Wire};

/// Texts up to this length are copied as one block.
pub(crate) const INLINE_BYTES: usize = 32;

/// Names a message of the [`Tables`] that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(pub(crate) u32);

/// Everything that is needed to write any message of a descriptor pool as JSON.
#[derive(Debug)]
pub struct Tables {
    pub(crate) canonical: Vec<MessageTable>,
    pub(crate) readable: Vec<MessageTable>,
    pub(crate) enums: Vec<EnumTable>,
    pub(crate) names: Vec<Box<str>>,
    pub(crate) by_name: HashMap<Box<str>, MessageId>,
}

#[derive(Debug)]
pub(crate) struct MessageTable {
    pub(crate) shape: MessageShape,
    /// In the order of their numbers.
    pub(crate) fields: Box<[Field]>,
    /// For each field number the field's index, or [`NO_FIELD`].
    pub(crate) dense: Box<[u32]>,
}

/// The index of no field.
pub(crate) const NO_FIELD: u32 = u32::MAX;

/// What the fast path does for a field. `Other`: what the slow path does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldAction {
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
pub(crate) enum MessageShape {
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

/// What is needed to read a field and to write its key, in one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Field {
    /// `,"name":`: the comma of an object's first field becomes its brace.
    pub(crate) key: InlineText,
    /// The whole key, if it is too long for `key`.
    pub(crate) long_key: Option<Box<Box<[u8]>>>,
    /// The tag, for a quick comparison.
    pub(crate) short_tag: ShortTag,
    pub(crate) action: FieldAction,
    /// The tag as it is on the wire: number and wire type.
    pub(crate) tag: u32,
    /// The index of its message or enum.
    pub(crate) target: u32,
    /// The index of its oneof in the message, plus one.
    pub(crate) oneof: Option<NonZeroU32>,
    pub(crate) kind: ValueKind,
    pub(crate) shape: FieldShape,
    /// Whether a 64-bit integer is written in quotes.
    pub(crate) quoted: bool,
}

const _: () = assert!(size_of::<Field>() == 64);

/// A text that is written often.
#[derive(Debug)]
pub(crate) struct Snippet {
    pub(crate) inline: InlineText,
    /// The whole text, if it is too long for `inline`.
    pub(crate) long: Option<Box<Box<[u8]>>>,
}

/// The beginning of a text, as one block of bytes.
#[derive(Debug)]
pub(crate) struct InlineText {
    pub(crate) text: [u8; INLINE_BYTES],
    pub(crate) length: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldShape {
    /// Written whenever it is present.
    Present,
    /// proto3 without `optional`: not written if it has its default value.
    Implicit,
    List,
    Map,
}

/// What a value is, on the wire and in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
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
    /// Bytes that the readable style writes as text if they are UTF-8.
    Text,
    Enum,
    /// proto2 in the canonical style: a number that the enum does not know counts as an unknown field.
    ClosedEnum,
    Null,
    Message,
    Group,
}

#[derive(Debug)]
pub(crate) struct EnumTable {
    /// Each number and `"NAME"`, in the order of the numbers.
    pub(crate) names: Vec<(i32, Snippet)>,
    /// The number of the first value, which is the default.
    pub(crate) default: i32,
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
    pub(crate) fn enum_names(&self, index: u32) -> Vec<&str> {
        let names = self.enums[index as usize].names.iter();
        names
            .filter_map(|(_, name)| unquoted(name.text()))
            .collect()
    }

    pub(crate) fn enum_name(&self, index: u32, number: i32) -> Option<&str> {
        unquoted(self.enums[index as usize].name(number)?.text())
    }

    pub(crate) fn messages(&self, style: JsonStyle) -> &[MessageTable] {
        match style {
            JsonStyle::Canonical => &self.canonical,
            JsonStyle::Readable => &self.readable,
        }
    }
}

impl MessageTable {
    pub(crate) fn field(&self, number: u32) -> Option<&Field> {
        Some(&self.fields[self.index(number)?])
    }

    /// The index of a field among the fields.
    pub(crate) fn index(&self, number: u32) -> Option<usize> {
        match self.dense.get(number as usize) {
            Some(&index) => (index != NO_FIELD).then_some(index as usize),
            None => (self.fields)
                .binary_search_by_key(&number, Field::number)
                .ok(),
        }
    }

    /// The index and field of this tag, if the field's number is not high.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every field")]
    pub(crate) fn tagged(&self, tag: u32) -> Option<(usize, &Field)> {
        let index = *self.dense.get(tag as usize >> 3)? as usize;
        let field = self.fields.get(index)?;
        (field.tag == tag).then_some((index, field))
    }
}

impl FieldAction {
    pub(crate) fn of(kind: ValueKind, shape: FieldShape, has_long_key: bool) -> Self {
        match (shape, kind) {
            (FieldShape::Map, _) => Self::Map,
            (FieldShape::List, ValueKind::Message) => Self::Messages,
            (FieldShape::List, _) => Self::List,
            (_, ValueKind::Message) => Self::Message,
            _ if has_long_key => Self::Other,
            (_, ValueKind::String | ValueKind::Text) => Self::String,
            (_, ValueKind::Bytes) => Self::Bytes,
            (_, ValueKind::Enum | ValueKind::ClosedEnum) => Self::Enum,
            (_, ValueKind::Uint32) => Self::Uint32,
            (_, ValueKind::Int32) => Self::Int32,
            (_, ValueKind::Uint64) => Self::Uint64,
            (_, ValueKind::Int64) => Self::Int64,
            (_, ValueKind::Bool) => Self::Bool,
            (_, ValueKind::Float) => Self::Float,
            (_, ValueKind::Double) => Self::Double,
            _ => Self::Other,
        }
    }
}

impl Field {
    /// The key with its comma, quotes and colon.
    pub(crate) fn key_text(&self) -> &[u8] {
        self.key.or(self.long_key.as_deref().map(AsRef::as_ref))
    }

    pub(crate) fn name(&self) -> &str {
        let bytes = self.key_text();
        std::str::from_utf8(&bytes[2..bytes.len() - 2]).expect("a name of a descriptor")
    }

    pub(crate) fn number(&self) -> u32 {
        self.tag >> 3
    }

    pub(crate) fn wire(&self) -> Wire {
        self.kind.wire()
    }

    /// Whether it is written even if it has its default value.
    #[inline]
    pub(crate) fn is_always_shown(&self) -> bool {
        self.shape != FieldShape::Implicit
    }

    /// The index of its oneof in the message.
    pub(crate) fn oneof(&self) -> Option<u32> {
        self.oneof.map(|oneof| oneof.get() - 1)
    }

    /// The bit of its oneof, or 0. The highest bit stands for the 64th oneof of the message and all after.
    #[inline]
    pub(crate) fn member_bit(&self) -> u64 {
        self.oneof().map_or(0, |index| 1 << index.min(63))
    }

    /// Whether several values may be packed into one length-delimited field.
    pub(crate) fn is_packable(&self) -> bool {
        self.shape == FieldShape::List && !matches!(self.wire(), Wire::Len | Wire::Group)
    }

    pub(crate) fn is_message(&self) -> bool {
        matches!(self.kind, ValueKind::Message | ValueKind::Group)
    }
}

impl ValueKind {
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

    pub(crate) fn tag(self, number: u32) -> u32 {
        number << 3 | self.wire() as u32
    }
}

impl Snippet {
    pub(crate) fn new(text: Vec<u8>) -> Self {
        let (inline, long) = InlineText::of(text);
        Self { inline, long }
    }

    pub(crate) fn text(&self) -> &[u8] {
        self.inline.or(self.long.as_deref().map(AsRef::as_ref))
    }
}

impl InlineText {
    /// The beginning of a text, and the whole text if it is longer.
    pub(crate) fn of(text: Vec<u8>) -> (Self, Option<Box<Box<[u8]>>>) {
        let mut block = [0; INLINE_BYTES];
        let shown = text.len().min(INLINE_BYTES);
        block[..shown].copy_from_slice(&text[..shown]);
        let inline = Self {
            text: block,
            length: u8::try_from(shown).expect("at most INLINE_BYTES"),
        };
        let is_long = text.len() > INLINE_BYTES;
        (inline, is_long.then(|| Box::new(text.into())))
    }

    /// The long text, if there is one.
    fn or<'s>(&'s self, long: Option<&'s [u8]>) -> &'s [u8] {
        long.unwrap_or(&self.text[..usize::from(self.length)])
    }
}

impl EnumTable {
    /// The name of `number`, in quotes.
    #[inline]
    pub(crate) fn name(&self, number: i32) -> Option<&Snippet> {
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
