//! A cursor on disk: see "Cursor" in [the journal's format](crate::journal).

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use crate::journal::log::position::Position;
use crate::journal::storage::{CURSORS, File, Storage, read_up_to, write_all_at};

/// A disk's largest sector: an incomplete write of one slot cannot damage the other.
const SLOT_BYTES: usize = 4096;
const TITLE: &str = "central-forwarder cursor v1";
const SUFFIX: &str = ".cursor";

/// What a cursor file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredCursor {
    /// Everything below is done.
    pub(crate) offset: u64,
    /// A record at or before `offset`: where to begin to look for it.
    pub(crate) near: Position,
}

/// What was found in a cursor file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileContent {
    /// Nothing: a crash came before the first write, as if there were no file.
    Empty,
    Valid(StoredCursor),
    /// No valid slot.
    Damaged,
}

/// An open cursor file.
#[derive(Debug)]
pub(crate) struct CursorFile {
    file: Arc<dyn File>,
    /// How often it was written; the parity names the slot in force.
    count: u64,
}

impl CursorFile {
    /// Makes the file of a new cursor, or replaces a damaged one; durable when it returns.
    pub(crate) fn create(
        storage: &dyn Storage,
        name: &str,
        stored: &StoredCursor,
    ) -> io::Result<Self> {
        let mut created = Self {
            file: storage.create(&path(name))?,
            count: 0,
        };
        created.write(stored)?;
        storage.sync_folder(CURSORS)?;
        Ok(created)
    }

    pub(crate) fn open(storage: &dyn Storage, name: &str) -> io::Result<(Self, FileContent)> {
        let file = storage.open(&path(name))?;
        let bytes = read_up_to(&*file, 0, 2 * SLOT_BYTES)?;
        let newest = bytes
            .chunks(SLOT_BYTES)
            .filter_map(parse)
            .max_by_key(|(count, _)| *count);
        let (count, found) = match newest {
            Some((count, stored)) => (count, FileContent::Valid(stored)),
            None if bytes.is_empty() => (0, FileContent::Empty),
            None => (0, FileContent::Damaged),
        };
        Ok((Self { file, count }, found))
    }

    /// Writes what was read once more, to make it durable: before the process died a sync may have
    /// failed, so that it is only in the page cache.
    pub(crate) fn write_again(&mut self, stored: &StoredCursor) -> io::Result<()> {
        self.count = self.count.saturating_sub(1);
        self.write(stored)
    }

    /// Durable when it returns. After an error the slot in force still is, and this can be repeated.
    pub(crate) fn write(&mut self, stored: &StoredCursor) -> io::Result<()> {
        let count = self.count + 1;
        let slot = (count % 2) * SLOT_BYTES as u64;
        write_all_at(&*self.file, print(count, stored).as_bytes(), slot)?;
        self.file.sync()?;
        self.count = count;
        Ok(())
    }
}

/// The names of all cursors that have a file, in no order.
pub(crate) fn names(storage: &dyn Storage) -> io::Result<Vec<String>> {
    let files = storage.list(CURSORS)?;
    Ok(files
        .iter()
        .filter_map(|file| unescape(file.strip_suffix(SUFFIX)?))
        .collect())
}

/// Forgets a cursor for good.
pub(crate) fn remove(storage: &dyn Storage, name: &str) -> io::Result<()> {
    storage.remove(&path(name))?;
    storage.sync_folder(CURSORS)
}

fn path(name: &str) -> String {
    format!("{CURSORS}/{}{SUFFIX}", escape(name))
}

/// A sink's name may hold any character, a file name may not.
fn escape(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn unescape(escaped: &str) -> Option<String> {
    let mut name = Vec::new();
    let mut rest = escaped.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (hex, after) = rest.split_first_chunk::<2>()?;
            name.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = after;
        } else {
            name.push(byte);
        }
    }
    String::from_utf8(name).ok()
}

fn print(count: u64, stored: &StoredCursor) -> String {
    let StoredCursor { offset, near } = stored;
    let Position {
        offset: near,
        segment,
        byte,
    } = near;
    let mut text = format!(
        "{TITLE}\ncount {count}\noffset {offset}\nnear {near} segment {segment} position {byte}\n"
    );
    let crc = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, "crc32c {crc:08x}");
    let padding = SLOT_BYTES - text.len();
    text.extend(std::iter::repeat_n('\n', padding));
    text
}

fn parse(slot: &[u8]) -> Option<(u64, StoredCursor)> {
    let text = std::str::from_utf8(slot).ok()?;
    let covered = text.find("crc32c ")?;
    let crc = u32::from_str_radix(text.get(covered + 7..covered + 15)?, 16).ok()?;
    if crc32c::crc32c(&slot[..covered]) != crc {
        return None;
    }
    let mut lines = text.lines();
    if lines.next()? != TITLE {
        return None;
    }
    let count = number(lines.next()?, "count")?;
    let offset = number(lines.next()?, "offset")?;
    let near = lines.next()?.split(' ').collect::<Vec<_>>();
    let ["near", offset_near, "segment", segment, "position", byte] = near[..] else {
        return None;
    };
    let near = Position {
        offset: offset_near.parse().ok()?,
        segment: segment.parse().ok()?,
        byte: byte.parse().ok()?,
    };
    Some((count, StoredCursor { offset, near }))
}

fn number(line: &str, key: &str) -> Option<u64> {
    line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::storage::memory::Memory;

    const AT: StoredCursor = StoredCursor {
        offset: u64::MAX,
        near: Position {
            offset: 7,
            segment: 5,
            byte: 99,
        },
    };

    #[test]
    fn a_cursor_file_reads_back_what_was_written_last() {
        let storage = Memory::default();
        let mut file = CursorFile::create(&storage, "lake", &AT).unwrap();
        for offset in [3, 4, 5] {
            let stored = StoredCursor { offset, ..AT };
            file.write(&stored).unwrap();
            let (_, found) = CursorFile::open(&storage, "lake").unwrap();
            assert_eq!(found, FileContent::Valid(stored));
        }
        assert_eq!(names(&storage).unwrap(), ["lake"]);
    }

    #[test]
    fn a_damaged_slot_falls_back_to_the_one_before() {
        let storage = Memory::default();
        let mut file =
            CursorFile::create(&storage, "lake", &StoredCursor { offset: 1, ..AT }).unwrap();
        file.write(&StoredCursor { offset: 2, ..AT }).unwrap();
        let used = print(2, &StoredCursor { offset: 2, ..AT }).trim_end().len() as u64;
        for position in 0..used {
            let byte = read_up_to(&*file.file, position, 1).unwrap();
            write_all_at(&*file.file, &[byte[0] ^ 1], position).unwrap();
            let (_, found) = CursorFile::open(&storage, "lake").unwrap();
            assert_eq!(
                found,
                FileContent::Valid(StoredCursor { offset: 1, ..AT }),
                "{position}"
            );
            write_all_at(&*file.file, &byte, position).unwrap();
        }
    }

    #[test]
    fn a_file_without_a_valid_slot_is_damaged_and_one_without_bytes_is_empty() {
        let storage = Memory::default();
        let file = storage.create(&path("lake")).unwrap();
        assert_eq!(
            CursorFile::open(&storage, "lake").unwrap().1,
            FileContent::Empty
        );
        write_all_at(&*file, &[0; 2 * SLOT_BYTES], 0).unwrap();
        assert_eq!(
            CursorFile::open(&storage, "lake").unwrap().1,
            FileContent::Damaged
        );
    }

    #[test]
    fn any_cursor_name_becomes_a_file_name_and_back() {
        for name in ["lake", "a/b", "../x", "Übersee 1", "%41"] {
            let escaped = escape(name);
            assert!(!escaped.contains(['/', '.', ' ']), "{escaped}");
            assert_eq!(unescape(&escaped).as_deref(), Some(name));
        }
    }
}
