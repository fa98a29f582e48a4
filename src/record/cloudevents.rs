//! A record in the JSON format of `CloudEvents` 1.0.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::subject::is_json;
use super::{About, RecordError, Subject, event_source, event_type, member, not_empty, write_id};
use crate::schema::{AttributeValue, Envelope, Event};
use crate::transcode::{self, JsonStyle, Tables};

/// The attributes that are written here: an event's own one of the same name gives way.
const OURS: [&str; 14] = [
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

/// Names that are no attributes.
const RESERVED: [&str; 3] = ["data", "data_base64", "parent"];

/// Appends the event. An attribute can hold no object: what the elements of a payload have in
/// common is the JSON text of the attribute `parent`.
///
/// # Errors
/// The payload is malformed. `to` is then as it was.
pub fn write_cloudevent(
    tables: &Tables,
    style: JsonStyle,
    about: &About<'_>,
    envelope: &Envelope<'_>,
    subject: &Subject<'_>,
    to: &mut Vec<u8>,
) -> Result<(), RecordError> {
    let start = to.len();
    member(to, "specversion", Some("1.0"));
    write_id(to, about, envelope, subject);
    let account = about.account.unwrap_or_default();
    let topic = about.stream.topic();
    let event = envelope.event.as_ref();
    if let Some(event) = event {
        member(to, "source", Some(event.source));
        member(to, "type", Some(event.event_type));
    } else {
        let source = event_source(about.stream, account).concat();
        member(to, "source", Some(&source));
        member(to, "type", Some(&event_type(about.stream).concat()));
    }
    member(to, "time", envelope.time.rfc3339().as_deref());
    member(to, "subject", not_empty(envelope.subject));
    member(to, "datacontenttype", Some(content_type(event, subject)));
    member(
        to,
        "dataschema",
        event.and_then(|event| not_empty(event.data_schema)),
    );
    member(to, "account", not_empty(account));
    member(to, "topic", Some(topic));
    member(to, "customerid", not_empty(envelope.customer_id));
    member(to, "mspid", not_empty(envelope.msp_id));
    member(to, "messagetype", not_empty(subject.message_type()));
    if let Some(element) = &subject.element {
        member(to, "element", Some(element.name));
        member(to, "parent", std::str::from_utf8(element.parent).ok());
    }
    if let Some(event) = event {
        write_own_attributes(event, to);
    }
    to.extend_from_slice(b",\"data\":");
    if let Err(error) = subject.write_data(tables, style, to) {
        to.truncate(start);
        return Err(error);
    }
    to[start] = b'{';
    to.push(b'}');
    Ok(())
}

/// What `data` is: JSON of our own making, or the text that came.
fn content_type<'a>(event: Option<&Event<'a>>, subject: &Subject<'_>) -> &'a str {
    match subject.content {
        super::Content::Text(text) if !is_json(text) => event
            .and_then(|event| not_empty(event.data_content_type))
            .filter(|content_type| !content_type.contains("json"))
            .unwrap_or("text/plain"),
        _ => "application/json",
    }
}

fn write_own_attributes(event: &Event<'_>, to: &mut Vec<u8>) {
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in event.attributes() {
        if name.is_empty()
            || OURS.contains(&name)
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
