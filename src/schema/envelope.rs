//! What stands around a payload: `StreamMessage.MsgProto` of Classic Central, and
//! `cloudevents.v1.CloudEvent` of New Central. Nothing is copied.

use std::ops::Range;

use crate::frame::{Internal, Stream, Timestamp};
use crate::rfc3339::Rfc3339;
use crate::wire::{DEPTH_LIMIT, Fault, Problem, Reader, Wire};

/// Digits of a second that times of an envelope have at least.
const FRACTION_DIGITS: usize = 3;

/// One frame, opened.
#[derive(Clone, Debug, Default)]
pub struct Envelope<'a> {
    /// What Classic Central calls the topic; empty where there is none.
    pub subject: &'a str,
    /// Empty where the envelope has none, as that of New Central.
    pub customer_id: &'a str,
    /// Empty where the customer has no managed service provider.
    pub msp_id: &'a str,
    /// Classic: the envelope's integer, untouched. New: milliseconds since the Unix epoch.
    pub timestamp: i64,
    pub time: Instant,
    pub payload: Payload<'a>,
    /// Only of New Central.
    pub event: Option<Event<'a>>,
}

/// What an envelope carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A message, and the URL that names its type, where there is one.
    Message {
        bytes: &'a [u8],
        type_url: Option<&'a str>,
    },
    /// Text of New Central, often JSON.
    Text(&'a str),
    /// JSON of an event of our own.
    Own { topic: Internal, json: &'a str },
}

impl Default for Payload<'_> {
    fn default() -> Self {
        Self::Message {
            bytes: &[],
            type_url: None,
        }
    }
}

/// The attributes of a `CloudEvent` that have no place in [`Envelope`]; empty where absent.
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

/// An instant, as precise as it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant {
    pub seconds: i64,
    /// 0 to 999 999 999.
    pub nanos: u32,
}

impl Instant {
    /// From an integer whose unit is not known: seconds, milliseconds, microseconds or nanoseconds
    /// by its magnitude, each of which would otherwise lie before 1973 or beyond the year 5000.
    /// The unit is not documented; nanoseconds were seen (inferred).
    #[must_use]
    pub fn of_any_unit(value: i64) -> Self {
        let per_second = match value.unsigned_abs() {
            0..100_000_000_000 => 1,
            100_000_000_000..100_000_000_000_000 => 1_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000_000,
            _ => 1_000_000_000,
        };
        let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
        Self {
            seconds: value.div_euclid(per_second),
            nanos: u32::try_from(nanos).unwrap_or_default(),
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn millis(&self) -> i64 {
        self.seconds
            .saturating_mul(1000)
            .saturating_add(i64::from(self.nanos / 1_000_000))
    }

    /// RFC 3339 with 3, 6 or 9 digits; `None` outside the years 1 to 9999.
    #[must_use]
    pub fn rfc3339(&self) -> Option<Rfc3339> {
        Rfc3339::new(self.seconds, self.nanos, FRACTION_DIGITS)
    }
}

/// Why a frame could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the frame is empty, at byte 0")]
    Empty,
    #[error("{problem} at byte {offset} of the frame (envelope)")]
    Malformed { problem: Problem, offset: usize },
    #[error("the event {0:?} carries no data")]
    NoData(String),
}

impl From<Fault> for EnvelopeError {
    fn from(fault: Fault) -> Self {
        Self::Malformed {
            problem: fault.problem,
            offset: fault.at,
        }
    }
}

impl<'a> Envelope<'a> {
    /// Opens a frame of `stream`.
    ///
    /// # Errors
    /// The frame is empty or malformed, or a New Central event has no data.
    pub fn open(stream: &Stream, frame: &'a [u8]) -> Result<Self, EnvelopeError> {
        match stream {
            Stream::Classic { .. } => Self::open_classic(frame),
            Stream::New { .. } => Self::open_event(frame),
            Stream::Internal(topic) => Ok(Self {
                payload: Payload::Own {
                    topic: *topic,
                    json: utf8(frame, 0..frame.len())?,
                },
                ..Self::default()
            }),
        }
    }

    /// Says when it happened, where the frame does not: milliseconds, and the instant.
    pub fn set_time(&mut self, at: Timestamp) {
        self.time = Instant {
            seconds: at.0.div_euclid(1_000_000),
            nanos: u32::try_from(at.0.rem_euclid(1_000_000) * 1000).unwrap_or_default(),
        };
        self.timestamp = self.time.millis();
    }

    /// Opens a frame of Classic Central.
    ///
    /// # Errors
    /// The frame is empty or malformed.
    pub fn open_classic(frame: &'a [u8]) -> Result<Self, EnvelopeError> {
        if frame.is_empty() {
            return Err(EnvelopeError::Empty);
        }
        let mut envelope = Self::default();
        let mut reader = Reader::new(frame);
        while let Some(tag) = reader.tag()? {
            match (tag.number, tag.wire) {
                (2, Wire::Len) => envelope.subject = text(&mut reader)?,
                (3, Wire::Len) => {
                    envelope.payload = Payload::Message {
                        bytes: &frame[reader.delimited()?],
                        type_url: None,
                    };
                }
                (4, Wire::Varint) => envelope.timestamp = reader.int64()?,
                (5, Wire::Len) => envelope.customer_id = text(&mut reader)?,
                (6, Wire::Len) => envelope.msp_id = text(&mut reader)?,
                _ => reader.skip(tag, DEPTH_LIMIT)?,
            }
        }
        envelope.time = Instant::of_any_unit(envelope.timestamp);
        Ok(envelope)
    }

    /// Opens a frame of New Central.
    ///
    /// # Errors
    /// The frame is empty or malformed, or the event has no data.
    pub fn open_event(frame: &'a [u8]) -> Result<Self, EnvelopeError> {
        if frame.is_empty() {
            return Err(EnvelopeError::Empty);
        }
        let mut event = Event {
            frame,
            ..Event::default()
        };
        let mut time = Instant::default();
        let mut payload = None;
        let mut reader = Reader::new(frame);
        while let Some(tag) = reader.tag()? {
            match (tag.number, tag.wire) {
                (1, Wire::Len) => event.id = text(&mut reader)?,
                (2, Wire::Len) => event.source = text(&mut reader)?,
                (3, Wire::Len) => event.spec_version = text(&mut reader)?,
                (4, Wire::Len) => event.event_type = text(&mut reader)?,
                (6, Wire::Len) => {
                    payload = Some(Payload::Message {
                        bytes: &frame[reader.delimited()?],
                        type_url: None,
                    });
                }
                (7, Wire::Len) => payload = Some(Payload::Text(text(&mut reader)?)),
                (8, Wire::Len) => payload = Some(any(&mut reader, payload)?),
                (9, Wire::Len) => time = instant(&mut reader, time)?,
                (10, Wire::Len) => event.data_content_type = text(&mut reader)?,
                (11, Wire::Len) => event.data_schema = text(&mut reader)?,
                _ => reader.skip(tag, DEPTH_LIMIT)?,
            }
        }
        let payload = payload.ok_or_else(|| EnvelopeError::NoData(event.id.to_owned()))?;
        Ok(Self {
            timestamp: time.millis(),
            time,
            payload,
            event: Some(event),
            ..Self::default()
        })
    }
}

impl<'a> Event<'a> {
    /// The extension attributes, in the order of the frame; one that is malformed ends them.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a str, AttributeValue<'a>)> {
        let mut reader = Reader::new(self.frame);
        std::iter::from_fn(move || {
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

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Fault> {
    let range = reader.delimited()?;
    utf8(reader.bytes, range)
}

fn utf8(bytes: &[u8], range: Range<usize>) -> Result<&str, Fault> {
    std::str::from_utf8(&bytes[range.clone()])
        .map_err(|error| Problem::Utf8.at(range.start + error.valid_up_to()))
}

/// Reads an Any over what came before, since a message that comes again is merged.
fn any<'a>(reader: &mut Reader<'a>, before: Option<Payload<'a>>) -> Result<Payload<'a>, Fault> {
    let (mut bytes, mut url): (&[u8], _) = match before {
        Some(Payload::Message {
            bytes,
            type_url: Some(url),
        }) => (bytes, url),
        _ => (&[], ""),
    };
    let range = reader.delimited()?;
    let mut reader = reader.part(range);
    while let Some(tag) = reader.tag()? {
        match (tag.number, tag.wire) {
            (1, Wire::Len) => url = text(&mut reader)?,
            (2, Wire::Len) => bytes = &reader.bytes[reader.delimited()?],
            _ => reader.skip(tag, DEPTH_LIMIT)?,
        }
    }
    Ok(Payload::Message {
        bytes,
        type_url: Some(url),
    })
}

/// Reads a Timestamp over what came before.
fn instant(reader: &mut Reader, before: Instant) -> Result<Instant, Fault> {
    let mut instant = before;
    let range = reader.delimited()?;
    let mut reader = reader.part(range);
    while let Some(tag) = reader.tag()? {
        match (tag.number, tag.wire) {
            (1, Wire::Varint) => instant.seconds = reader.int64()?,
            (2, Wire::Varint) => {
                let nanos = u32::try_from(reader.varint()?).unwrap_or_default();
                instant.nanos = nanos.min(999_999_999);
            }
            _ => reader.skip(tag, DEPTH_LIMIT)?,
        }
    }
    Ok(instant)
}

/// Reads an entry of the attributes; `None` where it has no value.
fn attribute(mut reader: Reader<'_>) -> Result<Option<(&str, AttributeValue<'_>)>, Fault> {
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

fn attribute_value(mut reader: Reader<'_>) -> Result<Option<AttributeValue<'_>>, Fault> {
    let mut value = None;
    while let Some(tag) = reader.tag()? {
        value = Some(match (tag.number, tag.wire) {
            (1, Wire::Varint) => AttributeValue::Boolean(reader.bool()?),
            (2, Wire::Varint) => AttributeValue::Integer(reader.int32()?),
            (3 | 5 | 6, Wire::Len) => AttributeValue::Text(text(&mut reader)?),
            (4, Wire::Len) => AttributeValue::Bytes(&reader.bytes[reader.delimited()?]),
            (7, Wire::Len) => AttributeValue::Time(instant(&mut reader, Instant::default())?),
            _ => {
                reader.skip(tag, DEPTH_LIMIT)?;
                continue;
            }
        });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::cloudevents::v1::{
        CloudEvent, CloudEventAttributeValue, cloud_event::Data, cloud_event_attribute_value::Value,
    };
    use crate::proto::stream_message::MsgProto;

    #[test]
    fn a_classic_envelope_opens_in_any_order_and_the_last_value_counts() {
        let first = MsgProto {
            subject: "old".to_owned(),
            data: b"payload".as_slice().into(),
            timestamp: 1_700_000_000_123_456_789,
            customer_id: "c1".to_owned(),
            msp_id: String::new(),
        };
        let second = MsgProto {
            subject: "monitoring".to_owned(),
            ..MsgProto::default()
        };
        let frame = [first.encode_to_vec(), second.encode_to_vec()].concat();
        let envelope = Envelope::open_classic(&frame).unwrap();
        assert_eq!(envelope.subject, "monitoring");
        assert_eq!(envelope.customer_id, "c1");
        assert_eq!(envelope.msp_id, "");
        assert_eq!(envelope.timestamp, 1_700_000_000_123_456_789);
        assert_eq!(envelope.time.millis(), 1_700_000_000_123);
        assert_eq!(
            &*envelope.time.rfc3339().unwrap(),
            "2023-11-14T22:13:20.123456789Z"
        );
        assert_eq!(
            envelope.payload,
            Payload::Message {
                bytes: b"payload",
                type_url: None
            }
        );
    }

    #[test]
    fn the_unit_of_a_timestamp_is_told_by_its_magnitude() {
        for value in [
            1_700_000_000,
            1_700_000_000_000,
            1_700_000_000_000_000,
            1_700_000_000_000_000_000,
        ] {
            let text = Instant::of_any_unit(value).rfc3339().unwrap();
            assert_eq!(&*text, "2023-11-14T22:13:20.000Z", "{value}");
        }
        assert_eq!(Instant::of_any_unit(-1).millis(), -1000);
        assert!(Instant::of_any_unit(i64::MIN).rfc3339().is_some());
    }

    #[test]
    fn an_event_keeps_its_attributes_and_any_of_the_three_kinds_of_data() {
        let mut event = CloudEvent {
            id: "e1".to_owned(),
            source: "central".to_owned(),
            r#type: "t".to_owned(),
            time: Some(prost_types::Timestamp {
                seconds: 1_700_000_000,
                nanos: 5_000_000,
            }),
            ..CloudEvent::default()
        };
        event.attributes.insert(
            "partition".to_owned(),
            CloudEventAttributeValue {
                value: Some(Value::CeInteger(-3)),
            },
        );
        for (data, payload) in [
            (
                Data::BinaryData(b"b".as_slice().into()),
                Payload::Message {
                    bytes: b"b",
                    type_url: None,
                },
            ),
            (Data::TextData("{}".to_owned()), Payload::Text("{}")),
            (
                Data::ProtoData(prost_types::Any {
                    type_url: "x/T".to_owned(),
                    value: b"v".to_vec(),
                }),
                Payload::Message {
                    bytes: b"v",
                    type_url: Some("x/T"),
                },
            ),
        ] {
            event.data = Some(data);
            let frame = event.encode_to_vec();
            let envelope = Envelope::open_event(&frame).unwrap();
            assert_eq!(envelope.payload, payload);
            assert_eq!(envelope.timestamp, 1_700_000_000_005);
            let opened = envelope.event.unwrap();
            assert_eq!((opened.id, opened.source), ("e1", "central"));
            assert_eq!(
                opened.attributes().collect::<Vec<_>>(),
                [("partition", AttributeValue::Integer(-3))]
            );
        }
    }

    #[test]
    fn a_frame_that_is_no_envelope_says_where() {
        assert_eq!(
            Envelope::open_classic(b"").unwrap_err().to_string(),
            "the frame is empty, at byte 0"
        );
        assert_eq!(
            Envelope::open_classic(b"\x12\x05ab")
                .unwrap_err()
                .to_string(),
            "length 5 reaches past the end at byte 1 of the frame (envelope)"
        );
        assert_eq!(
            Envelope::open_event(b"\x0a\x02e1").unwrap_err().to_string(),
            "the event \"e1\" carries no data"
        );
    }
}
