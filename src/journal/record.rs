//! A record's bytes: see the table in [the module above](super).

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::Write as _;

use bytes::Bytes;

use crate::frame::{Frame, Stream, SubscriptionId, Timestamp};

/// The largest payload that a record may have.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// Begins every record. The first byte cannot occur in UTF-8, so text never looks like a record.
pub(super) const MAGIC: [u8; 4] = [0xF7, b'C', b'F', b'1'];
pub(super) const HEADER_BYTES: usize = 32;

const FRAME: u8 = 1;
/// The lengths of account and stream.
const LENGTHS_BYTES: usize = 4;
const MAX_BODY_BYTES: usize = LENGTHS_BYTES + 2 * u16::MAX as usize + MAX_PAYLOAD_BYTES;
/// Names are forgotten beyond this many, so that a journal with absurdly many costs time, not memory.
const MAX_NAMES: usize = 4096;

/// Bytes that `frame` takes as a record; `None` if it is too large for one.
pub(super) fn encoded_len(frame: &Frame) -> Option<usize> {
    let account = frame.subscription.account().len();
    let stream = text_len(frame.subscription.stream());
    let fits = u16::try_from(account).is_ok()
        && u16::try_from(stream).is_ok()
        && frame.payload.len() <= MAX_PAYLOAD_BYTES;
    fits.then_some(HEADER_BYTES + LENGTHS_BYTES + account + stream + frame.payload.len())
}

/// Appends `frame` as record number `offset`. Its [`encoded_len`] must be `Some`.
pub(super) fn encode(frame: &Frame, offset: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let account = frame.subscription.account();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[FRAME, 0, 0, 0]);
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&frame.received_at.0.to_le_bytes());
    out.extend_from_slice(&short(account.len()).to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(account.as_bytes());
    let stream = out.len();
    write!(out, "{}", frame.subscription.stream()).expect("a vector takes all writes");
    let stream_len = short(out.len() - stream);
    out.extend_from_slice(&frame.payload);

    let body = start + HEADER_BYTES;
    let length = u32::try_from(out.len() - body).expect("encoded_len bounds the body");
    out[start + 8..start + 12].copy_from_slice(&length.to_le_bytes());
    out[body + 2..body + 4].copy_from_slice(&stream_len.to_le_bytes());
    let crc = crc32c::crc32c(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
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
pub(super) struct Header {
    crc: u32,
    length: u32,
    kind: u8,
    pub(super) offset: u64,
    pub(super) received_at: Timestamp,
}

/// What bytes that should begin with a record turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Good(Header),
    /// It may be a record, of so many bytes in all; fewer are there.
    Short(usize),
    Bad,
}

impl Header {
    /// `None` if these are not the first bytes of a record, or fewer than a header's.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
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
    pub(super) fn total(&self) -> usize {
        HEADER_BYTES + self.length as usize
    }

    pub(super) fn is_frame(&self) -> bool {
        self.kind == FRAME
    }
}

fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// Checks the record at the start of `bytes`.
pub(super) fn check(bytes: &[u8]) -> Check {
    let Some(header) = Header::parse(bytes) else {
        return if bytes.len() < HEADER_BYTES {
            Check::Short(HEADER_BYTES)
        } else {
            Check::Bad
        };
    };
    match bytes.get(8..header.total()) {
        None => Check::Short(header.total()),
        Some(covered) if crc32c::crc32c(covered) == header.crc => Check::Good(header),
        Some(_) => Check::Bad,
    }
}

/// Reads the frame of a checked record; `None` if its body is not one that this version writes.
pub(super) fn decode(header: &Header, record: &Bytes, names: &mut Names) -> Option<Frame> {
    let body = record.get(HEADER_BYTES..)?;
    let (lengths, rest) = body.split_first_chunk::<LENGTHS_BYTES>()?;
    let account = usize::from(u16::from_le_bytes([lengths[0], lengths[1]]));
    let stream = usize::from(u16::from_le_bytes([lengths[2], lengths[3]]));
    rest.get(..account + stream)?;
    let subscription = names.get(&body[..LENGTHS_BYTES + account + stream])?;
    Some(Frame {
        subscription,
        received_at: header.received_at,
        payload: record.slice(HEADER_BYTES + LENGTHS_BYTES + account + stream..),
    })
}

/// The subscriptions seen so far, so that a frame costs no strings.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Box<[u8]>, SubscriptionId>);

impl Names {
    /// `key`: a body up to the payload, with lengths that have been checked.
    fn get(&mut self, key: &[u8]) -> Option<SubscriptionId> {
        if let Some(known) = self.0.get(key) {
            return Some(known.clone());
        }
        let account = usize::from(u16::from_le_bytes([key[0], key[1]]));
        let (account, stream) = key[LENGTHS_BYTES..].split_at(account);
        let account = std::str::from_utf8(account).ok()?;
        let stream = Stream::parse(std::str::from_utf8(stream).ok()?)?;
        let subscription = SubscriptionId::new(account, stream);
        if self.0.len() >= MAX_NAMES {
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

    #[test]
    fn a_frame_reads_back_from_its_record() {
        for payload in [&b""[..], b"x", &[0xF7; 1000]] {
            let frame = frame(payload);
            let mut out = vec![1, 2, 3];
            encode(&frame, 42, &mut out);
            assert_eq!(out.len() - 3, encoded_len(&frame).unwrap());
            let record = Bytes::from(out).slice(3..);
            let Check::Good(header) = check(&record) else {
                panic!("not a good record");
            };
            assert_eq!((header.offset, header.total()), (42, record.len()));
            assert!(header.is_frame());
            assert_eq!(decode(&header, &record, &mut Names::default()), Some(frame));
        }
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        let mut out = Vec::new();
        encode(&frame(b"payload"), 7, &mut out);
        for bit in 0..out.len() * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(check(&out), Check::Good(_)), "bit {bit}");
            out[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_cut_record_says_how_long_it_should_be() {
        let mut out = Vec::new();
        encode(&frame(b"payload"), 7, &mut out);
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
    fn a_body_of_another_make_is_not_a_frame() {
        let good = frame(b"p");
        let mut out = Vec::new();
        encode(&good, 0, &mut out);
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
                decode(&header, &record, &mut Names::default()),
                None,
                "{body:?}"
            );
        }
    }
}
