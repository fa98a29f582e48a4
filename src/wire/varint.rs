//! Integers of up to ten bytes, of which each holds seven bits and says whether another one follows.

use super::{Problem, WireError};

/// The longest varint: 10 bytes of 7 bits hold 64 bits.
const VARINT_BYTES: usize = 10;

/// The bits of 8 bytes that say that a varint goes on.
pub(crate) const CONTINUED: u64 = 0x8080_8080_8080_8080;

/// The varint at `at`, and the place behind it. It is not given the reader: one that a call sees
/// would have to live in memory.
#[inline(never)]
pub(super) fn long_varint(
    bytes: &[u8],
    at: usize,
    end: usize,
) -> Result<(u64, usize), Box<WireError>> {
    let rest = &bytes[at..end];
    if let Some(&[low @ .., ninth, tenth]) = rest.first_chunk::<VARINT_BYTES>() {
        let word = u64::from_le_bytes(low);
        if word & CONTINUED == CONTINUED && (ninth & tenth) < 0x80 {
            let low = without_continued_bits(word) | u64::from(ninth & 0x7f) << 56;
            let high = u64::from(ninth >> 7 & tenth) << 63;
            let length = VARINT_BYTES - usize::from(ninth < 0x80);
            return Ok((low | high, at + length));
        }
    }
    let mut value = 0;
    for (index, &byte) in rest.iter().take(VARINT_BYTES).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok((value, at + index + 1));
        }
    }
    Err(if rest.len() < VARINT_BYTES {
        Problem::TruncatedVarint.at(at)
    } else {
        Problem::LongVarint.at(at)
    })
}

/// Joins the lower 7 bits of each byte.
#[inline]
pub(super) fn without_continued_bits(word: u64) -> u64 {
    let pairs = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let fours = (pairs & 0x0000_3fff_0000_3fff) | ((pairs & 0x3fff_0000_3fff_0000) >> 2);
    (fours & 0x0fff_ffff) | ((fours & 0x0fff_ffff_0000_0000) >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::WireReader;

    #[test]
    fn a_varint_may_be_longer_than_it_needs_to_be_and_loses_what_passes_64_bits() {
        for (bytes, value) in [
            (&[0x00][..], 0),
            (&[0x81, 0x80, 0x00], 1),
            (&[0xff; 9], 0),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
                u64::MAX,
            ),
        ] {
            let read = WireReader::new(bytes).varint();
            if bytes.len() == 9 {
                assert_eq!(read, Err(Problem::TruncatedVarint.at(0)));
            } else {
                assert_eq!(read, Ok(value));
            }
        }
        assert_eq!(
            WireReader::new(&[0x80; 11]).varint(),
            Err(Problem::LongVarint.at(0))
        );
    }
}
