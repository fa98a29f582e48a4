//! Messages with a JSON form of their own: Google's well-known types, and in the readable style
//! addresses. None of these minds the order of its fields.

use std::ops::Range;

use super::JsonStyle;
use super::disorder::{Joined, places};
use super::tables::{Field, Form, Message, MessageId, Shape, Tables};
use super::write::{Writer, accepts, deeper};
use crate::rfc3339::Rfc3339;
use crate::wire::{DEPTH_LIMIT, Fault, Problem, Reader, Wire};

/// 10 000 years, the longest Duration.
const DURATION_SECONDS: u64 = 315_576_000_000;

/// The field of an Any that holds a message.
pub(super) const ANY_VALUE: u32 = 2;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Reads as the default of a scalar: zero, false, or of length zero.
const ABSENT: [u8; 8] = [0; 8];

type WriteField<'t> = fn(&mut Writer<'t>, &'t Field, Reader, u32) -> Result<(), Box<Fault>>;

impl<'t> Writer<'t> {
    pub(super) fn well_known(
        &mut self,
        message: &'t Message,
        reader: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        match message.shape {
            Shape::Object => self.object(message, reader, depth),
            Shape::Timestamp => self.timestamp(reader, depth),
            Shape::Duration => self.duration(reader, depth),
            Shape::FieldMask => self.field_mask(reader, depth),
            Shape::Any => self.any(reader, depth),
            Shape::Mac(addr) => self.mac(message, addr, reader, depth),
            Shape::Ip(addr) => self.ip(message, addr, reader, depth),
            Shape::Struct => self.with_first_field(message, reader, depth, Self::structure),
            Shape::ListValue => self.with_first_field(message, reader, depth, Self::list_value),
            Shape::Wrapper => self.with_first_field(message, reader, depth, Self::wrapper),
            Shape::Value => self.any_value(message, reader, depth),
        }
    }

    /// Calls `write` with field 1, the only one of these types.
    fn with_first_field(
        &mut self,
        message: &'t Message,
        reader: Reader,
        depth: u32,
        write: WriteField<'t>,
    ) -> Result<(), Box<Fault>> {
        match message.field(1) {
            Some(field) => write(self, field, reader, depth),
            None => self.object(message, reader, depth),
        }
    }

    fn timestamp(&mut self, reader: Reader, depth: u32) -> Result<(), Box<Fault>> {
        let (seconds, nanos) = seconds_and_nanos(reader, depth)?;
        let text = u32::try_from(nanos)
            .ok()
            .and_then(|nanos| Rfc3339::new(seconds, nanos, 0))
            .ok_or_else(|| Problem::Timestamp.at(reader.at))?;
        self.quoted(text.as_bytes());
        Ok(())
    }

    fn duration(&mut self, reader: Reader, depth: u32) -> Result<(), Box<Fault>> {
        let (seconds, nanos) = seconds_and_nanos(reader, depth)?;
        let nanos = i64::from(nanos);
        if seconds.unsigned_abs() > DURATION_SECONDS
            || nanos.abs() >= NANOS_PER_SECOND
            || seconds.signum() * nanos.signum() < 0
        {
            return Err(Problem::Duration.at(reader.at));
        }
        self.out.byte(b'"');
        if seconds < 0 || nanos < 0 {
            self.out.byte(b'-');
        }
        self.out.unsigned(seconds.unsigned_abs());
        self.fraction(nanos.unsigned_abs());
        self.out.text(b"s\"");
        Ok(())
    }

    /// Writes no, 3, 6 or 9 digits behind a point.
    fn fraction(&mut self, nanos: u64) {
        if nanos == 0 {
            return;
        }
        let text = format!(".{nanos:09}");
        let shown = match nanos {
            _ if nanos.is_multiple_of(1_000_000) => 4,
            _ if nanos.is_multiple_of(1_000) => 7,
            _ => 10,
        };
        self.out.text(&text.as_bytes()[..shown]);
    }

    fn field_mask(&mut self, mut reader: Reader, depth: u32) -> Result<(), Box<Fault>> {
        let mut text = String::new();
        let mut first = true;
        while let Some(tag) = reader.tag()? {
            if (tag.number, tag.wire) != (1, Wire::Len) {
                reader.skip(tag, depth)?;
                continue;
            }
            let range = reader.delimited()?;
            let path = std::str::from_utf8(&reader.bytes[range.clone()])
                .map_err(|error| Problem::Utf8.at(range.start + error.valid_up_to()))?;
            if !first {
                text.push(',');
            }
            first = false;
            camel_case(path, &mut text).ok_or_else(|| Problem::FieldMask.at(range.start))?;
        }
        self.out
            .string(text.as_bytes(), 0..text.len())
            .map_err(|place| Problem::Utf8.at(place))
    }

    fn any(&mut self, reader: Reader, depth: u32) -> Result<(), Box<Fault>> {
        let place = reader.at;
        let (url, value) = url_and_value(reader, depth)?;
        if url.is_empty() && value.is_empty() {
            self.out.text(b"{}");
            return Ok(());
        }
        let start = self.out.position();
        self.out.text(b",\"@type\":");
        self.string(reader.bytes, url.clone())?;
        match named_by(self.tables, &reader.bytes[url]) {
            Some(id) => self.any_of(id.0, reader.part(value), deeper(depth, place)?)?,
            None if self.style == JsonStyle::Readable => {
                self.out.text(b",\"value\":");
                self.out.base64(&reader.bytes[value]);
            }
            None => return Err(Problem::UnknownAny.at(place)),
        }
        self.out.enclose(start, b'{', b'}');
        Ok(())
    }

    fn any_of(&mut self, id: u32, reader: Reader, depth: u32) -> Result<(), Box<Fault>> {
        let message = &self.messages[id as usize];
        if message.shape == Shape::Object {
            self.fields(message, reader, depth)
        } else {
            self.out.text(b",\"value\":");
            self.well_known(message, reader, depth)
        }
    }

    fn structure(
        &mut self,
        field: &'t Field,
        mut reader: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let base = self.entries.len();
        while let Some(tag) = reader.tag()? {
            if tag.number == field.number() && tag.wire == Wire::Len {
                self.push_entry(field, &mut reader, depth)?;
            } else {
                reader.skip(tag, depth)?;
            }
        }
        self.entries_object(field, base, reader.bytes, depth)
    }

    fn list_value(
        &mut self,
        field: &'t Field,
        mut reader: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let start = self.out.position();
        while let Some(tag) = reader.tag()? {
            if tag.number == field.number() && tag.wire == Wire::Len {
                self.element(field, &mut reader, depth)?;
            } else {
                reader.skip(tag, depth)?;
            }
        }
        self.out.enclose(start, b'[', b']');
        Ok(())
    }

    fn wrapper(
        &mut self,
        field: &'t Field,
        mut reader: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let mut value = Reader::new(&ABSENT);
        while let Some(tag) = reader.tag()? {
            if tag.number == field.number() && accepts(field, tag) {
                value = reader;
            }
            reader.skip(tag, depth)?;
        }
        self.value(field, &mut value, depth).map(drop)
    }

    /// A `google.protobuf.Value`: the member of its oneof that came last.
    fn any_value(
        &mut self,
        message: &'t Message,
        mut reader: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let mut member: Option<(&'t Field, Reader)> = None;
        // From where on there is no other member.
        let mut since = reader;
        loop {
            let before = reader;
            let Some(tag) = reader.tag()? else { break };
            let known = message.field(tag.number);
            if let Some(field) = known.filter(|field| accepts(field, tag)) {
                if member.is_none_or(|(current, _)| current.number() != field.number()) {
                    since = before;
                }
                member = Some((field, reader));
            }
            reader.skip(tag, depth)?;
        }
        let Some((field, mut value)) = member else {
            self.out.text(b"null");
            return Ok(());
        };
        if field.kind == Form::Double {
            let mut number = value;
            if !f64::from_bits(number.fixed64()?).is_finite() {
                return Err(Problem::NotFinite.at(value.at));
            }
        }
        if field.is_message() {
            self.merged_member(field, since, depth)
        } else {
            self.value(field, &mut value, depth).map(drop)
        }
    }

    fn merged_member(
        &mut self,
        field: &'t Field,
        since: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let depth_below = deeper(depth, since.at)?;
        match places(field, since, depth)?[..] {
            [at] => {
                let mut value = Reader::starting_at(at, since.bytes);
                self.value(field, &mut value, depth).map(drop)
            }
            ref pieces => {
                let pieces = pieces.iter().copied();
                let joined = Joined::new(field, pieces, since.bytes, depth)?;
                self.joined(field.target, &joined, depth_below)
            }
        }
    }

    /// A MAC address: 6 bytes, or 12 hex digits; anything else is written as the message that it
    /// is.
    fn mac(
        &mut self,
        message: &'t Message,
        addr: u32,
        reader: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let bytes = last_bytes(addr, reader, depth)?;
        let address = bytes.try_into().ok().or_else(|| from_hex(bytes));
        match address {
            Some(address) => self.out.mac(address),
            None => self.object(message, reader, depth)?,
        }
        Ok(())
    }

    /// An IP address: 4 bytes or 16; anything else is written as the message that it is.
    fn ip(
        &mut self,
        message: &'t Message,
        addr: u32,
        reader: Reader,
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let bytes = last_bytes(addr, reader, depth)?;
        match (bytes.try_into(), bytes.try_into()) {
            (Ok(address), _) => self.out.ipv4(address),
            (_, Ok(address)) => self.out.ipv6(address),
            _ => self.object(message, reader, depth)?,
        }
        Ok(())
    }

    fn quoted(&mut self, text: &[u8]) {
        self.out.byte(b'"');
        self.out.text(text);
        self.out.byte(b'"');
    }
}

fn seconds_and_nanos(mut reader: Reader, depth: u32) -> Result<(i64, i32), Box<Fault>> {
    let (mut seconds, mut nanos) = (0, 0);
    while let Some(tag) = reader.tag()? {
        match (tag.number, tag.wire) {
            (1, Wire::Varint) => seconds = reader.int64()?,
            (2, Wire::Varint) => nanos = reader.int32()?,
            _ => reader.skip(tag, depth)?,
        }
    }
    Ok((seconds, nanos))
}

/// The places of an Any's type URL and value.
fn url_and_value(
    mut reader: Reader,
    depth: u32,
) -> Result<(Range<usize>, Range<usize>), Box<Fault>> {
    let (mut url, mut value) = (0..0, reader.at..reader.at);
    while let Some(tag) = reader.tag()? {
        match (tag.number, tag.wire) {
            (1, Wire::Len) => url = reader.delimited()?,
            (ANY_VALUE, Wire::Len) => value = reader.delimited()?,
            _ => reader.skip(tag, depth)?,
        }
    }
    Ok((url, value))
}

fn named_by(tables: &Tables, url: &[u8]) -> Option<MessageId> {
    let name = url.rsplit(|byte| *byte == b'/').next()?;
    tables.message(std::str::from_utf8(name).ok()?)
}

/// What the value of an Any is, if that can be said.
pub(super) fn any_type(tables: &Tables, fields: Reader) -> Option<MessageId> {
    let (url, _) = url_and_value(fields, DEPTH_LIMIT).ok()?;
    named_by(tables, &fields.bytes[url])
}

/// The last value of a bytes field; empty if there is none.
fn last_bytes(number: u32, mut reader: Reader<'_>, depth: u32) -> Result<&[u8], Box<Fault>> {
    if let Some(usual) = usual_bytes(number, reader.rest()) {
        return Ok(usual);
    }
    let mut last: &[u8] = &[];
    while let Some(tag) = reader.tag()? {
        if (tag.number, tag.wire) == (number, Wire::Len) {
            last = &reader.bytes[reader.delimited()?];
        } else {
            reader.skip(tag, depth)?;
        }
    }
    Ok(last)
}

/// The value of a bytes field that stands alone, or behind a small number: an address's family.
fn usual_bytes(number: u32, fields: &[u8]) -> Option<&[u8]> {
    let fields = match fields {
        [tag @ 8..0x80, 0..0x80, rest @ ..] if tag & 7 == Wire::Varint as u8 => rest,
        _ => fields,
    };
    match fields {
        [tag @ 0..0x80, length @ 0..0x80, value @ ..]
            if u32::from(*tag) == number << 3 | Wire::Len as u32
                && usize::from(*length) == value.len() =>
        {
            Some(value)
        }
        _ => None,
    }
}

/// Reads 12 hex digits.
fn from_hex(digits: &[u8]) -> Option<[u8; 6]> {
    let digits: &[u8; 12] = digits.try_into().ok()?;
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    let mut address = [0; 6];
    for (to, pair) in address.iter_mut().zip(digits.chunks(2)) {
        *to = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(address)
}

/// Appends `path` in lowerCamelCase; `None` where the way back would not lead to `path`.
fn camel_case(path: &str, to: &mut String) -> Option<()> {
    let mut after_underscore = false;
    for character in path.chars() {
        if character.is_uppercase() {
            return None;
        }
        if after_underscore {
            if !character.is_lowercase() {
                return None;
            }
            to.extend(character.to_uppercase());
            after_underscore = false;
        } else if character == '_' {
            after_underscore = true;
        } else {
            to.push(character);
        }
    }
    (!after_underscore).then_some(())
}
