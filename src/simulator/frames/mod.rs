//! The frames of one stream: encoded once; their number and time are put in when they are sent.
//!
//! | file | what |
//! |---|---|
//! | here | [`Ring`], the frames of a stream |
//! | `sequence` | the number that each frame carries |
//! | `site` | the access points and clients that frames speak of |
//! | `payload` | the payload messages of each topic |

pub(super) mod payload;
pub(super) mod sequence;
pub(super) mod site;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use prost::Message as _;
use prost_types::{Any, Timestamp};

use self::payload::{Draw, Event};
use self::site::Site;
use crate::proto::cloudevents::v1::CloudEvent;
use crate::proto::cloudevents::v1::cloud_event::Data;
use crate::proto::stream_message::MsgProto;

/// Different frames in a stream. Frame number N is the one at index N modulo this.
const RING_FRAMES: usize = 64;

/// Bytes of a varint that holds nanoseconds since the epoch, from 1972 to 2262.
const EPOCH_NANOS_BYTES: usize = 9;

/// Bytes of a varint that holds seconds since the epoch, or the nanoseconds of a second.
const TIMESTAMP_PART_BYTES: usize = 5;

/// Stands for the time while its position is searched for: the largest value that fits.
const TIME_PLACEHOLDER: Timestamp = Timestamp {
    seconds: (1 << 35) - 1,
    nanos: i32::MAX,
};

/// The beginning of every event type of New Central (seen in clients).
const TYPE_PREFIX: &str = "com.hpe.greenlake";

/// The frames of a stream, which are sent over and over with new numbers and times.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    templates: Vec<Template>,
}

#[derive(Clone, Debug)]
struct Template {
    frame: Vec<u8>,
    /// The event type that the filter `event-types` selects by; empty for Classic.
    kind: &'static str,
    sequence_at: Vec<usize>,
    clock: Clock,
}

/// Where the time is in the frame.
#[derive(Clone, Copy, Debug)]
enum Clock {
    /// A varint of nanoseconds since the epoch.
    Nanos(usize),
    /// A `google.protobuf.Timestamp`. Its nanoseconds take five bytes even where four would do,
    /// which every reader of protobuf accepts.
    Timestamp { seconds: usize, nanos: usize },
}

impl Ring {
    /// A topic of Classic Central. `now` is the time in payloads, in seconds since the epoch.
    pub(crate) fn classic(topic: &str, site: &Site, seed: u64, now: u32) -> Self {
        let mut draw = Draw::new(site, topic, seed, now);
        Self::of(|| Template::classic(topic, &mut draw))
    }

    /// An event of New Central, by its path. With `bare`, payloads are in `binary_data`, without their type,
    /// except those of `ap-events`, whose type no client could know then.
    pub(crate) fn new_central(path: &str, bare: bool, site: &Site, seed: u64, now: u32) -> Self {
        let mut draw = Draw::new(site, path, seed, now);
        let name = path.rsplit('/').next().unwrap_or(path);
        let bare = bare && name != "ap-events";
        Self::of(|| Template::cloud_event(name, bare, &mut draw))
    }

    fn of(template: impl FnMut() -> Template) -> Self {
        Self {
            templates: std::iter::repeat_with(template).take(RING_FRAMES).collect(),
        }
    }

    /// Only the events of these types, given in full or by their last part; `None` if there are none.
    pub(crate) fn filtered(&self, kinds: &[&str]) -> Option<Self> {
        let wanted = |template: &&Template| {
            let is_its = |kind: &&str| kind.rsplit('.').next() == Some(template.kind);
            kinds.iter().any(is_its)
        };
        let templates: Vec<_> = self.templates.iter().filter(wanted).cloned().collect();
        (!templates.is_empty()).then_some(Self { templates })
    }

    /// The frame with this number, sent at `nanos` since the epoch. It is cut off the end of `buffer`.
    pub(crate) fn frame(&self, sequence: u64, nanos: u64, buffer: &mut BytesMut) -> Bytes {
        let count = self.templates.len() as u64;
        let index = usize::try_from(sequence % count).expect("below the count");
        let template = &self.templates[index];
        buffer.extend_from_slice(&template.frame);
        for at in &template.sequence_at {
            sequence::write(sequence, &mut buffer[*at..*at + sequence::DIGITS]);
        }
        template.clock.write(nanos, buffer);
        buffer.split().freeze()
    }

    /// The most bytes that so many frames need.
    pub(crate) fn bytes(&self, frames: usize) -> usize {
        let largest = self
            .templates
            .iter()
            .map(|template| template.frame.len())
            .max();
        largest.unwrap_or(0) * frames
    }
}

impl Template {
    fn classic(topic: &str, draw: &mut Draw<'_>) -> Self {
        let head = MsgProto {
            subject: topic.to_owned(),
            data: payload::encode(topic, draw),
            ..MsgProto::default()
        };
        // Fields are encoded in the order of their numbers: the timestamp follows subject and data,
        // after one byte for its own number.
        let clock = Clock::Nanos(head.encoded_len() + 1);
        let message = MsgProto {
            timestamp: i64::MAX,
            customer_id: draw.site.customer_id.clone(),
            ..head
        };
        Self::new(message.encode_to_vec(), "", clock)
    }

    fn cloud_event(name: &str, bare: bool, draw: &mut Draw<'_>) -> Self {
        let event = Event::draw(name, draw);
        let data = if bare {
            Data::BinaryData(event.payload.into())
        } else {
            Data::ProtoData(Any {
                type_url: format!("type.googleapis.com/{}", event.message),
                value: event.payload,
            })
        };
        let message = CloudEvent {
            id: draw.numbered_uuid(),
            source: "central".to_owned(),
            specversion: "1.0".to_owned(),
            r#type: format!("{TYPE_PREFIX}.{name}.{}", event.kind),
            time: Some(TIME_PLACEHOLDER),
            datacontenttype: "application/protobuf".to_owned(),
            data: Some(data),
            ..CloudEvent::default()
        };
        let frame = message.encode_to_vec();
        let position = memmem::rfind(&frame, &TIME_PLACEHOLDER.encode_to_vec())
            .expect("every event has a time");
        // Each of the two comes after one byte for its number.
        let seconds = position + 1;
        let nanos = seconds + TIMESTAMP_PART_BYTES + 1;
        Self::new(frame, event.kind, Clock::Timestamp { seconds, nanos })
    }

    fn new(frame: Vec<u8>, kind: &'static str, clock: Clock) -> Self {
        let sequence_at: Vec<_> =
            memmem::find_iter(&frame, sequence::PLACEHOLDER.as_bytes()).collect();
        assert!(!sequence_at.is_empty(), "every payload has its number");
        Self {
            frame,
            kind,
            sequence_at,
            clock,
        }
    }
}

impl Clock {
    fn write(self, nanos: u64, frame: &mut [u8]) {
        match self {
            Self::Nanos(at) => write_varint(nanos, &mut frame[at..at + EPOCH_NANOS_BYTES]),
            Self::Timestamp {
                seconds,
                nanos: rest,
            } => {
                let part = |at: usize| at..at + TIMESTAMP_PART_BYTES;
                write_varint(nanos / 1_000_000_000, &mut frame[part(seconds)]);
                write_varint(nanos % 1_000_000_000, &mut frame[part(rest)]);
            }
        }
    }
}

fn write_varint(mut value: u64, bytes: &mut [u8]) {
    let last = bytes.len() - 1;
    for byte in &mut bytes[..last] {
        *byte = 0x80 | (value & 0x7f) as u8;
        value >>= 7;
    }
    bytes[last] = (value & 0x7f) as u8;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::simulator::{EVENTS, TOPICS, sequence_of_frame};

    const NOW: u32 = 1_700_000_000;
    const NANOS: u64 = 1_700_000_000_123_456_789;

    type Frames = fn(&str, u64) -> Vec<Bytes>;

    fn all(ring: &Ring) -> Vec<Bytes> {
        let frame = |sequence| ring.frame(sequence, NANOS, &mut BytesMut::new());
        (1..=RING_FRAMES as u64).map(frame).collect()
    }

    fn classic(topic: &str, seed: u64) -> Vec<Bytes> {
        all(&Ring::classic(topic, &Site::new(seed), seed, NOW))
    }

    fn new_central(path: &str, seed: u64) -> Vec<Bytes> {
        all(&Ring::new_central(path, false, &Site::new(seed), seed, NOW))
    }

    #[test]
    fn every_frame_is_an_envelope_with_number_and_time() {
        for topic in TOPICS {
            for (index, frame) in classic(topic, 1).into_iter().enumerate() {
                assert_eq!(sequence_of_frame(&frame), Some(index as u64 + 1), "{topic}");
                let envelope = MsgProto::decode(frame).unwrap();
                assert_eq!(envelope.subject, topic);
                assert_eq!(envelope.timestamp, NANOS.cast_signed());
                assert_eq!(envelope.customer_id.len(), 32);
            }
        }
    }

    #[test]
    fn every_event_has_its_number_its_time_and_a_type_that_is_known() {
        let schema = crate::schema::built_in();
        for path in EVENTS {
            for (index, frame) in new_central(path, 1).into_iter().enumerate() {
                assert_eq!(sequence_of_frame(&frame), Some(index as u64 + 1), "{path}");
                let event = CloudEvent::decode(frame).unwrap();
                let time = event.time.unwrap();
                assert_eq!((time.seconds, time.nanos), (1_700_000_000, 123_456_789));
                let Some(Data::ProtoData(any)) = event.data else {
                    panic!("{path}: {:?}", event.data);
                };
                let name = any.type_url.rsplit('/').next().unwrap();
                let name = name.replace("ap.AP", "network_monitoring.ap.v1alpha1.AP");
                let short = name.starts_with("ap.");
                assert!(
                    short || schema.get_message_by_name(&name).is_some(),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_filter_leaves_only_what_it_names() {
        let ring = Ring::new_central(EVENTS[4], false, &Site::new(1), 1, NOW);
        for filter in ["radio-stat", "com.hpe.greenlake.ap-events.radio-stat"] {
            let filtered = ring.filtered(&["no such kind", filter]).unwrap();
            for frame in all(&filtered) {
                let event = CloudEvent::decode(frame).unwrap();
                assert!(event.r#type.ends_with(".radio-stat"), "{}", event.r#type);
            }
        }
        assert!(ring.filtered(&["no such kind"]).is_none());
    }

    #[test]
    fn payloads_may_come_without_their_type() {
        let ring = Ring::new_central(EVENTS[0], true, &Site::new(1), 1, NOW);
        let event = CloudEvent::decode(ring.frame(7, NANOS, &mut BytesMut::new())).unwrap();
        assert!(matches!(event.data, Some(Data::BinaryData(_))), "{event:?}");
    }

    #[test]
    fn a_seed_gives_the_same_frames_and_another_gives_others() {
        let streams = TOPICS.map(|topic| (topic, classic as Frames));
        let events = EVENTS.map(|path| (path, new_central as Frames));
        for (stream, frames) in streams.into_iter().chain(events) {
            assert_eq!(frames(stream, 1), frames(stream, 1));
            assert_ne!(frames(stream, 1), frames(stream, 2));
            let different: BTreeSet<Bytes> = frames(stream, 1).into_iter().collect();
            assert_eq!(different.len(), RING_FRAMES);
        }
    }

    #[test]
    fn monitoring_frames_are_about_as_large_as_real_ones() {
        let frames = classic("monitoring", 1);
        let mean = frames.iter().map(Bytes::len).sum::<usize>() / frames.len();
        assert!((2200..2600).contains(&mean), "{mean}");
    }
}
