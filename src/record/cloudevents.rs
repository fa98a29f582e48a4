//! A record in the JSON format of `CloudEvents` 1.0.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::data::is_json;
use super::{
    RecordData, RecordError, RecordMetadata, event_source, event_type, member, not_empty, write_id,
};
use crate::schema::{AttributeValue, Envelope, Event};
use crate::transcode::{self, JsonStyle, Tables};

/// Attributes that are written here. An event's own attribute of the same name is left out.
const OUR_ATTRIBUTES: [&str; 14] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "datacontenttype",
    "dataschema",
    "account",
    "topic",
    "customerid",
    "mspid",
    "messagetype",
    "element",
];

/// Names that an attribute must not have.
const RESERVED: [&str; 3] = ["data", "data_base64", "parent"];

/// Appends a record in the format `cloudevents` to `to`. An attribute cannot hold an object: the
/// attribute `parent` of an element is the JSON text of what the payload's elements have in common.
///
/// # Errors
/// The payload is malformed. `to` is then as it was.
pub fn write_cloudevent(
    tables: &Tables,
    style: JsonStyle,
    metadata: &RecordMetadata<'_>,
    envelope: &Envelope<'_>,
    data: &RecordData<'_>,
    to: &mut Vec<u8>,
) -> Result<(), RecordError> {
    let start = to.len();
    member(to, "specversion", Some("1.0"));
    write_id(to, metadata, envelope, data);
    let account = metadata.account.unwrap_or_default();
    let topic = metadata.stream.topic();
    let event = envelope.event.as_ref();
    if let Some(event) = event {
        member(to, "source", Some(event.source));
        member(to, "type", Some(event.event_type));
    } else {
        let source = event_source(metadata.stream, account).concat();
        member(to, "source", Some(&source));
        member(to, "type", Some(&event_type(metadata.stream).concat()));
    }
    member(to, "time", envelope.time.rfc3339().as_deref());
    member(to, "subject", not_empty(envelope.subject));
    member(to, "datacontenttype", Some(content_type(event, data)));
    member(
        to,
        "dataschema",
        event.and_then(|event| not_empty(event.data_schema)),
    );
    member(to, "account", not_empty(account));
    member(to, "topic", Some(topic));
    member(to, "customerid", not_empty(envelope.customer_id));
    member(to, "mspid", not_empty(envelope.msp_id));
    member(to, "messagetype", not_empty(data.message_type()));
    if let Some(element) = &data.element {
        member(to, "element", Some(element.name));
        member(to, "parent", std::str::from_utf8(element.parent).ok());
    }
    if let Some(event) = event {
        write_extension_attributes(event, to);
    }
    to.extend_from_slice(b",\"data\":");
    if let Err(error) = data.write_json(tables, style, to) {
        to.truncate(start);
        return Err(error);
    }
    to[start] = b'{';
    to.push(b'}');
    Ok(())
}

/// The content type of `data`: JSON, or the text as it came.
fn content_type<'a>(event: Option<&Event<'a>>, data: &RecordData<'_>) -> &'a str {
    match data.content {
        super::Content::Text(text) if !is_json(text) => event
            .and_then(|event| not_empty(event.data_content_type))
            .filter(|content_type| !content_type.contains("json"))
            .unwrap_or("text/plain"),
        _ => "application/json",
    }
}

fn write_extension_attributes(event: &Event<'_>, to: &mut Vec<u8>) {
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in event.attributes() {
        if name.is_empty()
            || OUR_ATTRIBUTES.contains(&name)
            || RESERVED.contains(&name)
            || seen.contains(&name)
        {
            continue;
        }
        seen.push(name);
        to.push(b',');
        transcode::write_string(name, to);
        to.push(b':');
        match value {
            AttributeValue::Boolean(value) => to.extend_from_slice(value.to_string().as_bytes()),
            AttributeValue::Integer(value) => transcode::write_integer(value.into(), to),
            AttributeValue::Text(text) => transcode::write_string(text, to),
            AttributeValue::Bytes(bytes) => transcode::write_string(&STANDARD.encode(bytes), to),
            AttributeValue::Time(time) => match time.rfc3339() {
                Some(time) => transcode::write_string(&time, to),
                None => to.extend_from_slice(b"null"),
            },
        }
    }
}
