//! A record's bytes: see the table in [the journal's format](crate::journal).

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::Write as _;

use bytes::Bytes;

use crate::frame::{Frame, Stream, SubscriptionId, Timestamp};

/// The largest payload that a record may have.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// Begins every record. The first byte cannot occur in UTF-8, so text never looks like a record.
pub(crate) const MAGIC: [u8; 4] = [0xF7, b'C', b'F', b'1'];
pub(crate) const HEADER_BYTES: usize = 32;

const FRAME: u8 = 1;
const DEAD_LETTER: u8 = 2;
/// The lengths of account and stream.
const LENGTHS_BYTES: usize = 4;
/// When and how often, and the lengths of sink and reason.
const REFUSAL_BYTES: usize = 16;
const MAX_BODY_BYTES: usize =
    LENGTHS_BYTES + REFUSAL_BYTES + 4 * u16::MAX as usize + MAX_PAYLOAD_BYTES;
/// The cache is emptied beyond this many, so that a journal with absurdly many subscriptions costs
/// time, not memory.
const MAX_SUBSCRIPTIONS: usize = 4096;

/// Why a sink does not have a frame, which thereby becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The sink's name in the config.
    pub sink: String,
    /// What the broker said, or why the frame cannot be decoded.
    pub reason: String,
    pub refused_at: Timestamp,
    /// How often the sink has refused it: more than once if it was retried.
    pub times: u32,
}

/// Bytes that a frame, or a dead letter, takes as a record; `None` if it is too large for one.
pub(crate) fn encoded_len(frame: &Frame, refusal: Option<&Refusal>) -> Option<usize> {
    let account = frame.subscription.account().len();
    let stream = text_len(frame.subscription.stream());
    let (sink, reason) =
        refusal.map_or((0, 0), |refusal| (refusal.sink.len(), refusal.reason.len()));
    let names = [account, stream, sink, reason];
    let fits = names.iter().all(|len| u16::try_from(*len).is_ok())
        && frame.payload.len() <= MAX_PAYLOAD_BYTES;
    let refusal = refusal.map_or(0, |_| REFUSAL_BYTES);
    let fixed = HEADER_BYTES + LENGTHS_BYTES + refusal;
    fits.then_some(fixed + names.iter().sum::<usize>() + frame.payload.len())
}

/// Appends a frame, or a dead letter, as record number `offset`. Its [`encoded_len`] must be `Some`.
pub(crate) fn encode(frame: &Frame, refusal: Option<&Refusal>, offset: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let account = frame.subscription.account();
    let kind = refusal.map_or(FRAME, |_| DEAD_LETTER);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&frame.received_at.0.to_le_bytes());
    out.extend_from_slice(&short(account.len()).to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(account.as_bytes());
    let stream = out.len();
    write!(out, "{}", frame.subscription.stream()).expect("a vector takes all writes");
    let stream_len = short(out.len() - stream);
    if let Some(refusal) = refusal {
        encode_refusal(refusal, out);
    }
    out.extend_from_slice(&frame.payload);

    let body = start + HEADER_BYTES;
    let length = u32::try_from(out.len() - body).expect("encoded_len bounds the body");
    out[start + 8..start + 12].copy_from_slice(&length.to_le_bytes());
    out[body + 2..body + 4].copy_from_slice(&stream_len.to_le_bytes());
    let crc = crc32c::crc32c(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

fn encode_refusal(refusal: &Refusal, out: &mut Vec<u8>) {
    out.extend_from_slice(&refusal.refused_at.0.to_le_bytes());
    out.extend_from_slice(&refusal.times.to_le_bytes());
    for text in [&refusal.sink, &refusal.reason] {
        out.extend_from_slice(&short(text.len()).to_le_bytes());
    }
    for text in [&refusal.sink, &refusal.reason] {
        out.extend_from_slice(text.as_bytes());
    }
}

fn short(len: usize) -> u16 {
    u16::try_from(len).expect("encoded_len bounds the names")
}

fn text_len(stream: &Stream) -> usize {
    struct Count(usize);
    impl fmt::Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    let mut count = Count(0);
    write!(count, "{stream}").expect("counting does not fail");
    count.0
}

/// The fixed part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    crc: u32,
    length: u32,
    kind: u8,
    pub(crate) offset: u64,
    pub(crate) received_at: Timestamp,
}

/// Whether bytes begin with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Valid(Header),
    /// There are too few bytes to say: it may be a record of this many bytes in all.
    Short(usize),
    Invalid,
}

impl Header {
    /// `None` if these are not the first bytes of a record, or fewer than a header's.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let header = Self {
            crc: u32::from_le_bytes(field(bytes, 4)),
            length: u32::from_le_bytes(field(bytes, 8)),
            kind: bytes[12],
            offset: u64::from_le_bytes(field(bytes, 16)),
            received_at: Timestamp(i64::from_le_bytes(field(bytes, 24))),
        };
        (bytes[..4] == MAGIC && header.length as usize <= MAX_BODY_BYTES).then_some(header)
    }

    /// Bytes of the whole record.
    pub(crate) fn total(&self) -> usize {
        HEADER_BYTES + self.length as usize
    }

    /// Whether it holds a frame: alone, or as a dead letter.
    pub(crate) fn is_frame(&self) -> bool {
        matches!(self.kind, FRAME | DEAD_LETTER)
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// Checks the record at the start of `bytes`.
pub(crate) fn check(bytes: &[u8]) -> Check {
    let Some(header) = Header::parse(bytes) else {
        return if bytes.len() < HEADER_BYTES {
            Check::Short(HEADER_BYTES)
        } else {
            Check::Invalid
        };
    };
    match bytes.get(8..header.total()) {
        None => Check::Short(header.total()),
        Some(covered) if crc32c::crc32c(covered) == header.crc => Check::Valid(header),
        Some(_) => Check::Invalid,
    }
}

/// Reads the frame of a valid record, and the refusal if it is a dead letter. `None` if the body does
/// not have the format that this version writes.
pub(crate) fn decode(
    header: &Header,
    record: &Bytes,
    subscriptions: &mut SubscriptionCache,
) -> Option<(Frame, Option<Box<Refusal>>)> {
    let body = record.get(HEADER_BYTES..)?;
    let (lengths, rest) = body.split_first_chunk::<LENGTHS_BYTES>()?;
    let account = usize::from(u16::from_le_bytes([lengths[0], lengths[1]]));
    let stream = usize::from(u16::from_le_bytes([lengths[2], lengths[3]]));
    rest.get(..account + stream)?;
    let subscription = subscriptions.get(&body[..LENGTHS_BYTES + account + stream])?;
    let mut payload = record.slice(HEADER_BYTES + LENGTHS_BYTES + account + stream..);
    let refusal = match header.kind {
        DEAD_LETTER => Some(Box::new(decode_refusal(&mut payload)?)),
        _ => None,
    };
    let frame = Frame {
        subscription,
        received_at: header.received_at,
        payload,
    };
    Some((frame, refusal))
}

/// Takes a refusal off the front.
fn decode_refusal(rest: &mut Bytes) -> Option<Refusal> {
    if rest.len() < REFUSAL_BYTES {
        return None;
    }
    let fixed = rest.split_to(REFUSAL_BYTES);
    let mut text = |at: usize| {
        let len = usize::from(u16::from_le_bytes(field(&fixed, at)));
        let bytes = (len <= rest.len()).then(|| rest.split_to(len))?;
        String::from_utf8(bytes.into()).ok()
    };
    let (sink, reason) = (text(12)?, text(14)?);
    Some(Refusal {
        sink,
        reason,
        refused_at: Timestamp(i64::from_le_bytes(field(&fixed, 0))),
        times: u32::from_le_bytes(field(&fixed, 8)),
    })
}

/// The subscriptions seen so far, so that reading a frame allocates no strings for its names.
#[derive(Debug, Default)]
pub(crate) struct SubscriptionCache(HashMap<Box<[u8]>, SubscriptionId>);

impl SubscriptionCache {
    /// `key`: a body up to the payload; the lengths in it must have been checked.
    fn get(&mut self, key: &[u8]) -> Option<SubscriptionId> {
        if let Some(known) = self.0.get(key) {
            return Some(known.clone());
        }
        let account = usize::from(u16::from_le_bytes([key[0], key[1]]));
        let (account, stream) = key[LENGTHS_BYTES..].split_at(account);
        let account = std::str::from_utf8(account).ok()?;
        let stream = Stream::parse(std::str::from_utf8(stream).ok()?)?;
        let subscription = SubscriptionId::new(account, stream);
        if self.0.len() >= MAX_SUBSCRIPTIONS {
            self.0.clear();
        }
        self.0.insert(key.into(), subscription.clone());
        Some(subscription)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &'static [u8]) -> Frame {
        let stream = Stream::parse("new/network-services/v1/wids").unwrap();
        Frame {
            subscription: SubscriptionId::new("globex", stream),
            received_at: Timestamp(-5),
            payload: Bytes::from_static(payload),
        }
    }

    fn refusal(reason: &str) -> Refusal {
        Refusal {
            sink: "lake".to_owned(),
            reason: reason.to_owned(),
            refused_at: Timestamp(9),
            times: 2,
        }
    }

    #[test]
    fn a_frame_reads_back_from_its_record() {
        for payload in [&b""[..], b"x", &[0xF7; 1000]] {
            for refusal in [None, Some(refusal("")), Some(refusal("too large: \u{FC}"))] {
                let frame = frame(payload);
                let mut out = vec![1, 2, 3];
                encode(&frame, refusal.as_ref(), 42, &mut out);
                let len = encoded_len(&frame, refusal.as_ref());
                assert_eq!(out.len() - 3, len.unwrap());
                let record = Bytes::from(out).slice(3..);
                let Check::Valid(header) = check(&record) else {
                    panic!("not a valid record");
                };
                assert_eq!((header.offset, header.total()), (42, record.len()));
                assert!(header.is_frame());
                let decoded = decode(&header, &record, &mut SubscriptionCache::default());
                assert_eq!(decoded, Some((frame, refusal.map(Box::new))));
            }
        }
    }

    #[test]
    fn a_reason_longer_than_its_length_field_allows_is_too_large() {
        let most = usize::from(u16::MAX);
        for (len, fits) in [(most, true), (most + 1, false)] {
            let refusal = refusal(&"x".repeat(len));
            assert_eq!(encoded_len(&frame(b""), Some(&refusal)).is_some(), fits);
        }
    }

    #[test]
    fn an_incomplete_dead_letter_is_not_decoded() {
        let mut whole = Vec::new();
        encode_refusal(&refusal("no"), &mut whole);
        assert_eq!(
            decode_refusal(&mut Bytes::from(whole.clone())),
            Some(refusal("no"))
        );
        for len in 0..whole.len() {
            let mut cut = Bytes::from(whole[..len].to_vec());
            assert_eq!(decode_refusal(&mut cut), None, "{len}");
        }
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let mut out = Vec::new();
        encode(&frame(b"payload"), Some(&refusal("no")), 7, &mut out);
        for bit in 0..out.len() * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(check(&out), Check::Valid(_)), "bit {bit}");
            out[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn an_incomplete_record_says_how_long_it_should_be() {
        let mut out = Vec::new();
        encode(&frame(b"payload"), None, 7, &mut out);
        for len in 0..out.len() {
            let expected = if len < HEADER_BYTES {
                HEADER_BYTES
            } else {
                out.len()
            };
            assert_eq!(check(&out[..len]), Check::Short(expected), "{len}");
        }
    }

    #[test]
    fn a_body_of_another_format_is_not_decoded() {
        let valid = frame(b"p");
        let mut out = Vec::new();
        encode(&valid, None, 0, &mut out);
        let header = Header::parse(&out).unwrap();
        for body in [
            &b""[..],
            b"\x01\0",
            b"\x09\0\x09\0short",
            b"\x01\0\x03\0\xFFold",
            b"\x01\0\x03\0aold",
        ] {
            let record = Bytes::from([&out[..HEADER_BYTES], body].concat());
            assert_eq!(
                decode(&header, &record, &mut SubscriptionCache::default()),
                None,
                "{body:?}"
            );
        }
    }
}
