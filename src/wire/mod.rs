//! Reads the protobuf wire format.
//!
//! Positions are those in the outermost buffer, so that an error has its position without any arithmetic.

mod problem;
mod tag;
mod trace;
mod varint;

use std::ops::Range;

pub use self::problem::{Problem, WireError};
pub(crate) use self::tag::{ShortTag, Tag, Wire};
pub(crate) use self::trace::path_to;
pub(crate) use self::varint::CONTINUED;
use self::varint::{long_varint, without_continued_bits};

/// How deep messages and groups may be nested, not counting the outermost one: the limit of Google's
/// runtimes.
pub const DEPTH_LIMIT: u32 = 100;

/// The largest field number, 2^29 - 1.
const LAST_FIELD: u64 = (1 << 29) - 1;

/// A position in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireReader<'a> {
    /// The outermost buffer. Bytes after the message's end never count as part of it. They only allow the
    /// last bytes to be loaded in blocks, without a loop of their own.
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
    /// Where the message ends.
    end: usize,
}

impl<'a> WireReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self::starting_at(0, bytes)
    }

    pub(crate) fn starting_at(at: usize, bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at,
            end: bytes.len(),
        }
    }

    /// The part of the same buffer that `range` names.
    pub(crate) fn part(&self, range: Range<usize>) -> Self {
        Self {
            bytes: self.bytes,
            at: range.start,
            end: range.end,
        }
    }

    /// Where the message ends.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..self.end]
    }

    /// Lets a copy read, and goes on where it stopped: so only the copy has to be in memory.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is what keeps the reader in registers"
    )]
    pub(crate) fn lend<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let mut copy = *self;
        let result = read(&mut copy);
        self.at = copy.at;
        result
    }

    /// The next `N` bytes of the buffer, whether or not they are all of the message.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is one load")]
    fn load<const N: usize>(&self) -> Option<&'a [u8; N]> {
        let end = self.at.wrapping_add(N);
        self.bytes.get(self.at..end)?.first_chunk()
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "most varints are one byte, read in fewer steps than a call takes"
    )]
    pub(crate) fn varint(&mut self) -> Result<u64, Box<WireError>> {
        if self.at < self.end
            && let Some(&byte) = self.bytes.get(self.at)
            && byte < 0x80
        {
            self.at += 1;
            return Ok(u64::from(byte));
        }
        self.number()
    }

    /// As [`Self::varint`], for values of up to 8 bytes alike: without a branch that depends on it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the reader then stays in registers")]
    pub(crate) fn number(&mut self) -> Result<u64, Box<WireError>> {
        if let Some(&chunk) = self.load() {
            let word = u64::from_le_bytes(chunk);
            let ends = !word & CONTINUED;
            let at = self.at + (ends.trailing_zeros() as usize + 1) / 8;
            if ends != 0 && at <= self.end {
                self.at = at;
                return Ok(without_continued_bits(word & (ends ^ (ends - 1))));
            }
        }
        let (value, at) = long_varint(self.bytes, self.at, self.end)?;
        self.at = at;
        Ok(value)
    }

    /// The next 8 bytes, the first one lowest, if there are so many in the buffer.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is one load")]
    pub(crate) fn word(&self) -> Option<u64> {
        self.load().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// As [`Self::number`]; `ahead` holds the next 6 bytes, or [`CONTINUED`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the reader then stays in registers")]
    pub(crate) fn number_ahead(&mut self, ahead: u64) -> Result<u64, Box<WireError>> {
        let ends = !ahead & (CONTINUED >> 16);
        let at = self.at + (ends.trailing_zeros() as usize + 1) / 8;
        if ends != 0 && at <= self.end {
            self.at = at;
            return Ok(without_continued_bits(ahead & (ends ^ (ends - 1))));
        }
        self.number()
    }

    /// As [`Self::number_ahead`], for values of one byte as a rule.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the reader then stays in registers")]
    pub(crate) fn byte_ahead(&mut self, ahead: u64) -> Result<u64, Box<WireError>> {
        if ahead & 0x80 == 0 && self.at < self.end {
            self.at += 1;
            return Ok(ahead & 0x7f);
        }
        self.number()
    }

    /// As [`Self::uint32`]; `ahead` holds the next 6 bytes, or [`CONTINUED`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the reader then stays in registers")]
    #[expect(clippy::cast_possible_truncation, reason = "asked for by protobuf")]
    pub(crate) fn uint32_ahead(&mut self, ahead: u64) -> Result<u32, Box<WireError>> {
        Ok(self.number_ahead(ahead)? as u32)
    }

    /// As [`Self::delimited`]; `ahead` holds the next byte, or [`CONTINUED`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the reader then stays in registers")]
    pub(crate) fn delimited_ahead(&mut self, ahead: u64) -> Result<Range<usize>, Box<WireError>> {
        let length = (ahead & 0xff) as usize;
        let start = self.at + 1;
        if length < 0x80 && start + length <= self.end {
            self.at = start + length;
            return Ok(start..self.at);
        }
        self.delimited()
    }

    /// A 32-bit integer: of a wider varint, what fits counts, as the specification has it.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "asked for by protobuf")]
    pub(crate) fn uint32(&mut self) -> Result<u32, Box<WireError>> {
        Ok(self.number()? as u32)
    }

    #[inline]
    pub(crate) fn int32(&mut self) -> Result<i32, Box<WireError>> {
        Ok(self.uint32()?.cast_signed())
    }

    #[inline]
    pub(crate) fn uint64(&mut self) -> Result<u64, Box<WireError>> {
        self.number()
    }

    #[inline]
    pub(crate) fn int64(&mut self) -> Result<i64, Box<WireError>> {
        Ok(self.number()?.cast_signed())
    }

    pub(crate) fn sint32(&mut self) -> Result<i32, Box<WireError>> {
        let raw = self.uint32()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    pub(crate) fn sint64(&mut self) -> Result<i64, Box<WireError>> {
        let raw = self.number()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Box<WireError>> {
        Ok(self.varint()? != 0)
    }

    pub(crate) fn sfixed32(&mut self) -> Result<i32, Box<WireError>> {
        Ok(self.fixed32()?.cast_signed())
    }

    pub(crate) fn sfixed64(&mut self) -> Result<i64, Box<WireError>> {
        Ok(self.fixed64()?.cast_signed())
    }

    /// The next field's tag as a number and what lies behind it in a word, if the tag is no longer
    /// than two bytes; else the reader stays where it is. Whether there is such a field is not
    /// checked.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the reader then stays in registers")]
    #[expect(clippy::cast_possible_truncation, reason = "a bit, and two bytes")]
    pub(crate) fn short_tag(&mut self) -> Option<(u32, u64)> {
        let word = self.word()?;
        let more = word >> 7 & 1;
        let at = self.at + 1 + more as usize;
        if at > self.end || word & 0x8080 == 0x8080 {
            return None;
        }
        self.at = at;
        let tag = (word & 0x7f) | (word >> 1 & 0x3f80 & more.wrapping_neg());
        Some((tag as u32, word >> 8 >> (8 * more)))
    }

    /// Reads over `tag` if it is next, and shows at least 6 bytes of what lies behind it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the reader then stays in registers")]
    #[expect(clippy::cast_possible_truncation, reason = "two bytes")]
    pub(crate) fn follows(&mut self, tag: ShortTag) -> Option<u64> {
        let word = self.word()?;
        let at = self.at + usize::from(tag.length);
        if word as u16 & tag.mask != tag.bytes || at > self.end {
            return None;
        }
        self.at = at;
        Some(word >> (8 * tag.length))
    }

    /// The next field's tag; `None` at the end of the message.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both are checked to fit")]
    pub(crate) fn tag(&mut self) -> Result<Option<Tag>, Box<WireError>> {
        if self.is_at_end() {
            return Ok(None);
        }
        let start = self.at;
        let raw = self.varint()?;
        let wire = match raw & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Len,
            3 => Wire::Group,
            4 => Wire::EndGroup,
            5 => Wire::Fixed32,
            other => return Err(Problem::WireType(other as u8).at(start)),
        };
        match raw >> 3 {
            0 => Err(Problem::FieldZero.at(start)),
            number if number > LAST_FIELD => Err(Problem::FieldOutOfRange.at(start)),
            number => Ok(Some(Tag {
                number: number as u32,
                wire,
            })),
        }
    }

    /// The place of a length-delimited value.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "no longer than the buffer")]
    pub(crate) fn delimited(&mut self) -> Result<Range<usize>, Box<WireError>> {
        let start = self.at;
        let length = self.varint()?;
        let left = self.end - self.at;
        if length > left as u64 {
            return Err(Problem::LengthPastEnd(length).at(start));
        }
        let range = self.at..self.at + length as usize;
        self.at = range.end;
        Ok(range)
    }

    #[inline]
    pub(crate) fn fixed32(&mut self) -> Result<u32, Box<WireError>> {
        self.fixed().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, Box<WireError>> {
        self.fixed().map(u64::from_le_bytes)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Box<WireError>> {
        match self.load() {
            Some(&bytes) if self.at + N <= self.end => {
                self.at += N;
                Ok(bytes)
            }
            _ => Err(Problem::TruncatedFixed.at(self.at)),
        }
    }

    /// Reads over the value that follows `tag`, within `depth` more levels of groups.
    pub(crate) fn skip(&mut self, tag: Tag, depth: u32) -> Result<(), Box<WireError>> {
        match tag.wire {
            Wire::Varint => self.varint().map(drop),
            Wire::Fixed64 => self.fixed64().map(drop),
            Wire::Len => self.delimited().map(drop),
            Wire::Fixed32 => self.fixed32().map(drop),
            Wire::Group => self.group(tag.number, depth).map(drop),
            Wire::EndGroup => Err(Problem::StrayEndGroup.at(self.at)),
        }
    }

    /// The place of the fields of a group whose begin has been read; leaves the reader behind its
    /// end.
    pub(crate) fn group(
        &mut self,
        number: u32,
        depth: u32,
    ) -> Result<Range<usize>, Box<WireError>> {
        let start = self.at;
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Problem::TooDeep.at(start));
        };
        loop {
            let end = self.at;
            match self.tag()? {
                None => return Err(Problem::OpenGroup.at(start)),
                Some(tag) if tag.wire == Wire::EndGroup => {
                    return if tag.number == number {
                        Ok(start..end)
                    } else {
                        Err(Problem::StrayEndGroup.at(end))
                    };
                }
                Some(tag) => self.skip(tag, depth)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_group_is_skipped_whole_and_only_if_it_is_well_formed() {
        let skip = |bytes: &[u8]| {
            let mut reader = WireReader::new(bytes);
            let tag = reader.tag().unwrap().unwrap();
            reader.skip(tag, DEPTH_LIMIT).map(|()| reader.at)
        };
        assert_eq!(skip(&[0x0b, 0x13, 0x08, 0x01, 0x14, 0x0c]), Ok(6));
        assert_eq!(skip(&[0x0b, 0x08, 0x01]), Err(Problem::OpenGroup.at(1)));
        assert_eq!(skip(&[0x0b, 0x14]), Err(Problem::StrayEndGroup.at(1)));
        assert_eq!(skip(&[0x0c]), Err(Problem::StrayEndGroup.at(1)));
    }

    #[test]
    fn groups_may_be_nested_100_levels_deep_and_no_deeper() {
        let nested = |levels: usize| {
            let bytes = [vec![0x0b; levels], vec![0x0c; levels]].concat();
            let mut reader = WireReader::new(&bytes);
            let tag = reader.tag().unwrap().unwrap();
            reader.skip(tag, DEPTH_LIMIT)
        };
        assert_eq!(nested(100), Ok(()));
        assert_eq!(nested(101), Err(Problem::TooDeep.at(101)));
    }
}
