//! A cursor on disk: see "Cursor" in [the module above](super).

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use super::storage::{CURSORS, File, Storage, read_up_to, write_all_at};

/// A disk's largest sector: a torn write of one slot cannot reach the other.
const SLOT_BYTES: usize = 4096;
const TITLE: &str = "central-forwarder cursor v1";
const SUFFIX: &str = ".cursor";

/// A record that lies at or before a cursor's offset: where to begin to look for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The record's offset.
    pub(super) offset: u64,
    pub(super) segment: u64,
    pub(super) position: u64,
}

/// Everything below `offset` is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) offset: u64,
    pub(super) near: Mark,
}

/// What a cursor file turned out to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Its making was cut short: as if it were not there.
    Empty,
    Good(Stored),
    /// Both slots are damaged.
    Bad,
}

/// An open cursor file.
#[derive(Debug)]
pub(super) struct CursorFile {
    file: Arc<dyn File>,
    /// How often it was written; the parity names the slot in force.
    count: u64,
}

impl CursorFile {
    /// Makes the file of a new cursor, or empties a bad one; durable when it returns.
    pub(super) fn create(storage: &dyn Storage, name: &str, stored: &Stored) -> io::Result<Self> {
        let mut made = Self {
            file: storage.create(&path(name))?,
            count: 0,
        };
        made.write(stored)?;
        storage.sync_folder(CURSORS)?;
        Ok(made)
    }

    pub(super) fn open(storage: &dyn Storage, name: &str) -> io::Result<(Self, Found)> {
        let file = storage.open(&path(name))?;
        let bytes = read_up_to(&*file, 0, 2 * SLOT_BYTES)?;
        let newest = bytes
            .chunks(SLOT_BYTES)
            .filter_map(parse)
            .max_by_key(|(count, _)| *count);
        let (count, found) = match newest {
            Some((count, stored)) => (count, Found::Good(stored)),
            None if bytes.is_empty() => (0, Found::Empty),
            None => (0, Found::Bad),
        };
        Ok((Self { file, count }, found))
    }

    /// Makes what was read durable: a sync may have failed before the process died, and left it in
    /// the page cache alone.
    pub(super) fn settle(&mut self, stored: &Stored) -> io::Result<()> {
        self.count = self.count.saturating_sub(1);
        self.write(stored)
    }

    /// Durable when it returns. After an error the slot in force still is, and this can be repeated.
    pub(super) fn write(&mut self, stored: &Stored) -> io::Result<()> {
        let count = self.count + 1;
        let slot = (count % 2) * SLOT_BYTES as u64;
        write_all_at(&*self.file, print(count, stored).as_bytes(), slot)?;
        self.file.sync()?;
        self.count = count;
        Ok(())
    }
}

/// The names of all cursors that have a file.
pub(super) fn names(storage: &dyn Storage) -> io::Result<Vec<String>> {
    let files = storage.list(CURSORS)?;
    Ok(files
        .iter()
        .filter_map(|file| unescape(file.strip_suffix(SUFFIX)?))
        .collect())
}

/// Forgets a cursor for good.
pub(super) fn remove(storage: &dyn Storage, name: &str) -> io::Result<()> {
    storage.remove(&path(name))?;
    storage.sync_folder(CURSORS)
}

fn path(name: &str) -> String {
    format!("{CURSORS}/{}{SUFFIX}", escape(name))
}

/// A sink's name may hold anything; a file's may not.
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

fn print(count: u64, stored: &Stored) -> String {
    let Stored { offset, near } = stored;
    let Mark {
        offset: mark,
        segment,
        position,
    } = near;
    let mut text = format!(
        "{TITLE}\ncount {count}\noffset {offset}\nnear {mark} segment {segment} position {position}\n"
    );
    let crc = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, "crc32c {crc:08x}");
    let padding = SLOT_BYTES - text.len();
    text.extend(std::iter::repeat_n('\n', padding));
    text
}

fn parse(slot: &[u8]) -> Option<(u64, Stored)> {
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
    let ["near", mark, "segment", segment, "position", position] = near[..] else {
        return None;
    };
    let near = Mark {
        offset: mark.parse().ok()?,
        segment: segment.parse().ok()?,
        position: position.parse().ok()?,
    };
    Some((count, Stored { offset, near }))
}

fn number(line: &str, key: &str) -> Option<u64> {
    line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::storage::Memory;
    use super::*;

    const AT: Stored = Stored {
        offset: u64::MAX,
        near: Mark {
            offset: 7,
            segment: 5,
            position: 99,
        },
    };

    #[test]
    fn a_cursor_reads_back() {
        let storage = Memory::default();
        let mut file = CursorFile::create(&storage, "lake", &AT).unwrap();
        for offset in [3, 4, 5] {
            let stored = Stored { offset, ..AT };
            file.write(&stored).unwrap();
            let (_, found) = CursorFile::open(&storage, "lake").unwrap();
            assert_eq!(found, Found::Good(stored));
        }
        assert_eq!(names(&storage).unwrap(), ["lake"]);
    }

    #[test]
    fn a_damaged_slot_leaves_the_one_before() {
        let storage = Memory::default();
        let mut file = CursorFile::create(&storage, "lake", &Stored { offset: 1, ..AT }).unwrap();
        file.write(&Stored { offset: 2, ..AT }).unwrap();
        let used = print(2, &Stored { offset: 2, ..AT }).trim_end().len() as u64;
        for position in 0..used {
            let byte = read_up_to(&*file.file, position, 1).unwrap();
            write_all_at(&*file.file, &[byte[0] ^ 1], position).unwrap();
            let (_, found) = CursorFile::open(&storage, "lake").unwrap();
            assert_eq!(found, Found::Good(Stored { offset: 1, ..AT }), "{position}");
            write_all_at(&*file.file, &byte, position).unwrap();
        }
    }

    #[test]
    fn a_file_without_a_good_slot_is_told_from_an_empty_one() {
        let storage = Memory::default();
        let file = storage.create(&path("lake")).unwrap();
        assert_eq!(CursorFile::open(&storage, "lake").unwrap().1, Found::Empty);
        write_all_at(&*file, &[0; 2 * SLOT_BYTES], 0).unwrap();
        assert_eq!(CursorFile::open(&storage, "lake").unwrap().1, Found::Bad);
    }

    #[test]
    fn any_name_has_a_file() {
        for name in ["lake", "a/b", "../x", "Übersee 1", "%41"] {
            let escaped = escape(name);
            assert!(!escaped.contains(['/', '.', ' ']), "{escaped}");
            assert_eq!(unescape(&escaped).as_deref(), Some(name));
        }
    }
}
