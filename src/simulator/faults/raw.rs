//! Frames byte by byte, for what the WebSocket library would not send.

use bytes::{BufMut as _, Bytes, BytesMut};

const LAST_BINARY: u8 = 0x82;

/// The whole frame of an opcode that is reserved (RFC 6455, section 5.2), without a payload.
pub(crate) const RESERVED_OPCODE: [u8; 2] = [0x83, 0];

/// What comes before the payload of a binary frame of this length. A server masks nothing.
pub(crate) fn begin_frame(length: u64) -> BytesMut {
    let mut frame = BytesMut::with_capacity(10);
    frame.put_u8(LAST_BINARY);
    match length {
        0..126 => frame.put_u8(length.try_into().unwrap_or(0)),
        126..0x1_0000 => {
            frame.put_u8(126);
            frame.put_u16(length.try_into().unwrap_or(0));
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(length);
        }
    }
    frame
}

pub(crate) fn whole_frame(payload: &[u8]) -> Bytes {
    let mut frame = begin_frame(payload.len() as u64);
    frame.extend_from_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_encoded_in_as_few_bytes_as_possible() {
        assert_eq!(begin_frame(125)[..], [0x82, 125]);
        assert_eq!(begin_frame(126)[..], [0x82, 126, 0, 126]);
        assert_eq!(begin_frame(0xffff)[..], [0x82, 126, 0xff, 0xff]);
        assert_eq!(
            begin_frame(0x1_0000)[..],
            [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]
        );
        assert_eq!(whole_frame(b"ab")[..], [0x82, 2, b'a', b'b']);
    }
}
