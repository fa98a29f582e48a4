//! The attributes of a `cloudevents.v1.CloudEvent`.

use super::{Instant, text};
use crate::wire::{DEPTH_LIMIT, Wire, WireError, WireReader};

/// The attributes of a `CloudEvent` that have no place in [`Envelope`](super::Envelope); empty where
/// absent.
#[derive(Clone, Debug, Default)]
pub struct Event<'a> {
    /// Tells duplicates: New Central delivers at least once.
    pub id: &'a str,
    pub source: &'a str,
    pub spec_version: &'a str,
    pub event_type: &'a str,
    pub data_content_type: &'a str,
    pub data_schema: &'a str,
    frame: &'a [u8],
}

/// The value of an extension attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttributeValue<'a> {
    Boolean(bool),
    Integer(i32),
    /// A string, a URI or a URI reference.
    Text(&'a str),
    Bytes(&'a [u8]),
    Time(Instant),
}

impl<'a> Event<'a> {
    /// What is in a frame that is one, of which nothing has been read yet.
    pub(super) fn of(frame: &'a [u8]) -> Self {
        Self {
            frame,
            ..Self::default()
        }
    }

    /// The extension attributes, in the order of the frame.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a str, AttributeValue<'a>)> {
        let mut reader = WireReader::new(self.frame);
        std::iter::from_fn(move || {
            // Nothing is malformed: the frame could not have been opened.
            loop {
                let tag = reader.tag().ok()??;
                if (tag.number, tag.wire) != (5, Wire::Len) {
                    reader.skip(tag, DEPTH_LIMIT).ok()?;
                    continue;
                }
                let range = reader.delimited().ok()?;
                if let Some(attribute) = attribute(reader.part(range)).ok()? {
                    return Some(attribute);
                }
            }
        })
    }
}

/// Reads an entry of the attributes; `None` where it has no value.
pub(super) fn attribute(
    mut reader: WireReader<'_>,
) -> Result<Option<(&str, AttributeValue<'_>)>, Box<WireError>> {
    let (mut name, mut value) = ("", None);
    while let Some(tag) = reader.tag()? {
        match (tag.number, tag.wire) {
            (1, Wire::Len) => name = text(&mut reader)?,
            (2, Wire::Len) => {
                let range = reader.delimited()?;
                value = attribute_value(reader.part(range))?.or(value);
            }
            _ => reader.skip(tag, DEPTH_LIMIT)?,
        }
    }
    Ok(value.map(|value| (name, value)))
}

fn attribute_value(
    mut reader: WireReader<'_>,
) -> Result<Option<AttributeValue<'_>>, Box<WireError>> {
    let mut value = None;
    while let Some(tag) = reader.tag()? {
        value = Some(match (tag.number, tag.wire) {
            (1, Wire::Varint) => AttributeValue::Boolean(reader.bool()?),
            (2, Wire::Varint) => AttributeValue::Integer(reader.int32()?),
            (3 | 5 | 6, Wire::Len) => AttributeValue::Text(text(&mut reader)?),
            (4, Wire::Len) => AttributeValue::Bytes(&reader.bytes[reader.delimited()?]),
            (7, Wire::Len) => AttributeValue::Time(Instant::read(&mut reader, Instant::default())?),
            _ => {
                reader.skip(tag, DEPTH_LIMIT)?;
                continue;
            }
        });
    }
    Ok(value)
}
