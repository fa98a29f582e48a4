//! Maps. Entries are messages with a key (1) and a value (2), either of which may be missing. Of entries
//! with the same key the last one counts.

use std::collections::HashMap;

use super::joined::{JoinedPieces, value_positions};
use super::{ABSENT, MapEntry, MapKey, Writer, accepts, deeper};
use crate::transcode::tables::{Field, ValueKind};
use crate::wire::{Wire, WireError, WireReader};

const KEY: u32 = 1;
const VALUE: u32 = 2;

/// Up to this many entries are compared with each other, which needs no allocation.
const FEW: usize = 16;

impl<'t> Writer<'t> {
    /// Writes a map whose entries follow each other. The first one's tag has been read.
    pub(super) fn run_of_entries(
        &mut self,
        field: &'t Field,
        reader: &mut WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let base = self.entries.len();
        loop {
            self.push_entry(field, reader, depth)?;
            let mut ahead = *reader;
            match ahead.tag() {
                Ok(Some(tag)) if tag.number == field.number() && tag.wire == Wire::Len => {
                    *reader = ahead;
                }
                _ => break,
            }
        }
        self.map_field(field, base, reader.bytes, depth)
    }

    /// Writes a map from its entries, each given by the position after its tag.
    pub(super) fn map(
        &mut self,
        field: &'t Field,
        occurrences: impl Iterator<Item = usize>,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let base = self.entries.len();
        for at in occurrences {
            self.push_entry(field, &mut WireReader::starting_at(at, bytes), depth)?;
        }
        self.map_field(field, base, bytes, depth)
    }

    fn map_field(
        &mut self,
        field: &'t Field,
        base: usize,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let start = self.out.position();
        self.out.key(field);
        let empty = self.out.position();
        self.entries_object(field, base, bytes, depth)?;
        if self.out.position() == empty + b"{}".len() {
            self.out.back_to(start);
        }
        Ok(())
    }

    /// Writes the entries from `base` on as an object, and removes them.
    pub(super) fn entries_object(
        &mut self,
        field: &'t Field,
        base: usize,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        keep_last(&mut self.entries, base, bytes);
        let start = self.out.position();
        // By index: while a value is written, further entries may be added after these.
        for index in base..self.entries.len() {
            let entry = self.entries[index].clone();
            self.write_entry(field, &entry, bytes, depth)?;
        }
        self.entries.truncate(base);
        self.out.enclose(start, b'{', b'}');
        Ok(())
    }

    /// Reads one entry and keeps it for [`Self::entries_object`].
    pub(super) fn push_entry(
        &mut self,
        field: &'t Field,
        reader: &mut WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let entry = self.entry(field, reader, depth)?;
        self.entries.extend(entry);
        Ok(())
    }

    /// Reads one entry: the last key, the last value, and how many values there are. `None` if a value is
    /// of an enum that does not know it: the whole entry then counts as absent.
    fn entry(
        &self,
        field: &Field,
        reader: &mut WireReader,
        depth: u32,
    ) -> Result<Option<MapEntry>, Box<WireError>> {
        let fields = reader.delimited()?;
        let mut reader = reader.part(fields.clone());
        let depth = deeper(depth, reader.at)?;
        let mut entry = MapEntry {
            fields,
            key: MapKey::Absent,
            value: None,
            values: 0,
        };
        let mut is_known = true;
        let message = &self.messages[field.target as usize];
        while let Some(tag) = reader.tag()? {
            let known = message.field(tag.number);
            match known.filter(|field| accepts(field, tag)) {
                Some(key) if key.number() == KEY => entry.key = read_key(key, &mut reader)?,
                Some(value) => {
                    is_known &= self.is_known(value, reader)?;
                    entry.value = Some(reader.at);
                    entry.values += 1;
                    reader.skip(tag, depth)?;
                }
                None => reader.skip(tag, depth)?,
            }
        }
        Ok(is_known.then_some(entry))
    }

    fn write_entry(
        &mut self,
        field: &'t Field,
        entry: &MapEntry,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let message = &self.messages[field.target as usize];
        let (Some(key), Some(value)) = (message.field(KEY), message.field(VALUE)) else {
            return Ok(());
        };
        let depth = deeper(depth, entry.fields.start)?;
        self.out.byte(b',');
        self.entry_key(key, entry, bytes)?;
        self.out.byte(b':');
        self.entry_value(value, entry, bytes, depth)
    }

    fn entry_key(
        &mut self,
        field: &Field,
        entry: &MapEntry,
        bytes: &[u8],
    ) -> Result<(), Box<WireError>> {
        match &entry.key {
            MapKey::Text(range) => self.string(bytes, range.clone())?,
            MapKey::Absent if field.kind == ValueKind::String => self.out.text(b"\"\""),
            number => {
                let number = if let MapKey::Number(number) = number {
                    *number
                } else {
                    0
                };
                self.out.byte(b'"');
                match field.kind {
                    ValueKind::Bool => self.out.write_slot(|slot| slot.bool(number != 0)),
                    ValueKind::Uint32
                    | ValueKind::Fixed32
                    | ValueKind::Uint64
                    | ValueKind::Fixed64 => {
                        self.out.unsigned(number);
                    }
                    _ => self.out.signed(number.cast_signed()),
                }
                self.out.byte(b'"');
            }
        }
        Ok(())
    }

    fn entry_value(
        &mut self,
        field: &'t Field,
        entry: &MapEntry,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let bytes = &bytes[..entry.fields.end];
        match entry.value {
            None if matches!(field.kind, ValueKind::Enum | ValueKind::ClosedEnum) => {
                let default = self.enums[field.target as usize].default;
                self.enumerated(field, default);
                Ok(())
            }
            None => self
                .value(field, &mut WireReader::new(&ABSENT), depth)
                .map(drop),
            Some(_) if entry.values > 1 && field.is_message() => {
                let fields = WireReader::starting_at(entry.fields.start, bytes);
                let pieces = value_positions(field, fields, depth)?.into_iter();
                let joined = JoinedPieces::new(field, pieces, bytes, depth)?;
                let depth = deeper(depth, joined.origin(0))?;
                self.joined(field.target, &joined, depth)
            }
            Some(at) => self
                .value(field, &mut WireReader::starting_at(at, bytes), depth)
                .map(drop),
        }
    }
}

/// Reads a key. Equal keys become equal numbers, however they are encoded.
fn read_key(field: &Field, reader: &mut WireReader) -> Result<MapKey, Box<WireError>> {
    Ok(match field.kind {
        ValueKind::String => MapKey::Text(reader.delimited()?),
        ValueKind::Bool => MapKey::Number(u64::from(reader.bool()?)),
        ValueKind::Uint32 => MapKey::Number(u64::from(reader.uint32()?)),
        ValueKind::Int32 => MapKey::Number(i64::from(reader.int32()?).cast_unsigned()),
        ValueKind::Sint32 => MapKey::Number(i64::from(reader.sint32()?).cast_unsigned()),
        ValueKind::Sint64 => MapKey::Number(reader.sint64()?.cast_unsigned()),
        ValueKind::Fixed32 => MapKey::Number(u64::from(reader.fixed32()?)),
        ValueKind::Sfixed32 => MapKey::Number(i64::from(reader.sfixed32()?).cast_unsigned()),
        ValueKind::Fixed64 | ValueKind::Sfixed64 => MapKey::Number(reader.fixed64()?),
        _ => MapKey::Number(reader.varint()?),
    })
}

/// Of the entries from `base` on with the same key, keeps the last one, in the position of the first.
fn keep_last(entries: &mut Vec<MapEntry>, base: usize, bytes: &[u8]) {
    let count = entries.len() - base;
    if count <= FEW {
        keep_last_of_few(entries, base, bytes);
        return;
    }
    let mut first: HashMap<(Option<u64>, &[u8]), usize> = HashMap::with_capacity(count);
    let mut kept = base;
    for index in base..entries.len() {
        let entry = entries[index].clone();
        let place = *first.entry(identity(&entry, bytes)).or_insert(kept);
        entries[place] = entry;
        kept = kept.max(place + 1);
    }
    entries.truncate(kept);
}

fn keep_last_of_few(entries: &mut Vec<MapEntry>, base: usize, bytes: &[u8]) {
    let mut next = base + 1;
    while next < entries.len() {
        let key = identity(&entries[next], bytes);
        let same = entries[base..next]
            .iter()
            .position(|entry| identity(entry, bytes) == key);
        match same {
            Some(place) => entries[base + place] = entries.remove(next),
            None => next += 1,
        }
    }
}

/// Equal for equal keys. An absent key is the default, zero or empty.
fn identity<'a>(entry: &MapEntry, bytes: &'a [u8]) -> (Option<u64>, &'a [u8]) {
    match &entry.key {
        MapKey::Absent | MapKey::Number(0) => (None, &[]),
        MapKey::Text(range) => (None, &bytes[range.clone()]),
        MapKey::Number(number) => (Some(*number), &[]),
    }
}
