//! What becomes of a frame as JSON: one object with what is known of it around its data.

mod cloudevents;
mod subject;

use xxhash_rust::xxh3::Xxh3;

use crate::frame::{Stream, Timestamp};
use crate::schema::{Envelope, EnvelopeError, UnknownType};
use crate::transcode::{self, DecodeError, JsonStyle, Tables};

pub use self::cloudevents::write_cloudevent;
pub use self::subject::{Content, Element, Parts, Subject};

/// What is known of a frame beside what it says itself.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// [`classic_id`] for Classic Central; a `CloudEvent` has an id of its own.
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

/// The id of a frame of Classic Central, which gives it none: the same frame of the same account
/// and topic always has the same one. 32 hex digits.
#[must_use]
pub fn classic_id(account: &str, topic: &str, frame: &[u8]) -> String {
    let mut hash = Xxh3::new();
    // With their lengths, lest account "ab" and topic "c" be account "a" and topic "bc".
    for part in [account, topic] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(frame);
    format!("{:032x}", hash.digest128())
}

/// Appends the record of an opened frame, or of a part of it, to `to`.
///
/// # Errors
/// The payload is malformed. `to` is then as it was.
pub fn write(
    tables: &Tables,
    style: JsonStyle,
    about: &About<'_>,
    envelope: &Envelope<'_>,
    subject: &Subject<'_>,
    to: &mut Vec<u8>,
) -> Result<(), RecordError> {
    let start = to.len();
    write_id(to, about, envelope, subject);
    member(to, "account", about.account.and_then(not_empty));
    member(to, "topic", Some(about.stream.topic()));
    member(to, "subject", not_empty(envelope.subject));
    let is_classic = matches!(about.stream, Stream::Classic { .. });
    if is_classic || !envelope.customer_id.is_empty() {
        member(to, "customer_id", Some(envelope.customer_id));
    }
    member(to, "msp_id", not_empty(envelope.msp_id));
    to.extend_from_slice(b",\"timestamp\":");
    transcode::write_integer(envelope.timestamp, to);
    member(to, "time", envelope.time.rfc3339().as_deref());
    let received_at = about.received_at.and_then(Timestamp::rfc3339);
    member(to, "received_at", received_at.as_deref());
    member(to, "type", not_empty(subject.message_type()));
    if let Some(element) = &subject.element {
        member(to, "element", Some(element.name));
        to.extend_from_slice(b",\"parent\":");
        to.extend_from_slice(element.parent);
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

/// The `CloudEvents` type of what is not a `CloudEvent` itself, in parts.
#[must_use]
pub fn event_type(stream: &Stream) -> [&str; 2] {
    match stream {
        Stream::Internal(topic) => [topic.event_type(), ""],
        _ => ["central.classic.", stream.topic()],
    }
}

/// The same for its source.
#[must_use]
pub fn event_source<'a>(stream: &Stream, account: &'a str) -> [&'a str; 2] {
    match stream {
        Stream::Internal(_) => ["/central-forwarder", ""],
        _ => ["/central/", account],
    }
}

/// Appends the id of the frame, and behind it that of the element.
fn write_id(to: &mut Vec<u8>, about: &About<'_>, envelope: &Envelope<'_>, subject: &Subject<'_>) {
    let event = envelope.event.as_ref();
    let Some(id) = event.map(|event| event.id).or(about.id) else {
        return;
    };
    if subject.element.is_none() {
        return member(to, "id", Some(id));
    }
    let mut whole = id.to_owned();
    subject.append_to_id(&mut whole);
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
    use crate::schema::{Payload, Schema};

    #[test]
    fn the_id_of_a_frame_depends_on_account_topic_and_frame_and_on_nothing_else() {
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
    fn a_record_has_what_is_known_and_leaves_out_what_is_not() {
        let schema = Schema::built_in();
        let tables = Tables::compile(schema.pool());
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
        let mut about = About {
            id: None,
            account: None,
            stream: &stream,
            received_at: None,
        };
        let mut written = Vec::new();
        let mut written_of = |about: &About<'_>| {
            written.clear();
            let subject = Subject::of(&schema, &tables, &stream, &envelope).unwrap();
            let style = JsonStyle::Readable;
            write(&tables, style, about, &envelope, &subject, &mut written).unwrap();
            String::from_utf8(written.clone()).unwrap()
        };
        assert_eq!(
            written_of(&about),
            r#"{"topic":"security","subject":"security","customer_id":"c\"1","timestamp":1700000000000,"time":"2023-11-14T22:13:20.000Z","type":"Security.RapidsStreamingEvent","data":{"cust_id":"c1"}}"#
        );
        about.id = Some("i");
        about.account = Some("acme");
        about.received_at = Some(Timestamp(1_700_000_000_123_456));
        assert_eq!(
            written_of(&about),
            r#"{"id":"i","account":"acme","topic":"security","subject":"security","customer_id":"c\"1","timestamp":1700000000000,"time":"2023-11-14T22:13:20.000Z","received_at":"2023-11-14T22:13:20.123456Z","type":"Security.RapidsStreamingEvent","data":{"cust_id":"c1"}}"#
        );
    }
}
