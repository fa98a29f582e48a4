//! A frame as JSON: one object with its data and what is known of it.
//!
//! | file | what |
//! |---|---|
//! | here | a record in the format `json` |
//! | `cloudevents` | a record in the format `cloudevents` |
//! | `data` | what becomes the record's `data`: a payload, or one element of it |

mod cloudevents;
mod data;

use xxhash_rust::xxh3::Xxh3;

use crate::frame::{Stream, Timestamp};
use crate::schema::{Envelope, EnvelopeError, UnknownType};
use crate::transcode::{self, DecodeError, JsonStyle, Tables};

pub use self::cloudevents::write_cloudevent;
pub use self::data::{Content, Element, RecordData, SplitPayload};

/// What is known of a frame besides its content.
#[derive(Clone, Copy, Debug)]
pub struct RecordMetadata<'a> {
    /// [`classic_id`] for Classic Central. An event of New Central has an id of its own.
    pub id: Option<&'a str>,
    pub account: Option<&'a str>,
    pub stream: &'a Stream,
    pub received_at: Option<Timestamp>,
}

/// Why a frame could not become a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Type(#[from] UnknownType),
    #[error(transparent)]
    Payload(#[from] DecodeError),
}

/// The id of a frame of Classic Central, which itself has none: a hash, so that the same frame of the
/// same account and topic always has the same id. 32 hex digits.
#[must_use]
pub fn classic_id(account: &str, topic: &str, frame: &[u8]) -> String {
    let mut hash = Xxh3::new();
    // With their lengths: account "ab" with topic "c" is not account "a" with topic "bc".
    for part in [account, topic] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(frame);
    format!("{:032x}", hash.digest128())
}

/// Appends a record in the format `json` to `to`.
///
/// # Errors
/// The payload is malformed. `to` is then as it was.
pub fn write(
    tables: &Tables,
    style: JsonStyle,
    metadata: &RecordMetadata<'_>,
    envelope: &Envelope<'_>,
    data: &RecordData<'_>,
    to: &mut Vec<u8>,
) -> Result<(), RecordError> {
    let start = to.len();
    write_id(to, metadata, envelope, data);
    member(to, "account", metadata.account.and_then(not_empty));
    member(to, "topic", Some(metadata.stream.topic()));
    member(to, "subject", not_empty(envelope.subject));
    let is_classic = matches!(metadata.stream, Stream::Classic { .. });
    if is_classic || !envelope.customer_id.is_empty() {
        member(to, "customer_id", Some(envelope.customer_id));
    }
    member(to, "msp_id", not_empty(envelope.msp_id));
    to.extend_from_slice(b",\"timestamp\":");
    transcode::write_integer(envelope.timestamp, to);
    member(to, "time", envelope.time.rfc3339().as_deref());
    let received_at = metadata.received_at.and_then(Timestamp::rfc3339);
    member(to, "received_at", received_at.as_deref());
    member(to, "type", not_empty(data.message_type()));
    if let Some(element) = &data.element {
        member(to, "element", Some(element.name));
        to.extend_from_slice(b",\"parent\":");
        to.extend_from_slice(element.parent);
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

/// The `CloudEvents` type of a frame that is no `CloudEvent`, in two parts.
#[must_use]
pub fn event_type(stream: &Stream) -> [&str; 2] {
    match stream {
        Stream::Internal(topic) => [topic.event_type(), ""],
        _ => ["central.classic.", stream.topic()],
    }
}

/// The `CloudEvents` source of such a frame, in two parts.
#[must_use]
pub fn event_source<'a>(stream: &Stream, account: &'a str) -> [&'a str; 2] {
    match stream {
        Stream::Internal(_) => ["/central-forwarder", ""],
        _ => ["/central/", account],
    }
}

/// Appends the id of the frame and, for an element, what identifies it in the frame.
fn write_id(
    to: &mut Vec<u8>,
    metadata: &RecordMetadata<'_>,
    envelope: &Envelope<'_>,
    data: &RecordData<'_>,
) {
    let event = envelope.event.as_ref();
    let Some(id) = event.map(|event| event.id).or(metadata.id) else {
        return;
    };
    if data.element.is_none() {
        return member(to, "id", Some(id));
    }
    let mut whole = id.to_owned();
    data.append_to_id(&mut whole);
    member(to, "id", Some(&whole));
}

/// Appends `,"name":"value"`, if there is a value.
fn member(to: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        to.extend_from_slice(b",\"");
        to.extend_from_slice(name.as_bytes());
        to.extend_from_slice(b"\":");
        transcode::write_string(value, to);
    }
}

fn not_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Descriptors, Payload};

    #[test]
    fn the_id_of_a_frame_depends_on_account_topic_and_frame_only() {
        let id = classic_id("acme", "monitoring", b"frame");
        assert_eq!(id.len(), 32);
        assert_eq!(id, classic_id("acme", "monitoring", b"frame"));
        for other in [
            classic_id("acmem", "onitoring", b"frame"),
            classic_id("acme", "monitoringf", b"rame"),
            classic_id("acme", "monitoring", b"frames"),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn a_record_has_only_the_members_that_are_known() {
        let descriptors = Descriptors::built_in();
        let tables = Tables::compile(descriptors.pool());
        let stream = Stream::parse("classic/security").unwrap();
        let envelope = Envelope {
            subject: "security",
            customer_id: "c\"1",
            timestamp: 1_700_000_000_000,
            time: crate::schema::Instant::of_any_unit(1_700_000_000_000),
            payload: Payload::Message {
                bytes: b"\x0a\x02c1",
                type_url: None,
            },
            ..Envelope::default()
        };
        let mut metadata = RecordMetadata {
            id: None,
            account: None,
            stream: &stream,
            received_at: None,
        };
        let mut written = Vec::new();
        let mut written_of = |metadata: &RecordMetadata<'_>| {
            written.clear();
            let data = RecordData::of(&descriptors, &tables, &stream, &envelope).unwrap();
            let style = JsonStyle::Readable;
            write(&tables, style, metadata, &envelope, &data, &mut written).unwrap();
            String::from_utf8(written.clone()).unwrap()
        };
        assert_eq!(
            written_of(&metadata),
            r#"{"topic":"security","subject":"security","customer_id":"c\"1","timestamp":1700000000000,"time":"2023-11-14T22:13:20.000Z","type":"Security.RapidsStreamingEvent","data":{"cust_id":"c1"}}"#
        );
        metadata.id = Some("i");
        metadata.account = Some("acme");
        metadata.received_at = Some(Timestamp(1_700_000_000_123_456));
        assert_eq!(
            written_of(&metadata),
            r#"{"id":"i","account":"acme","topic":"security","subject":"security","customer_id":"c\"1","timestamp":1700000000000,"time":"2023-11-14T22:13:20.000Z","received_at":"2023-11-14T22:13:20.123456Z","type":"Security.RapidsStreamingEvent","data":{"cust_id":"c1"}}"#
        );
    }
}
