//! Short fields: key and value are copied into a slot of fixed size, and count as written only when both
//! are in it. All copies have a fixed size, whatever the length of the text, so that the processor has
//! few branches to predict. A method that returns `false` could not write its value; what it left in the
//! slot is then ignored.

use super::strings::{WINDOW, special_bytes};
use crate::transcode::tables::{INLINE_BYTES, InlineText, Snippet};

/// Strings below this length are short: they are copied as one block, with whatever follows them.
pub(crate) const SHORT_STRING: usize = WINDOW;

/// Up to this many bytes are no longer in base64 than a short string.
const MAX_SHORT_BYTES: usize = SHORT_STRING / 4 * 3;

/// Bytes that become one 8-byte word of base64.
const BASE64_BYTES: usize = 6;

/// Room for a key, and for a short string in quotes or any number.
pub(crate) const SLOT_BYTES: usize = 4 * INLINE_BYTES;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Each byte in decimal with a point after it, and the length of that.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut byte = 0;
    while byte < octets.len() {
        let [a, b, c] = [byte / 100, byte / 10 % 10, byte % 10];
        let [a, b, c] = [HEX[a], HEX[b], HEX[c]];
        octets[byte] = match byte {
            0..10 => ([c, b'.', 0, 0], 2),
            10..100 => ([b, c, b'.', 0], 3),
            _ => ([a, b, c, b'.'], 4),
        };
        byte += 1;
    }
    octets
};

const ZEROS: u64 = 0x3030_3030_3030_3030;
const EIGHT_DIGITS: u64 = 100_000_000;

/// Room for a short field at the end of the buffer.
#[derive(Debug)]
pub(crate) struct Slot<'r> {
    room: &'r mut [u8; SLOT_BYTES],
    length: usize,
}

/// A value that may fit into a slot.
#[derive(Clone, Copy)]
pub(crate) enum ShortValue<'a> {
    /// A string's length, and a block of bytes that begins with the string.
    String(&'a [u8; SHORT_STRING], usize),
    /// The same for bytes, which are written as base64.
    Bytes(&'a [u8; SHORT_STRING], usize),
    /// An enum value: its name in quotes, and its number.
    Name(&'a Snippet, i32),
    /// A number, and whether it is in quotes.
    Unsigned(u64, bool),
    Signed(i64, bool),
    Bool(bool),
}

impl ShortValue<'_> {
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "which one it is, is known where it is asked"
    )]
    pub(crate) fn is_default(self) -> bool {
        match self {
            Self::String(_, length) | Self::Bytes(_, length) => length == 0,
            Self::Name(_, number) => number == 0,
            Self::Unsigned(value, _) => value == 0,
            Self::Signed(value, _) => value == 0,
            Self::Bool(value) => !value,
        }
    }
}

#[expect(clippy::inline_always, reason = "the length then stays in a register")]
impl<'r> Slot<'r> {
    #[inline(always)]
    pub(crate) fn new(room: &'r mut [u8; SLOT_BYTES]) -> Self {
        Self { room, length: 0 }
    }

    #[inline(always)]
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    #[inline(always)]
    pub(crate) fn value(&mut self, value: ShortValue) -> bool {
        match value {
            ShortValue::String(text, length) => self.string(text, length),
            ShortValue::Bytes(bytes, length) => self.base64(bytes, length),
            ShortValue::Name(name, _) => self.snippet(name),
            ShortValue::Unsigned(value, quoted) => self.unsigned(value, quoted),
            ShortValue::Signed(value, quoted) => self.signed(value, quoted),
            ShortValue::Bool(value) => self.bool(value),
        }
    }

    #[inline(always)]
    pub(crate) fn snippet(&mut self, text: &Snippet) -> bool {
        self.inline_text(&text.inline);
        text.long.is_none()
    }

    #[inline(always)]
    pub(crate) fn inline_text(&mut self, text: &InlineText) {
        self.put(&text.text);
        // Changes nothing, but tells the compiler that there is room for what follows.
        self.length += usize::from(text.length % 64);
    }

    #[inline(always)]
    pub(crate) fn bool(&mut self, value: bool) -> bool {
        self.put(if value { b"true\0" } else { b"false" });
        self.length += 5 - usize::from(value);
        true
    }

    /// Writes a number, within quotes if they are asked for.
    #[inline(always)]
    pub(crate) fn unsigned(&mut self, value: u64, quoted: bool) -> bool {
        self.quote(quoted);
        self.digits(value);
        self.quote(quoted);
        true
    }

    #[inline(always)]
    fn quote(&mut self, quoted: bool) {
        if quoted {
            self.put(b"\"");
            self.length += 1;
        }
    }

    /// Writes a number, within quotes if they are asked for.
    #[inline(always)]
    pub(crate) fn signed(&mut self, value: i64, quoted: bool) -> bool {
        self.quote(quoted);
        self.put(b"-");
        self.length += usize::from(value < 0);
        self.digits(value.unsigned_abs());
        self.quote(quoted);
        true
    }

    #[inline(always)]
    fn digits(&mut self, value: u64) {
        if value < EIGHT_DIGITS {
            self.first_digits(value);
        } else if value < EIGHT_DIGITS * EIGHT_DIGITS {
            self.first_digits(value / EIGHT_DIGITS);
            self.next_digits(value % EIGHT_DIGITS);
        } else {
            self.first_digits(value / (EIGHT_DIGITS * EIGHT_DIGITS));
            self.next_digits(value / EIGHT_DIGITS % EIGHT_DIGITS);
            self.next_digits(value % EIGHT_DIGITS);
        }
    }

    /// Writes a number of up to eight digits.
    #[inline(always)]
    fn first_digits(&mut self, value: u64) {
        let digits = eight_digits(value);
        let zeros = (digits.trailing_zeros() / 8).min(7);
        self.put(&((digits | ZEROS) >> (8 * zeros)).to_le_bytes());
        self.length += 8 - zeros as usize;
    }

    /// Writes eight digits.
    #[inline(always)]
    fn next_digits(&mut self, value: u64) {
        self.put(&(eight_digits(value) | ZEROS).to_le_bytes());
        self.length += 8;
    }

    /// Writes the first `length` bytes of `text` in quotes, if they are ASCII without anything to escape.
    #[inline(always)]
    pub(crate) fn string(&mut self, text: &[u8; SHORT_STRING], length: usize) -> bool {
        if length >= SHORT_STRING {
            return false;
        }
        self.put(b"\"");
        self.length += 1;
        self.put(text);
        self.length += length;
        self.put(b"\"");
        self.length += 1;
        special_bytes(text).trailing_zeros() as usize >= length
    }

    /// Writes an IPv4 address, in quotes.
    #[inline(always)]
    pub(crate) fn ipv4(&mut self, address: [u8; 4]) -> bool {
        self.put(b"\"");
        self.length += 1;
        for byte in address {
            let (text, length) = OCTETS[usize::from(byte)];
            self.put(&text);
            self.length += usize::from(length);
        }
        self.room[self.length - 1] = b'"';
        true
    }

    /// Writes the groups of an IPv6 address, in quotes.
    #[inline(always)]
    pub(crate) fn ipv6(&mut self, groups: [u16; 8]) -> bool {
        let mut before = b'"';
        for group in groups {
            self.put(&[before]);
            self.length += 1;
            let digits = [12, 8, 4, 0].map(|shift| HEX[usize::from(group >> shift & 15)]);
            let zeros = (group.leading_zeros() / 4).min(3);
            self.put(&(u32::from_le_bytes(digits) >> (8 * zeros)).to_le_bytes());
            self.length += 4 - zeros as usize;
            before = b':';
        }
        self.put(b"\"");
        self.length += 1;
        true
    }

    /// Writes the first `length` bytes of `bytes` as base64, in quotes.
    #[inline(always)]
    pub(crate) fn base64(&mut self, bytes: &[u8; SHORT_STRING], length: usize) -> bool {
        if length > MAX_SHORT_BYTES {
            return false;
        }
        self.put(b"\"");
        self.length += 1;
        let start = self.length;
        let mut done = 0;
        while done < length {
            let word = bytes[done..]
                .first_chunk()
                .map_or(0, |word| u64::from_be_bytes(*word));
            let only = word & !(u64::MAX >> (8 * (length - done).min(BASE64_BYTES)));
            let digits = std::array::from_fn(|digit| {
                let bits = only >> (58 - 6 * digit) & 63;
                BASE64[usize::try_from(bits).unwrap_or_default()]
            });
            self.put::<8>(&digits);
            self.length += 8;
            done += BASE64_BYTES;
        }
        // Digits of bytes beyond `length` are overwritten by the padding.
        self.length = start + (4 * length).div_ceil(3);
        self.put(b"==");
        self.length = start + 4 * length.div_ceil(3);
        self.put(b"\"");
        self.length += 1;
        true
    }

    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.room[self.length..self.length + N].copy_from_slice(bytes);
    }
}

/// The decimal digits of a number below 10^8, one in each byte, the first digit in the lowest. Each step
/// works on all parts of the word at once.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a dozen instructions")]
fn eight_digits(value: u64) -> u64 {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | ((fours - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((pairs - 10 * tens) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Slot) -> bool) -> String {
        let mut room = [b'?'; SLOT_BYTES];
        let mut slot = Slot::new(&mut room);
        assert!(write(&mut slot));
        let length = slot.length();
        String::from_utf8(room[..length].to_vec()).unwrap()
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_does() {
        let mut power = 1_u64;
        for _ in 0..20 {
            for value in [power - 1, power, power + 1, power.wrapping_mul(9)] {
                assert_eq!(
                    written(|slot| slot.unsigned(value, false)),
                    value.to_string()
                );
                let signed = value.cast_signed().wrapping_neg();
                assert_eq!(
                    written(|slot| slot.signed(signed, true)),
                    format!("\"{signed}\"")
                );
            }
            power = power.wrapping_mul(10);
        }
        assert_eq!(
            written(|slot| slot.unsigned(u64::MAX, false)),
            u64::MAX.to_string()
        );
        assert_eq!(
            written(|slot| slot.signed(i64::MIN, false)),
            i64::MIN.to_string()
        );
    }

    #[test]
    fn short_bytes_become_base64_whatever_follows_them() {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;

        let bytes = std::array::from_fn(|index| u8::try_from(255 - 7 * index).unwrap());
        for length in 0..=MAX_SHORT_BYTES {
            let text = written(|slot| slot.base64(&bytes, length));
            assert_eq!(text, format!("\"{}\"", STANDARD.encode(&bytes[..length])));
        }
    }

    #[test]
    fn a_short_string_is_written_whatever_follows_it() {
        for special in 0..=u8::MAX {
            for place in 0..SHORT_STRING - 1 {
                let mut text = [b'x'; SHORT_STRING];
                text[place] = special;
                let is_special = !(0x20..0x80).contains(&special) || b"\"\\".contains(&special);
                for length in [place, place + 1, SHORT_STRING - 1] {
                    let line = written(|slot| slot.string(&[b'x'; SHORT_STRING], length));
                    assert_eq!(line, format!("\"{}\"", "x".repeat(length)));
                    let mut room = [0; SLOT_BYTES];
                    let mut slot = Slot::new(&mut room);
                    assert_eq!(slot.string(&text, length), !is_special || length <= place);
                }
            }
        }
    }
}
