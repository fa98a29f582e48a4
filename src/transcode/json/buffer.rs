//! The buffer that JSON is written into.
//!
//! It is longer than what has been written, so that most writes copy a block of fixed size;
//! [`JsonBuffer::finish`] cuts it to its length.

use std::io::Write as _;
use std::net::Ipv6Addr;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::short_field::{SLOT_BYTES, Slot};
use super::strings;
use crate::transcode::tables::{Field, InlineText, Snippet};

/// The longest IPv6 address as text, in quotes.
const IPV6_ROOM: usize = 45 + 2;

/// The least that a buffer grows by. New bytes are zeroed before they are written, so that this must be
/// little for short texts.
const MIN_GROWTH: usize = 256;

const HEX: &[u8; 16] = b"0123456789abcdef";

pub(crate) struct JsonBuffer {
    buffer: Vec<u8>,
    start: usize,
    at: usize,
}

impl JsonBuffer {
    /// Writes after what the buffer holds.
    pub(crate) fn after(buffer: Vec<u8>) -> Self {
        let at = buffer.len();
        let start = at;
        Self { buffer, start, at }
    }

    /// Returns the buffer with what has been written.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.buffer.truncate(self.at);
        self.buffer
    }

    /// Returns the buffer as it was.
    pub(crate) fn abandon(mut self) -> Vec<u8> {
        self.buffer.truncate(self.start);
        self.buffer
    }

    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Takes back everything after `position`.
    #[inline]
    pub(crate) fn back_to(&mut self, position: usize) {
        self.at = position;
    }

    /// Makes sure that there is room for this many bytes at the end.
    #[inline]
    pub(crate) fn room(&mut self, bytes: usize) {
        if self.buffer.len() - self.at < bytes {
            self.grow(bytes);
        }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        // In proportion only to what this value has written: the batch before it may be much larger.
        let written = self.at - self.start;
        let more = bytes.max(written).max(MIN_GROWTH);
        self.buffer.resize(self.at + more, 0);
    }

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) {
        self.room(1);
        self.buffer[self.at] = byte;
        self.at += 1;
    }

    #[inline]
    pub(crate) fn text(&mut self, text: &[u8]) {
        self.room(text.len());
        self.buffer[self.at..self.at + text.len()].copy_from_slice(text);
        self.at += text.len();
    }

    #[inline]
    pub(crate) fn snippet(&mut self, text: &Snippet) {
        if let Some(long) = &text.long {
            self.text(long);
        } else {
            self.inline_text(&text.inline);
        }
    }

    /// Writes the key of a field.
    #[inline]
    pub(crate) fn key(&mut self, field: &Field) {
        if let Some(long) = &field.long_key {
            self.text(long);
        } else {
            self.inline_text(&field.key);
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every message")]
    fn inline_text(&mut self, text: &InlineText) {
        let mut slot = self.slot();
        slot.inline_text(text);
        let length = slot.length();
        self.advance(length);
    }

    /// A slot at the end. What is put into it counts once [`Self::advance`] is called with its length.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every field")]
    pub(crate) fn slot(&mut self) -> Slot<'_> {
        self.room(SLOT_BYTES);
        let room = self.buffer[self.at..].first_chunk_mut();
        Slot::new(room.expect("there is room"))
    }

    #[inline]
    pub(crate) fn advance(&mut self, length: usize) {
        self.at += length;
    }

    /// Puts brackets around what was written since `start`, whose first comma becomes `open`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of every message")]
    pub(crate) fn enclose(&mut self, start: usize, open: u8, close: u8) {
        // Nothing was written, so that there is no comma to become the bracket.
        if self.at == start {
            self.byte(open);
        }
        self.buffer[start] = open;
        self.byte(close);
    }

    pub(crate) fn unsigned(&mut self, value: u64) {
        self.write_slot(|slot| slot.unsigned(value, false));
    }

    pub(crate) fn signed(&mut self, value: i64) {
        self.write_slot(|slot| slot.signed(value, false));
    }

    /// Writes what `write` puts into a slot.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a line's length is to stay in a register"
    )]
    pub(crate) fn write_slot(&mut self, write: impl FnOnce(&mut Slot) -> bool) {
        let mut slot = self.slot();
        write(&mut slot);
        let length = slot.length();
        self.advance(length);
    }

    /// Writes the text at `range` of `bytes` in quotes, and checks that it is UTF-8. What follows it in
    /// `bytes` may be copied too, and is then overwritten.
    ///
    /// # Errors
    /// The position in `bytes` of the first character that is not UTF-8.
    pub(crate) fn string(&mut self, bytes: &[u8], range: Range<usize>) -> Result<(), usize> {
        let mut read = range.start;
        self.byte(b'"');
        while read < range.end {
            self.room(strings::WINDOW_ROOM);
            let room = self.buffer[self.at..].first_chunk_mut();
            let room = room.expect("there is room");
            let done = strings::write_window(bytes, read..range.end, room)?;
            read += done.read;
            self.at += done.written;
        }
        self.byte(b'"');
        Ok(())
    }

    /// Writes a short string whose key and first quote are already in the slot at the end, because the
    /// string itself turned out to need escapes.
    ///
    /// # Errors
    /// See [`Self::string`].
    pub(crate) fn string_after_key(
        &mut self,
        key: &InlineText,
        bytes: &[u8],
        range: Range<usize>,
    ) -> Result<(), usize> {
        self.room(SLOT_BYTES + strings::WINDOW_ROOM);
        let start = self.at + usize::from(key.length) + 1;
        let room = self.buffer[start..].first_chunk_mut();
        let done = strings::write_window(bytes, range, room.expect("there is room"))?;
        self.at = start + done.written;
        self.byte(b'"');
        Ok(())
    }

    /// Writes `bytes` as base64, in quotes.
    pub(crate) fn base64(&mut self, bytes: &[u8]) {
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
    pub(crate) fn mac(&mut self, address: [u8; 6]) {
        let mut text = *b"\"00:00:00:00:00:00\"";
        for (to, byte) in text[1..].chunks_mut(3).zip(address) {
            to[0] = HEX[usize::from(byte >> 4)];
            to[1] = HEX[usize::from(byte & 15)];
        }
        self.text(&text);
    }

    /// Writes an IP address as `"10.1.10.103"`.
    pub(crate) fn ipv4(&mut self, address: [u8; 4]) {
        self.write_slot(|slot| slot.ipv4(address));
    }

    /// Writes an IP address as `"2001:db8::1"`.
    pub(crate) fn ipv6(&mut self, address: [u8; 16]) {
        let groups = Ipv6Addr::from(address).segments();
        // Only a run of zeros is abbreviated.
        if !groups.contains(&0) {
            self.write_slot(|slot| slot.ipv6(groups));
            return;
        }
        self.room(IPV6_ROOM);
        let mut to = &mut self.buffer[self.at..];
        let before = to.len();
        write!(to, "\"{}\"", Ipv6Addr::from(address)).expect("the room is what it takes");
        self.at += before - to.len();
    }
}
