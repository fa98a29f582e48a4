//! Maps: entries are messages with a key (1) and a value (2), either of which may be missing, and
//! of entries with the same key the last one counts.

use std::collections::HashMap;
use std::ops::Range;

use super::disorder::{Joined, places};
use super::tables::{Field, Form};
use super::write::{Writer, accepts, deeper};
use crate::wire::{Fault, Reader, Wire};

const KEY: u32 = 1;
const VALUE: u32 = 2;

/// Up to this many entries are compared with each other, which takes no memory.
const FEW: usize = 16;

/// Reads as the default of any type but an enum: zero, false, or of length zero.
const ABSENT: [u8; 8] = [0; 8];

/// An entry that has been found and not yet written: places in the buffer it is from.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The fields of the entry.
    fields: Range<usize>,
    key: Key,
    /// The place behind the last value's tag.
    value: Option<usize>,
    /// How many values there are.
    values: u32,
}

#[derive(Clone, Debug)]
enum Key {
    Absent,
    Text(Range<usize>),
    Number(u64),
}

impl<'t> Writer<'t> {
    /// Writes a map from the entries that follow each other, the first one's tag being read.
    pub(super) fn run_of_entries(
        &mut self,
        field: &'t Field,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
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

    /// Writes a map from its entries, each the place behind a tag.
    pub(super) fn map(
        &mut self,
        field: &'t Field,
        occurrences: impl Iterator<Item = usize>,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let base = self.entries.len();
        for at in occurrences {
            self.push_entry(field, &mut Reader::starting_at(at, bytes), depth)?;
        }
        self.map_field(field, base, bytes, depth)
    }

    fn map_field(
        &mut self,
        field: &'t Field,
        base: usize,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let start = self.out.position();
        self.out.key(field);
        let empty = self.out.position();
        self.entries_object(field, base, bytes, depth)?;
        if self.out.position() == empty + b"{}".len() {
            self.out.back_to(start);
        }
        Ok(())
    }

    /// Writes the entries from `base` on as an object, and forgets them.
    pub(super) fn entries_object(
        &mut self,
        field: &'t Field,
        base: usize,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        keep_last(&mut self.entries, base, bytes);
        let start = self.out.position();
        // By index: writing a value may put further entries behind these for a while.
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
        reader: &mut Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let entry = self.entry(field, reader, depth)?;
        self.entries.extend(entry);
        Ok(())
    }

    /// Reads one entry: the last key, the last value, and whether there are more values. `None`
    /// where a value is of an enum and not known to it: all of the entry is then as good as absent.
    fn entry(
        &self,
        field: &Field,
        reader: &mut Reader,
        depth: u32,
    ) -> Result<Option<Entry>, Box<Fault>> {
        let fields = reader.delimited()?;
        let mut reader = reader.part(fields.clone());
        let depth = deeper(depth, reader.at)?;
        let mut entry = Entry {
            fields,
            key: Key::Absent,
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
        entry: &Entry,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<Fault>> {
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

    fn entry_key(&mut self, field: &Field, entry: &Entry, bytes: &[u8]) -> Result<(), Box<Fault>> {
        match &entry.key {
            Key::Text(range) => self.string(bytes, range.clone())?,
            Key::Absent if field.kind == Form::String => self.out.text(b"\"\""),
            number => {
                let number = if let Key::Number(number) = number {
                    *number
                } else {
                    0
                };
                self.out.byte(b'"');
                match field.kind {
                    Form::Bool => self.out.number(|line| line.bool(number != 0)),
                    Form::Uint32 | Form::Fixed32 | Form::Uint64 | Form::Fixed64 => {
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
        entry: &Entry,
        bytes: &[u8],
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let bytes = &bytes[..entry.fields.end];
        match entry.value {
            None if matches!(field.kind, Form::Enum | Form::ClosedEnum) => {
                let default = self.enums[field.target as usize].default;
                self.enumerated(field, default);
                Ok(())
            }
            None => self
                .value(field, &mut Reader::new(&ABSENT), depth)
                .map(drop),
            Some(_) if entry.values > 1 && field.is_message() => {
                let fields = Reader::starting_at(entry.fields.start, bytes);
                let pieces = places(field, fields, depth)?.into_iter();
                let joined = Joined::new(field, pieces, bytes, depth)?;
                let depth = deeper(depth, joined.origin(0))?;
                self.joined(field.target, &joined, depth)
            }
            Some(at) => self
                .value(field, &mut Reader::starting_at(at, bytes), depth)
                .map(drop),
        }
    }
}

/// Reads a key so that equal keys are equal numbers, however they are encoded.
fn read_key(field: &Field, reader: &mut Reader) -> Result<Key, Box<Fault>> {
    Ok(match field.kind {
        Form::String => Key::Text(reader.delimited()?),
        Form::Bool => Key::Number(u64::from(reader.bool()?)),
        Form::Uint32 => Key::Number(u64::from(reader.uint32()?)),
        Form::Int32 => Key::Number(i64::from(reader.int32()?).cast_unsigned()),
        Form::Sint32 => Key::Number(i64::from(reader.sint32()?).cast_unsigned()),
        Form::Sint64 => Key::Number(reader.sint64()?.cast_unsigned()),
        Form::Fixed32 => Key::Number(u64::from(reader.fixed32()?)),
        Form::Sfixed32 => Key::Number(i64::from(reader.sfixed32()?).cast_unsigned()),
        Form::Fixed64 | Form::Sfixed64 => Key::Number(reader.fixed64()?),
        _ => Key::Number(reader.varint()?),
    })
}

/// Of the entries from `base` on that have the same key, keeps the last one, in the first one's
/// place.
fn keep_last(entries: &mut Vec<Entry>, base: usize, bytes: &[u8]) {
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

fn keep_last_of_few(entries: &mut Vec<Entry>, base: usize, bytes: &[u8]) {
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

/// What makes two keys the same; an absent one is the default, zero or empty.
fn identity<'a>(entry: &Entry, bytes: &'a [u8]) -> (Option<u64>, &'a [u8]) {
    match &entry.key {
        Key::Absent | Key::Number(0) => (None, &[]),
        Key::Text(range) => (None, &bytes[range.clone()]),
        Key::Number(number) => (Some(*number), &[]),
    }
}
