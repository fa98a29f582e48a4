//! Values at the end of a path.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::transcode::float_text;
use crate::transcode::tables::{Field, ValueKind};
use crate::wire::{Problem, WireError};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Cow<'a, str>),
    /// A number that the descriptors do not know has no name.
    Enum {
        number: i32,
        name: Option<&'a str>,
    },
    Message,
}

/// A value at the end of a path.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldValue<'a> {
    pub value: Value<'a>,
    /// Whether JSON shows it. It does not show the default of a field without presence.
    pub is_shown: bool,
}

impl Value<'_> {
    /// Appends its text, as JSON shows it, without quotes; a message has none.
    pub fn append(&self, to: &mut String) {
        match self {
            Self::Bool(value) => to.push_str(if *value { "true" } else { "false" }),
            Self::Integer(value) => to.push_str(itoa::Buffer::new().format(*value)),
            Self::Float(value) => to.push_str(float_text(*value).trim_matches('"')),
            Self::Text(text) => to.push_str(text),
            Self::Enum {
                name: Some(name), ..
            } => to.push_str(name),
            Self::Enum { number, .. } => to.push_str(itoa::Buffer::new().format(*number)),
            Self::Message => {}
        }
    }

    /// Whether it is what an absent field of its type reads as.
    pub(crate) fn is_default(&self) -> bool {
        match self {
            Self::Bool(value) => !value,
            Self::Integer(value) => *value == 0,
            Self::Float(value) => value.to_bits() == 0,
            Self::Text(text) => text.is_empty(),
            Self::Enum { number, .. } => *number == 0,
            Self::Message => false,
        }
    }
}

/// The number that the shortest text of a float stands for: people compare with what they see.
pub(crate) fn as_shown(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// A string as it is, and bytes as the readable style shows them.
pub(crate) fn text<'a>(
    field: &Field,
    bytes: &'a [u8],
    range: Range<usize>,
) -> Result<Value<'a>, Box<WireError>> {
    let start = range.start;
    let value = &bytes[range];
    if field.kind != ValueKind::Bytes {
        match std::str::from_utf8(value) {
            Ok(text) => return Ok(Value::Text(text.into())),
            Err(error) if field.kind == ValueKind::String => {
                return Err(Problem::Utf8.at(start + error.valid_up_to()));
            }
            Err(_) => {}
        }
    }
    Ok(Value::Text(STANDARD.encode(value).into()))
}
