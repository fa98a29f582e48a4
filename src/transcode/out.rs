//! The text that is being written: numbers, strings and addresses at the end of a growing buffer.
//!
//! The buffer is kept longer than what has been written, so that most writes are a copy of fixed
//! size at a known place; [`super::write_json`] cuts it in the end.

use std::io::Write as _;
use std::net::Ipv6Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::line::{LINE, Line, SHORT, is_plain};
use super::tables::{SNIPPET, Snippet};

/// The longest IPv6 address as text, in quotes.
const IPV6_ROOM: usize = 45 + 2;

/// How much a buffer grows at least. It is filled with zeros before it is written to, so that a
/// short text should not make much of it.
const GROWTH: usize = 256;

/// Room behind a string for its last word, an escape and the quote.
const STRING_ROOM: usize = 24;

const LANES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x80 * LANES;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// What JSON writes for each byte below 128 that it escapes, and in the last byte how long that is.
const ESCAPES: [[u8; 8]; 128] = {
    let mut escapes = [[0; 8]; 128];
    let mut byte = 0;
    while byte < 0x20 {
        let digits = [HEX[byte >> 4], HEX[byte & 15]];
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

pub(super) struct Out<'o> {
    buffer: &'o mut Vec<u8>,
    start: usize,
    at: usize,
}

impl<'o> Out<'o> {
    /// Writes behind what the buffer holds.
    pub(super) fn after(buffer: &'o mut Vec<u8>) -> Self {
        let at = buffer.len();
        let start = at;
        Self { buffer, start, at }
    }

    #[inline]
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Takes back everything behind `position`.
    #[inline]
    pub(super) fn back_to(&mut self, position: usize) {
        self.at = position;
    }

    #[inline]
    fn room(&mut self, bytes: usize) {
        if self.buffer.len() - self.at < bytes {
            self.grow(bytes);
        }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        // Doubled is only what this value has written: a batch before it would be zeroed again for
        // each of its strings.
        let written = self.at - self.start;
        let more = bytes.max(written).max(GROWTH);
        self.buffer.resize(self.at + more, 0);
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.room(1);
        self.buffer[self.at] = byte;
        self.at += 1;
    }

    #[inline]
    pub(super) fn text(&mut self, text: &[u8]) {
        self.room(text.len());
        self.buffer[self.at..self.at + text.len()].copy_from_slice(text);
        self.at += text.len();
    }

    #[inline]
    pub(super) fn snippet(&mut self, text: &Snippet) {
        if let Some(long) = &text.long {
            self.text(long);
            return;
        }
        self.room(SNIPPET);
        self.buffer[self.at..self.at + SNIPPET].copy_from_slice(&text.head);
        self.at += usize::from(text.length);
    }

    /// Writes a key, and expects a message behind it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every message")]
    pub(super) fn key(&mut self, key: &Snippet) {
        let mut line = self.line();
        if line.snippet(key) {
            let length = line.length();
            self.advance(length);
        } else {
            self.snippet(key);
        }
    }

    /// Room for a line, which is written only when [`Self::advance`] is told its length.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every field")]
    pub(super) fn line(&mut self) -> Line<'_> {
        self.room(LINE);
        let room = self.buffer[self.at..].first_chunk_mut();
        Line::new(room.expect("there is room"))
    }

    #[inline]
    pub(super) fn advance(&mut self, length: usize) {
        self.at += length;
    }

    /// Puts brackets around what was written since `start`: its first comma becomes `open`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every message")]
    pub(super) fn enclose(&mut self, start: usize, open: u8, close: u8) {
        // Nothing was written: what will be the bracket is not there yet.
        if self.at == start {
            self.byte(open);
        }
        self.buffer[start] = open;
        self.byte(close);
    }

    pub(super) fn unsigned(&mut self, value: u64) {
        self.number(|line| line.unsigned(value, false));
    }

    pub(super) fn signed(&mut self, value: i64) {
        self.number(|line| line.signed(value, false));
    }

    /// Writes what a line takes.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a line's length is to stay in a register"
    )]
    pub(super) fn number(&mut self, write: impl FnOnce(&mut Line) -> bool) {
        let mut line = self.line();
        write(&mut line);
        let length = line.length();
        self.advance(length);
    }

    pub(super) fn double(&mut self, value: f64) {
        if value.is_finite() {
            let mut buffer = ryu::Buffer::new();
            self.float_text(buffer.format_finite(value));
        } else {
            self.not_finite(value);
        }
    }

    pub(super) fn float(&mut self, value: f32) {
        if !value.is_finite() {
            self.not_finite(f64::from(value));
        } else if Decimal::may_differ_from_google(value) {
            self.double(Decimal::as_google_rounds(value));
        } else {
            let mut buffer = ryu::Buffer::new();
            self.float_text(buffer.format_finite(value));
        }
    }

    fn not_finite(&mut self, value: f64) {
        self.text(if value.is_nan() {
            b"\"NaN\""
        } else if value > 0.0 {
            b"\"Infinity\""
        } else {
            b"\"-Infinity\""
        });
    }

    /// Writes what ryu printed as Python lays it out: without an exponent from 0.0001 up to
    /// 16 digits before the point, else as `1e-05`, `1.5e+16`.
    fn float_text(&mut self, text: &str) {
        let text = text.as_bytes();
        let unsigned = text.strip_prefix(b"-").unwrap_or(text);
        if !unsigned.contains(&b'e') && (!unsigned.starts_with(b"0.0000") || unsigned == b"0.0") {
            self.text(text);
            return;
        }
        if unsigned.len() < text.len() {
            self.byte(b'-');
        }
        let number = Decimal::parse(unsigned);
        if (-3..=16).contains(&number.point) {
            self.large(&number);
        } else {
            self.scientific(&number);
        }
    }

    /// A number with more places before the point than it has digits.
    fn large(&mut self, number: &Decimal) {
        self.text(number.digits());
        for _ in number.length..number.point.unsigned_abs() as usize {
            self.byte(b'0');
        }
        self.text(b".0");
    }

    fn scientific(&mut self, number: &Decimal) {
        let (first, others) = number.digits().split_at(1);
        self.text(first);
        if !others.is_empty() {
            self.byte(b'.');
            self.text(others);
        }
        let exponent = number.point - 1;
        self.text(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.abs() < 10 {
            self.byte(b'0');
        }
        self.unsigned(u64::from(exponent.unsigned_abs()));
    }

    /// Writes `text` in quotes, checking that it is UTF-8 on the way.
    ///
    /// # Errors
    /// The place of the first byte that is not.
    pub(super) fn string(&mut self, text: &[u8]) -> Result<(), usize> {
        self.room(text.len() + STRING_ROOM);
        self.buffer[self.at] = b'"';
        self.at += 1;
        let mut done = self.copy_plain(text);
        // Bytes that stop the copying: all above ASCII, until they are known to be UTF-8.
        let mut high = HIGH_BITS;
        loop {
            done += self.copy(&text[done..], high);
            match text.get(done) {
                None => break,
                Some(&byte) if byte < 0x80 => {
                    self.escape(byte);
                    done += 1;
                    self.room(text.len() - done + STRING_ROOM);
                }
                Some(_) => {
                    std::str::from_utf8(&text[done..])
                        .map_err(|error| done + error.valid_up_to())?;
                    high = 0;
                }
            }
        }
        self.buffer[self.at] = b'"';
        self.at += 1;
        Ok(())
    }

    /// Copies the whole chunks of `text` up to the first one that is not plain; says how many bytes
    /// those are. There is room for them.
    fn copy_plain(&mut self, text: &[u8]) -> usize {
        let mut done = 0;
        let to = &mut self.buffer[self.at..];
        for chunk in text.as_chunks::<SHORT>().0 {
            if !is_plain(chunk, &[0xff; SHORT]) {
                break;
            }
            to[done..done + SHORT].copy_from_slice(chunk);
            done += SHORT;
        }
        self.at += done;
        done
    }

    /// Copies `text` up to the first byte that must be escaped, or has one of the `high` bits; says
    /// how many bytes those are. There is room for them.
    #[inline]
    fn copy(&mut self, text: &[u8], high: u64) -> usize {
        let to = &mut self.buffer[self.at..][..text.len() + 8];
        let mut done = 0;
        while done < text.len() {
            let (word, length) = word(&text[done..]);
            to[done..done + 8].copy_from_slice(&word.to_le_bytes());
            let stops = (special(word) | (word & high)) & lowest(length);
            if stops != 0 {
                done += stops.trailing_zeros() as usize / 8;
                break;
            }
            done += length;
        }
        self.at += done;
        done
    }

    #[inline]
    fn escape(&mut self, byte: u8) {
        let escape = &ESCAPES[usize::from(byte & 0x7f)];
        self.buffer[self.at..self.at + 8].copy_from_slice(escape);
        self.at += usize::from(escape[7]);
    }

    /// Writes `bytes` as base64, in quotes.
    pub(super) fn base64(&mut self, bytes: &[u8]) {
        let length = bytes.len().div_ceil(3) * 4;
        self.room(length + 2);
        self.buffer[self.at] = b'"';
        let text = &mut self.buffer[self.at + 1..][..length];
        STANDARD
            .encode_slice(bytes, text)
            .expect("the room is what base64 takes");
        self.buffer[self.at + 1 + length] = b'"';
        self.at += length + 2;
    }

    /// Writes a MAC address as `"aa:bb:cc:dd:ee:ff"`.
    pub(super) fn mac(&mut self, address: [u8; 6]) {
        let mut text = *b"\"00:00:00:00:00:00\"";
        for (to, byte) in text[1..].chunks_mut(3).zip(address) {
            to[0] = HEX[usize::from(byte >> 4)];
            to[1] = HEX[usize::from(byte & 15)];
        }
        self.text(&text);
    }

    /// Writes an IP address as `"10.1.10.103"`.
    pub(super) fn ipv4(&mut self, address: [u8; 4]) {
        for (byte, before) in address.iter().zip(b"\"...") {
            self.byte(*before);
            self.unsigned(u64::from(*byte));
        }
        self.byte(b'"');
    }

    /// Writes an IP address as `"2001:db8::1"`.
    pub(super) fn ipv6(&mut self, address: [u8; 16]) {
        self.room(IPV6_ROOM);
        let mut to = &mut self.buffer[self.at..];
        let before = to.len();
        write!(to, "\"{}\"", Ipv6Addr::from(address)).expect("the room is what it takes");
        self.at += before - to.len();
    }
}

/// Up to 8 bytes of `text`, which is not empty, as the low bytes of a word, and how many they are.
#[inline]
fn word(text: &[u8]) -> (u64, usize) {
    if let Some(chunk) = text.first_chunk() {
        return (u64::from_le_bytes(*chunk), 8);
    }
    let length = text.len();
    let word = if let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk()) {
        let (head, tail) = (u32::from_le_bytes(*head), u32::from_le_bytes(*tail));
        u64::from(head) | u64::from(tail) << (8 * (length - 4))
    } else {
        let byte = |index: usize| u64::from(text[index]) << (8 * index);
        byte(0) | byte(length / 2) | byte(length - 1)
    };
    (word, length)
}

/// A mask of the lowest `length` bytes of a word.
#[inline]
fn lowest(length: usize) -> u64 {
    u64::MAX >> (64 - 8 * length)
}

/// Marks bytes that JSON escapes: the lowest mark is right, those above it may not be.
#[inline]
fn special(word: u64) -> u64 {
    let quote = word ^ (LANES * u64::from(b'"'));
    let backslash = word ^ (LANES * u64::from(b'\\'));
    let control = word.wrapping_sub(LANES * 0x20) & !word;
    let quote = quote.wrapping_sub(LANES) & !quote;
    let backslash = backslash.wrapping_sub(LANES) & !backslash;
    (control | quote | backslash) & HIGH_BITS
}

/// A positive decimal number: `0.DIGITS` times ten to the power of `point`.
struct Decimal {
    digits: [u8; 17],
    length: usize,
    point: i32,
}

impl Decimal {
    /// Reads what ryu prints.
    fn parse(text: &[u8]) -> Self {
        let mut number = Self {
            digits: [b'0'; 17],
            length: 0,
            point: 0,
        };
        let mut parts = text.splitn(2, |byte| *byte == b'e');
        let mantissa = parts.next().unwrap_or_default();
        let exponent = parts
            .next()
            .and_then(|exponent| std::str::from_utf8(exponent).ok()?.parse().ok())
            .unwrap_or(0);
        let mut after_point = false;
        for &byte in mantissa {
            match byte {
                b'.' => after_point = true,
                b'0' if number.length == 0 => number.point -= i32::from(after_point),
                digit => {
                    number.digits[number.length] = digit;
                    number.length += 1;
                    number.point += i32::from(!after_point);
                }
            }
        }
        number.point += exponent;
        number
    }

    fn digits(&self) -> &[u8] {
        &self.digits[..self.length]
    }

    /// Google's runtime looks for the fewest digits, 6 at least, to which the number can be rounded
    /// and still be read back. That is the shortest text, except perhaps below the smallest normal
    /// number, and at powers of two, whose neighbours are nearer on one side.
    #[expect(clippy::verbose_bit_mask, reason = "the mask is the mantissa")]
    fn may_differ_from_google(value: f32) -> bool {
        let short = value == 0.0 || (0.015_625..=524_288.0).contains(&value.abs());
        !short && (value.to_bits() & 0x007f_ffff == 0 || !value.is_normal())
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::float_cmp,
        reason = "whether it reads back the same is the question"
    )]
    fn as_google_rounds(value: f32) -> f64 {
        (5..=8)
            .map(|places| format!("{value:.places$e}").parse().unwrap_or(0.0))
            .find(|rounded: &f64| *rounded as f32 == value)
            .unwrap_or(f64::from(value))
    }
}
