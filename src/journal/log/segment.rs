//! Reading a segment file: checked records, a limited number of bytes at a time, and the way past
//! damage.

use std::io;

use bytes::Bytes;
use memchr::memmem;

use super::record::{self, Check, HEADER_BYTES, Header, MAGIC};
use crate::journal::storage::{File, read_up_to};

/// How much is read at once to look for the next valid record.
pub(crate) const SEARCH_BYTES: usize = 256 << 10;

/// How much is passed over where the disk cannot be read.
const SECTOR_BYTES: usize = 4096;

const SUFFIX: &str = ".log";

/// The name of a segment until it is complete and synced.
pub(crate) const UNFINISHED: &str = "unfinished.tmp";

/// The file name of the segment that begins with record number `base`.
pub(crate) fn name(base: u64) -> String {
    format!("{base:020}{SUFFIX}")
}

/// Reads [`name`]; `None` if it is not one.
pub(crate) fn base(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// Valid records that lie one after the other.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) records: Vec<(Header, Bytes)>,
    /// The bytes after `records` are not a record.
    pub(crate) damaged: bool,
}

/// Reads the records at `position`: as many as are complete within `max_bytes`, and at least one if
/// there is one, however large. The segment ends at `len`, which must be beyond `position`.
pub(crate) fn read(
    file: &dyn File,
    position: u64,
    len: u64,
    max_bytes: usize,
) -> io::Result<Chunk> {
    let left = usize::try_from(len.saturating_sub(position)).unwrap_or(usize::MAX);
    let mut wanted = left.min(max_bytes.max(HEADER_BYTES));
    let mut bytes = read_up_to(file, position, wanted)?;
    if let Check::Short(total) = record::check(&bytes)
        && bytes.len() == wanted
        && (wanted + 1..=left).contains(&total)
    {
        wanted = total;
        bytes = read_up_to(file, position, wanted)?;
    }
    let more_follows = bytes.len() == wanted && wanted < left;
    Ok(split(bytes.into(), more_follows))
}

/// `more_follows`: the segment goes on after `bytes`, so that an incomplete record at their end is not
/// damaged.
fn split(mut bytes: Bytes, more_follows: bool) -> Chunk {
    let mut chunk = Chunk::default();
    loop {
        match record::check(&bytes) {
            Check::Valid(header) => {
                let record = bytes.split_to(header.total());
                chunk.records.push((header, record));
            }
            Check::Short(_) if more_follows && !chunk.records.is_empty() => return chunk,
            Check::Short(_) if bytes.is_empty() && !chunk.records.is_empty() => return chunk,
            Check::Short(_) | Check::Invalid => {
                chunk.damaged = true;
                return chunk;
            }
        }
    }
}

/// The position of the first valid record at or after `from`, past bytes that the disk cannot read.
/// `base` is the offset that the segment is named after.
pub(crate) fn find(file: &dyn File, base: u64, from: u64, len: u64) -> Option<u64> {
    let mut position = from;
    while position + HEADER_BYTES as u64 <= len {
        let left = usize::try_from(len - position).unwrap_or(usize::MAX);
        let bytes = read_up_to(file, position, left.min(SEARCH_BYTES))
            .or_else(|_| read_up_to(file, position, left.min(SECTOR_BYTES)));
        let Ok(bytes) = bytes else {
            position += (SECTOR_BYTES - HEADER_BYTES) as u64;
            continue;
        };
        for at in memmem::find_iter(&bytes, &MAGIC) {
            let candidate = position + at as u64;
            if is_record(file, base, candidate, len).unwrap_or(false) {
                return Some(candidate);
            }
        }
        if bytes.len() < HEADER_BYTES {
            break;
        }
        position += (bytes.len() - MAGIC.len() + 1) as u64;
    }
    None
}

/// Checks the header first: a payload may hold bytes that look like records, which must neither slow
/// the search down nor end it.
fn is_record(file: &dyn File, base: u64, position: u64, len: u64) -> io::Result<bool> {
    let Some(header) = Header::parse(&read_up_to(file, position, HEADER_BYTES)?) else {
        return Ok(false);
    };
    let total = header.total() as u64;
    let max_offset = base + position / HEADER_BYTES as u64;
    if position + total > len || !(base..=max_offset).contains(&header.offset) {
        return Ok(false);
    }
    let bytes = read_up_to(file, position, header.total())?;
    Ok(matches!(record::check(&bytes), Check::Valid(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_named_after_its_first_record() {
        assert_eq!(name(42), "00000000000000000042.log");
        assert_eq!(base(&name(u64::MAX)), Some(u64::MAX));
        for other in [
            "lock",
            "42.log",
            "0000000000000000004x.log",
            "00000000000000000042.tmp",
        ] {
            assert_eq!(base(other), None, "{other}");
        }
    }
}
