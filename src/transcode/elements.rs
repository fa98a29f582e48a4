//! The elements of a message's repeated messages, and what remains of it without them.
//!
//! Messages that are one value, such as addresses and times, do not count as elements.

use std::ops::Range;

use super::error::DecodeError;
use super::{JsonStyle, write_json};
use crate::transcode::tables::{Field, FieldShape, MessageId, MessageShape, Tables, ValueKind};
use crate::transcode::writer::accepts;
use crate::transcode::writer::joined::JoinedPieces;
use crate::wire::{DEPTH_LIMIT, WireError, WireReader};

/// Where one element of a repeated message is.
#[derive(Clone, Debug)]
pub struct ElementRange<'t> {
    /// The field's name.
    pub name: &'t str,
    /// Its index among the elements of its field.
    pub index: u32,
    pub message: MessageId,
    /// The bytes of the payload that hold its fields.
    pub range: Range<usize>,
}

/// What remains of a message without some of its repeated messages.
#[derive(Debug)]
pub struct Remainder {
    id: MessageId,
    joined: JoinedPieces,
}

/// The fields of a message that are repeated messages: their names and types.
pub fn repeated_messages(
    tables: &Tables,
    id: MessageId,
) -> impl Iterator<Item = (&str, MessageId)> {
    let fields = tables.messages(JsonStyle::Readable)[id.0 as usize]
        .fields
        .iter();
    fields
        .filter(|field| is_repeated_message(tables, field))
        .map(|field| (field.name(), MessageId(field.target)))
}

/// The elements of all repeated messages, in the order of the wire.
///
/// # Errors
/// The payload is malformed.
pub fn elements<'t>(
    tables: &'t Tables,
    id: MessageId,
    payload: &[u8],
) -> Result<Vec<ElementRange<'t>>, DecodeError> {
    let mut found: Vec<ElementRange<'t>> = Vec::new();
    let mut counts: Vec<(u32, u32)> = Vec::new();
    each_field(tables, id, payload, |field, _, range| {
        let Some(field) = field else { return };
        let known = counts
            .iter()
            .position(|(number, _)| *number == field.number());
        let position = known.unwrap_or_else(|| {
            counts.push((field.number(), 0));
            counts.len() - 1
        });
        let (_, count) = &mut counts[position];
        let index = *count;
        *count += 1;
        found.push(ElementRange {
            name: field.name(),
            index,
            message: MessageId(field.target),
            range,
        });
    })?;
    Ok(found)
}

impl Remainder {
    /// Takes a payload without the repeated messages for whose names `keep` is false.
    ///
    /// # Errors
    /// The payload is malformed.
    pub fn of(
        tables: &Tables,
        id: MessageId,
        payload: &[u8],
        keep: impl Fn(&str) -> bool,
    ) -> Result<Self, DecodeError> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        each_field(tables, id, payload, |field, whole, _| {
            if field.is_some_and(|field| !keep(field.name())) {
                return;
            }
            match runs.last_mut() {
                Some(run) if run.end == whole.start => run.end = whole.end,
                _ => runs.push(whole),
            }
        })?;
        let joined = JoinedPieces::of(runs.into_iter(), payload)
            .map_err(|fault| DecodeError::new(tables, id, payload, &fault))?;
        Ok(Self { id, joined })
    }

    /// Appends the message as JSON.
    ///
    /// # Errors
    /// See [`write_json`]; the offset is that in the whole payload.
    pub fn write_json(
        &self,
        tables: &Tables,
        style: JsonStyle,
        to: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        write_json(tables, self.id, &self.joined.bytes, style, to).map_err(|error| DecodeError {
            offset: self.joined.origin(error.offset),
            ..error
        })
    }
}

fn is_repeated_message(tables: &Tables, field: &Field) -> bool {
    field.is_message()
        && field.shape == FieldShape::List
        && tables.messages(JsonStyle::Readable)[field.target as usize].shape == MessageShape::Object
}

/// Calls `see` for every field of a payload: with the repeated message that it is an element of, if it
/// is one, the bytes of the whole field with its tag, and the bytes of its value.
fn each_field<'t>(
    tables: &'t Tables,
    id: MessageId,
    payload: &[u8],
    mut see: impl FnMut(Option<&'t Field>, Range<usize>, Range<usize>),
) -> Result<(), DecodeError> {
    let message = &tables.messages(JsonStyle::Readable)[id.0 as usize];
    let mut reader = WireReader::new(payload);
    let mut scan = || -> Result<(), Box<WireError>> {
        loop {
            let start = reader.at;
            let Some(tag) = reader.tag()? else {
                return Ok(());
            };
            let value = reader.at;
            let element_of = message
                .field(tag.number)
                .filter(|field| accepts(field, tag) && is_repeated_message(tables, field));
            let range = match element_of.map(|field| field.kind) {
                Some(ValueKind::Group) => reader.group(tag.number, DEPTH_LIMIT)?,
                Some(_) => reader.delimited()?,
                None => {
                    reader.skip(tag, DEPTH_LIMIT)?;
                    value..reader.at
                }
            };
            see(element_of, start..reader.at, range);
        }
    };
    scan().map_err(|fault| DecodeError::new(tables, id, payload, &fault))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    /// `customer_id` and two aps.
    const PAYLOAD: &[u8] = b"\x0a\x02c1\x22\x04\x12\x02S1\x22\x04\x12\x02S2";

    fn monitoring(tables: &Tables) -> MessageId {
        tables.message("Monitoring.MonitoringInformation").unwrap()
    }

    #[test]
    fn a_payload_splits_into_elements_and_a_remainder() {
        let tables = Tables::compile(&schema::built_in());
        let id = monitoring(&tables);
        let found = elements(&tables, id, PAYLOAD).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|element| (element.name, element.index, &PAYLOAD[element.range.clone()]))
            .collect();
        assert_eq!(
            told,
            [
                ("aps", 0, &b"\x12\x02S1"[..]),
                ("aps", 1, &b"\x12\x02S2"[..])
            ]
        );
        let json = |keep: fn(&str) -> bool| {
            let remainder = Remainder::of(&tables, id, PAYLOAD, keep).unwrap();
            let mut json = Vec::new();
            remainder
                .write_json(&tables, JsonStyle::Readable, &mut json)
                .unwrap();
            String::from_utf8(json).unwrap()
        };
        assert_eq!(json(|_| false), r#"{"customer_id":"c1"}"#);
        assert_eq!(
            json(|name| name == "aps"),
            r#"{"customer_id":"c1","aps":[{"serial":"S1"},{"serial":"S2"}]}"#
        );
    }

    #[test]
    fn an_error_in_the_remainder_has_its_offset_in_the_payload() {
        let tables = Tables::compile(&schema::built_in());
        let payload = [PAYLOAD, b"\x0a\x01\xff"].concat();
        let remainder = Remainder::of(&tables, monitoring(&tables), &payload, |_| false).unwrap();
        let error = remainder
            .write_json(&tables, JsonStyle::Readable, &mut Vec::new())
            .unwrap_err();
        assert_eq!(error.offset, PAYLOAD.len() + 2);
        assert_eq!(error.path, ".customer_id");
    }

    #[test]
    fn addresses_are_values_and_not_elements() {
        let tables = Tables::compile(&schema::built_in());
        for id in tables.ids() {
            for (_, message) in repeated_messages(&tables, id) {
                assert!(!tables.name(message).to_lowercase().contains("address"));
            }
        }
    }
}
