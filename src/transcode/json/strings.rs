//! Strings, in blocks of a fixed size: what JSON must escape, and what is not UTF-8.

use std::ops::Range;

/// Bytes that are checked and copied at once.
pub(crate) const WINDOW: usize = 32;

/// Room for an escape, such as `\u001f`, with its length in the last byte.
const ESCAPE: usize = 8;

/// Room for a window of which every byte is escaped.
pub(crate) const WINDOW_ROOM: usize = WINDOW * ESCAPE;

/// The longest character in UTF-8.
const MAX_CHARACTER: usize = 4;

/// What JSON writes for each byte below 128 that it escapes.
const ESCAPES: [[u8; ESCAPE]; 128] = {
    let hex = b"0123456789abcdef";
    let mut escapes = [[0; ESCAPE]; 128];
    let mut byte = 0;
    while byte < 0x20 {
        let digits = [hex[byte >> 4], hex[byte & 15]];
        escapes[byte] = [b'\\', b'u', b'0', b'0', digits[0], digits[1], 0, 6];
        byte += 1;
    }
    let short = *b"\"\"\\\\\x08b\tt\nn\x0cf\rr";
    let mut index = 0;
    while index < short.len() {
        escapes[short[index] as usize] = [b'\\', short[index + 1], 0, 0, 0, 0, 0, 2];
        index += 2;
    }
    escapes
};

/// Bytes of one window that were read and written.
pub(crate) struct WindowProgress {
    pub(crate) read: usize,
    pub(crate) written: usize,
}

/// Writes the first window of the text at `range` of `bytes`: at least one character, and only whole
/// ones.
///
/// # Errors
/// The position of the first character that is not UTF-8.
#[inline]
pub(crate) fn write_window(
    bytes: &[u8],
    range: Range<usize>,
    to: &mut [u8; WINDOW_ROOM],
) -> Result<WindowProgress, usize> {
    let read = range.len().min(WINDOW);
    let window = window(bytes, range.start);
    to[..WINDOW].copy_from_slice(&window);
    let mut marks = special_bytes(&window) & (u32::MAX >> (WINDOW - read));
    // How much longer the text has become by escapes.
    let mut longer = 0;
    while marks != 0 {
        let place = marks.trailing_zeros() as usize;
        let at = range.start + place;
        if bytes[at] < 0x80 {
            let escape = &ESCAPES[usize::from(bytes[at])];
            to[place + longer..][..ESCAPE].copy_from_slice(escape);
            longer += usize::from(escape[ESCAPE - 1]) - 1;
            marks &= marks - 1;
            if at + 1 < range.end {
                let others = self::window(bytes, at + 1);
                to[place + 1 + longer..][..WINDOW].copy_from_slice(&others);
            }
        } else if read == WINDOW && place > WINDOW - MAX_CHARACTER {
            // The character may reach beyond this window.
            return Ok(WindowProgress {
                read: place,
                written: place + longer,
            });
        } else {
            let length = character_len(&bytes[at..range.end]).ok_or(at)?;
            marks &= u32::MAX << place << length;
        }
    }
    Ok(WindowProgress {
        read,
        written: read + longer,
    })
}

/// The bytes from `at` on, with zeros after the last one.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is one load, but at the very end")]
fn window(bytes: &[u8], at: usize) -> [u8; WINDOW] {
    match bytes[at..].first_chunk() {
        Some(window) => *window,
        None => last_window(&bytes[at..]),
    }
}

#[inline(never)]
fn last_window(bytes: &[u8]) -> [u8; WINDOW] {
    let mut window = [0; WINDOW];
    window[..bytes.len()].copy_from_slice(bytes);
    window
}

/// A bit for each byte that cannot simply be copied: quotes, backslashes, control characters, and all
/// that is not ASCII.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[expect(
    unsafe_code,
    reason = "the compiler asks for it at every vector instruction"
)]
pub(crate) fn special_bytes(window: &[u8; WINDOW]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8,
    };

    // Of a half, given as two words.
    let marks = |low, high| {
        // SAFETY: every processor of this architecture has SSE2, and no memory is touched.
        unsafe {
            let bytes = _mm_set_epi64x(high, low);
            // Seen as signed, all that is not ASCII is below the space, as control characters are.
            let below = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"'.cast_signed()));
            let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\'.cast_signed()));
            let all = _mm_or_si128(below, _mm_or_si128(quote, backslash));
            _mm_movemask_epi8(all).cast_unsigned()
        }
    };
    let [a, b, c, d] = std::array::from_fn(|word| {
        i64::from_le_bytes(std::array::from_fn(|byte| window[8 * word + byte]))
    });
    marks(a, b) | marks(c, d) << (WINDOW / 2)
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use self::portable::special_bytes;

/// Without vector instructions, a word at a time.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use super::WINDOW;

    const LANES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x80 * LANES;

    pub(crate) fn special_bytes(window: &[u8; WINDOW]) -> u32 {
        let words = window.as_chunks::<8>().0.iter();
        let marks = words.map(|word| marks(u64::from_le_bytes(*word)));
        marks.rev().fold(0, |all, marks| all << 8 | marks)
    }

    fn marks(word: u64) -> u32 {
        let low = word & !HIGH_BITS;
        // The highest bit is set where a byte below 128 is not zero, or not less than the space.
        let quote = (low ^ (LANES * u64::from(b'"'))) + LANES * 0x7f;
        let backslash = (low ^ (LANES * u64::from(b'\\'))) + LANES * 0x7f;
        let space = low + LANES * 0x60;
        let plain = quote & backslash & space & !word & HIGH_BITS;
        // Brings the bits of all bytes together in the highest byte.
        let bits = ((plain ^ HIGH_BITS) >> 7).wrapping_mul(0x0102_0408_1020_4080);
        u32::from(bits.to_be_bytes()[0])
    }
}

/// The length in bytes of the first character of `text`, which is not ASCII; `None` if it is not UTF-8.
/// The ranges are those of Unicode's table 3-7.
fn character_len(text: &[u8]) -> Option<usize> {
    match text {
        [0xc2..=0xdf, 0x80..=0xbf, ..] => Some(2),
        [0xe0, 0xa0..=0xbf, 0x80..=0xbf, ..]
        | [0xe1..=0xec | 0xee..=0xef, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xed, 0x80..=0x9f, 0x80..=0xbf, ..] => Some(3),
        [0xf0, 0x90..=0xbf, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xf1..=0xf3, 0x80..=0xbf, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xf4, 0x80..=0x8f, 0x80..=0xbf, 0x80..=0xbf, ..] => Some(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_bytes_are_found_at_every_position_by_both_implementations() {
        for byte in 0..=u8::MAX {
            for place in 0..WINDOW {
                for others in [b'x', b' ', b'!', b'#', b'[', b']', 0x7f, b'"', 0x00, 0xff] {
                    let mut window = [others; WINDOW];
                    window[place] = byte;
                    let stop = |byte| !(0x20..0x80).contains(&byte) || b"\"\\".contains(&byte);
                    let expected = (0..WINDOW).fold(0, |marks, place| {
                        marks | u32::from(stop(window[place])) << place
                    });
                    assert_eq!(special_bytes(&window), expected);
                    assert_eq!(portable::special_bytes(&window), expected);
                }
            }
        }
    }

    #[test]
    fn a_character_is_utf_8_where_the_standard_library_says_so() {
        // Whether a byte goes on a character; which of these it is does not matter behind the second.
        let bytes = [0x7f, 0x80, 0xbf, 0xc0];
        for first in 0x80..=u8::MAX {
            for second in 0..=u8::MAX {
                for third in bytes {
                    for fourth in bytes {
                        let text = [first, second, third, fourth];
                        for end in 1..=4 {
                            let text = &text[..end];
                            let valid =
                                (2..=end).find(|end| std::str::from_utf8(&text[..*end]).is_ok());
                            assert_eq!(character_len(text), valid, "{text:02x?}");
                        }
                    }
                }
            }
        }
    }
}
