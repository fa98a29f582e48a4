//! The frames of one topic: encoded once, numbered and dated when they are sent.

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use prost::Message as _;

use super::payload::{self, Draw};
use super::sequence;
use super::site::Site;
use crate::proto::stream_message::MsgProto;

/// Different frames per topic; number N is frame N modulo this.
const RING: usize = 64;

/// Bytes of a varint that holds nanoseconds since the epoch, from 1972 to 2262.
const TIMESTAMP_BYTES: usize = 9;

#[derive(Debug)]
pub(super) struct Ring {
    templates: Vec<Template>,
}

#[derive(Debug)]
struct Template {
    frame: Vec<u8>,
    sequence_at: usize,
    timestamp_at: usize,
}

impl Ring {
    /// `now` is the time that payloads speak of, in seconds since the epoch.
    pub(super) fn new(topic: &str, site: &Site, seed: u64, now: u32) -> Self {
        let mut draw = Draw::new(site, topic, seed, now);
        let templates = (0..RING).map(|_| Template::new(topic, &mut draw)).collect();
        Self { templates }
    }

    /// The frame with this number, sent at `nanos` since the epoch; `buffer` gives the room.
    pub(super) fn frame(&self, sequence: u64, nanos: u64, buffer: &mut BytesMut) -> Bytes {
        let index = usize::try_from(sequence % RING as u64).expect("below RING");
        let template = &self.templates[index];
        buffer.extend_from_slice(&template.frame);
        let sequence_at = template.sequence_at;
        sequence::write(
            sequence,
            &mut buffer[sequence_at..sequence_at + sequence::DIGITS],
        );
        let timestamp_at = template.timestamp_at;
        write_varint(
            nanos,
            &mut buffer[timestamp_at..timestamp_at + TIMESTAMP_BYTES],
        );
        buffer.split().freeze()
    }

    /// What `frames` of them need at most.
    pub(super) fn bytes(&self, frames: usize) -> usize {
        let largest = self
            .templates
            .iter()
            .map(|template| template.frame.len())
            .max();
        largest.unwrap_or(0) * frames
    }
}

impl Template {
    fn new(topic: &str, draw: &mut Draw<'_>) -> Self {
        let head = MsgProto {
            subject: topic.to_owned(),
            data: payload::encode(topic, draw),
            ..MsgProto::default()
        };
        // Fields are encoded in the order of their numbers: the timestamp follows subject and data,
        // after one byte for its own number.
        let timestamp_at = head.encoded_len() + 1;
        let frame = MsgProto {
            timestamp: i64::MAX,
            customer_id: draw.site.customer_id.clone(),
            ..head
        }
        .encode_to_vec();
        let sequence_at = memmem::find(&frame, sequence::PLACEHOLDER.as_bytes())
            .expect("every payload has a place for its number");
        Self {
            frame,
            sequence_at,
            timestamp_at,
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
    use crate::simulator::{TOPICS, sequence_of_frame};

    const NOW: u32 = 1_700_000_000;
    const NANOS: u64 = 1_700_000_000_123_456_789;

    fn frames(topic: &str, seed: u64) -> Vec<Bytes> {
        let ring = Ring::new(topic, &Site::new(seed), seed, NOW);
        let frame = |sequence| ring.frame(sequence, NANOS, &mut BytesMut::new());
        (1..=RING as u64).map(frame).collect()
    }

    #[test]
    fn every_frame_is_an_envelope_with_number_and_time() {
        for topic in TOPICS {
            for (index, frame) in frames(topic, 1).into_iter().enumerate() {
                assert_eq!(sequence_of_frame(&frame), Some(index as u64 + 1), "{topic}");
                let envelope = MsgProto::decode(frame).unwrap();
                assert_eq!(envelope.subject, topic);
                assert_eq!(envelope.timestamp, NANOS.cast_signed());
                assert_eq!(envelope.customer_id.len(), 32);
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_frames_and_another_gives_others() {
        for topic in TOPICS {
            assert_eq!(frames(topic, 1), frames(topic, 1));
            assert_ne!(frames(topic, 1), frames(topic, 2));
            let different: BTreeSet<Bytes> = frames(topic, 1).into_iter().collect();
            assert_eq!(different.len(), RING);
        }
    }

    #[test]
    fn monitoring_frames_are_about_as_large_as_real_ones() {
        let frames = frames("monitoring", 1);
        let mean = frames.iter().map(Bytes::len).sum::<usize>() / frames.len();
        assert!((2200..2600).contains(&mean), "{mean}");
    }
}
