//! What Central wraps around a payload: `StreamMessage.MsgProto` of Classic Central, and
//! `cloudevents.v1.CloudEvent` of New Central. Nothing is copied.

mod error;
mod event;
mod instant;

use std::ops::Range;

pub use self::error::EnvelopeError;
use self::error::{CLASSIC, EVENT};
use self::event::attribute;
pub use self::event::{AttributeValue, Event};
pub use self::instant::Instant;
use crate::frame::{Internal, Stream, Timestamp};
use crate::wire::{DEPTH_LIMIT, Problem, Wire, WireError, WireReader};

/// An opened frame.
#[derive(Clone, Debug, Default)]
pub struct Envelope<'a> {
    /// The topic as Classic Central calls it; empty if there is none.
    pub subject: &'a str,
    /// Empty if the envelope has none: that of New Central has none.
    pub customer_id: &'a str,
    /// Empty if the customer has no managed service provider.
    pub msp_id: &'a str,
    /// Classic: the envelope's integer, untouched. New: milliseconds since the Unix epoch.
    pub timestamp: i64,
    pub time: Instant,
    pub payload: Payload<'a>,
    /// The attributes of an event of New Central.
    pub event: Option<Event<'a>>,
}

/// What an envelope carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A message, and the URL that names its type, if there is one.
    Message {
        bytes: &'a [u8],
        type_url: Option<&'a str>,
    },
    /// Text, often JSON; New Central only.
    Text(&'a str),
    /// The JSON of one of our own events.
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
                    json: utf8(frame, 0..frame.len())
                        .map_err(|fault| EnvelopeError::of_own(topic.event_type(), &fault))?,
                },
                ..Self::default()
            }),
        }
    }

    /// Sets when the event happened, for a frame that does not say it.
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
        Self::read_classic(frame).map_err(|fault| EnvelopeError::of(&CLASSIC, frame, &fault))
    }

    fn read_classic(frame: &'a [u8]) -> Result<Self, Box<WireError>> {
        let mut envelope = Self::default();
        let mut reader = WireReader::new(frame);
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
        let (event, time, payload) =
            read_event(frame).map_err(|fault| EnvelopeError::of(&EVENT, frame, &fault))?;
        let payload = payload.ok_or_else(|| EnvelopeError::no_data(event.id, frame))?;
        Ok(Self {
            timestamp: time.millis(),
            time,
            payload,
            event: Some(event),
            ..Self::default()
        })
    }
}

type EventParts<'a> = (Event<'a>, Instant, Option<Payload<'a>>);

fn read_event(frame: &[u8]) -> Result<EventParts<'_>, Box<WireError>> {
    let mut event = Event::of(frame);
    let mut time = Instant::default();
    let mut payload = None;
    let mut reader = WireReader::new(frame);
    while let Some(tag) = reader.tag()? {
        match (tag.number, tag.wire) {
            (1, Wire::Len) => event.id = text(&mut reader)?,
            (2, Wire::Len) => event.source = text(&mut reader)?,
            (3, Wire::Len) => event.spec_version = text(&mut reader)?,
            (4, Wire::Len) => event.event_type = text(&mut reader)?,
            // Read later, from the frame; here only checked.
            (5, Wire::Len) => {
                let range = reader.delimited()?;
                attribute(reader.part(range))?;
            }
            (6, Wire::Len) => {
                payload = Some(Payload::Message {
                    bytes: &frame[reader.delimited()?],
                    type_url: None,
                });
            }
            (7, Wire::Len) => payload = Some(Payload::Text(text(&mut reader)?)),
            (8, Wire::Len) => payload = Some(any(&mut reader, payload)?),
            (9, Wire::Len) => time = Instant::read(&mut reader, time)?,
            (10, Wire::Len) => event.data_content_type = text(&mut reader)?,
            (11, Wire::Len) => event.data_schema = text(&mut reader)?,
            _ => reader.skip(tag, DEPTH_LIMIT)?,
        }
    }
    Ok((event, time, payload))
}

fn text<'a>(reader: &mut WireReader<'a>) -> Result<&'a str, Box<WireError>> {
    let range = reader.delimited()?;
    utf8(reader.bytes, range)
}

fn utf8(bytes: &[u8], range: Range<usize>) -> Result<&str, Box<WireError>> {
    std::str::from_utf8(&bytes[range.clone()])
        .map_err(|error| Problem::Utf8.at(range.start + error.valid_up_to()))
}

/// Reads an Any. A repeated one is merged with the one before.
fn any<'a>(
    reader: &mut WireReader<'a>,
    before: Option<Payload<'a>>,
) -> Result<Payload<'a>, Box<WireError>> {
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
}
