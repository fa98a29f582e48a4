//! A message taken apart: the elements of its repeated messages, and what is left without them.
//!
//! Messages that are one value, as addresses and times, are no parts of their own.

use std::ops::Range;

use super::disorder::Joined;
use super::error::DecodeError;
use super::tables::{Field, FieldShape, Form, MessageId, Shape, Tables};
use super::write::accepts;
use super::{JsonStyle, write_json};
use crate::wire::{DEPTH_LIMIT, Fault, Reader};

/// One element of a repeated message.
#[derive(Clone, Debug)]
pub struct Part<'t> {
    /// The field's name.
    pub name: &'t str,
    /// Its place among the elements of its field.
    pub index: u32,
    pub message: MessageId,
    /// Where its fields are.
    pub range: Range<usize>,
}

/// A message without some of its repeated messages.
#[derive(Debug)]
pub struct Rest {
    id: MessageId,
    joined: Joined,
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
        .filter(|field| is_part(tables, field))
        .map(|field| (field.name(), MessageId(field.target)))
}

/// The elements of all repeated messages, in the order of the wire.
///
/// # Errors
/// The payload is malformed.
pub fn parts<'t>(
    tables: &'t Tables,
    id: MessageId,
    payload: &[u8],
) -> Result<Vec<Part<'t>>, DecodeError> {
    let mut found: Vec<Part<'t>> = Vec::new();
    let mut counts: Vec<(u32, u32)> = Vec::new();
    each_field(tables, id, payload, |field, _, range| {
        let Some(field) = field else { return };
        let known = counts
            .iter()
            .position(|(number, _)| *number == field.number());
        let place = known.unwrap_or_else(|| {
            counts.push((field.number(), 0));
            counts.len() - 1
        });
        let (_, count) = &mut counts[place];
        let index = *count;
        *count += 1;
        found.push(Part {
            name: field.name(),
            index,
            message: MessageId(field.target),
            range,
        });
    })?;
    Ok(found)
}

impl Rest {
    /// Takes all of a payload but the repeated messages that are not to be kept.
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
        let joined = Joined::of(runs.into_iter(), payload)
            .map_err(|fault| DecodeError::new(tables, id, payload, &fault))?;
        Ok(Self { id, joined })
    }

    /// Appends it as JSON.
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

fn is_part(tables: &Tables, field: &Field) -> bool {
    field.is_message()
        && field.shape == FieldShape::List
        && tables.messages(JsonStyle::Readable)[field.target as usize].shape == Shape::Object
}

/// Shows every field of a payload: the repeated message that it is of, if it is; the place of it
/// all with its tag; and the place of its value.
fn each_field<'t>(
    tables: &'t Tables,
    id: MessageId,
    payload: &[u8],
    mut see: impl FnMut(Option<&'t Field>, Range<usize>, Range<usize>),
) -> Result<(), DecodeError> {
    let message = &tables.messages(JsonStyle::Readable)[id.0 as usize];
    let mut reader = Reader::new(payload);
    let mut scan = || -> Result<(), Box<Fault>> {
        loop {
            let start = reader.at;
            let Some(tag) = reader.tag()? else {
                return Ok(());
            };
            let value = reader.at;
            let part = message
                .field(tag.number)
                .filter(|field| accepts(field, tag) && is_part(tables, field));
            let range = match part.map(|field| field.kind) {
                Some(Form::Group) => reader.group(tag.number, DEPTH_LIMIT)?,
                Some(_) => reader.delimited()?,
                None => {
                    reader.skip(tag, DEPTH_LIMIT)?;
                    value..reader.at
                }
            };
            see(part, start..reader.at, range);
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
    fn parts_are_the_elements_with_their_places_and_rest_is_what_stays() {
        let tables = Tables::compile(&schema::built_in());
        let id = monitoring(&tables);
        let found = parts(&tables, id, PAYLOAD).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|part| (part.name, part.index, &PAYLOAD[part.range.clone()]))
            .collect();
        assert_eq!(
            told,
            [
                ("aps", 0, &b"\x12\x02S1"[..]),
                ("aps", 1, &b"\x12\x02S2"[..])
            ]
        );
        let json = |keep: fn(&str) -> bool| {
            let rest = Rest::of(&tables, id, PAYLOAD, keep).unwrap();
            let mut json = Vec::new();
            rest.write_json(&tables, JsonStyle::Readable, &mut json)
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
    fn a_fault_in_what_stays_has_its_place_in_the_whole() {
        let tables = Tables::compile(&schema::built_in());
        let payload = [PAYLOAD, b"\x0a\x01\xff"].concat();
        let rest = Rest::of(&tables, monitoring(&tables), &payload, |_| false).unwrap();
        let error = rest
            .write_json(&tables, JsonStyle::Readable, &mut Vec::new())
            .unwrap_err();
        assert_eq!(error.offset, PAYLOAD.len() + 2);
        assert_eq!(error.path, ".customer_id");
    }

    #[test]
    fn addresses_are_values_and_no_parts() {
        let tables = Tables::compile(&schema::built_in());
        for id in tables.ids() {
            for (_, message) in repeated_messages(&tables, id) {
                assert!(!tables.name(message).to_lowercase().contains("address"));
            }
        }
    }
}
