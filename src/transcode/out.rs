//! The text that is being written: numbers, strings and addresses at the end of a growing buffer.
//!
//! The buffer is kept longer than what has been written, so that most writes are a copy of fixed
//! size at a known place; [`Out::finish`] cuts it in the end.

use std::io::Write as _;
use std::net::Ipv6Addr;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::line::{LINE, Line};
use super::tables::{Field, Head, Snippet};
use super::text;

/// The longest IPv6 address as text, in quotes.
const IPV6_ROOM: usize = 45 + 2;

/// How much a buffer grows at least. It is filled with zeros before it is written to, so that a
/// short text should not make much of it.
const GROWTH: usize = 256;

const HEX: &[u8; 16] = b"0123456789abcdef";

pub(super) struct Out {
    buffer: Vec<u8>,
    start: usize,
    at: usize,
}

impl Out {
    /// Writes behind what the buffer holds.
    pub(super) fn after(buffer: Vec<u8>) -> Self {
        let at = buffer.len();
        let start = at;
        Self { buffer, start, at }
    }

    /// The buffer with what has been written.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.buffer.truncate(self.at);
        self.buffer
    }

    /// The buffer as it was.
    pub(super) fn abandon(mut self) -> Vec<u8> {
        self.buffer.truncate(self.start);
        self.buffer
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

    /// Makes sure that there is room for so much at the end.
    #[inline]
    pub(super) fn room(&mut self, bytes: usize) {
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
        } else {
            self.head(&text.head);
        }
    }

    /// Writes the key of a field.
    #[inline]
    pub(super) fn key(&mut self, field: &Field) {
        if let Some(long) = &field.long_key {
            self.text(long);
        } else {
            self.head(&field.key);
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every message")]
    fn head(&mut self, head: &Head) {
        let mut line = self.line();
        line.head(head);
        let length = line.length();
        self.advance(length);
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

    /// Writes the text at `range` of `bytes` in quotes, checking that it is UTF-8 on the way. What
    /// lies behind it in `bytes` may be copied with it, and is then overwritten.
    ///
    /// # Errors
    /// The place in `bytes` of the first character that is not UTF-8.
    pub(super) fn string(&mut self, bytes: &[u8], range: Range<usize>) -> Result<(), usize> {
        let mut read = range.start;
        self.byte(b'"');
        while read < range.end {
            self.room(text::ROOM);
            let room = self.buffer[self.at..].first_chunk_mut();
            let room = room.expect("there is room");
            let done = text::write_window(bytes, read..range.end, room)?;
            read += done.read;
            self.at += done.written;
        }
        self.byte(b'"');
        Ok(())
    }

    /// Writes a string of which a line left the key and the quote behind, because the rest of it
    /// could not be copied as it is. The string is a short one.
    ///
    /// # Errors
    /// See [`Self::string`].
    pub(super) fn string_behind(
        &mut self,
        key: &Head,
        bytes: &[u8],
        range: Range<usize>,
    ) -> Result<(), usize> {
        self.room(LINE + text::ROOM);
        let start = self.at + usize::from(key.length) + 1;
        let room = self.buffer[start..].first_chunk_mut();
        let done = text::write_window(bytes, range, room.expect("there is room"))?;
        self.at = start + done.written;
        self.byte(b'"');
        Ok(())
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
        self.number(|line| line.ipv4(address));
    }

    /// Writes an IP address as `"2001:db8::1"`.
    pub(super) fn ipv6(&mut self, address: [u8; 16]) {
        let groups = Ipv6Addr::from(address).segments();
        // What is left out is a run of zeros; without any the text is what it is.
        if !groups.contains(&0) {
            self.number(|line| line.ipv6(groups));
            return;
        }
        self.room(IPV6_ROOM);
        let mut to = &mut self.buffer[self.at..];
        let before = to.len();
        write!(to, "\"{}\"", Ipv6Addr::from(address)).expect("the room is what it takes");
        self.at += before - to.len();
    }
}
