//! Google's well-known types, which have JSON forms of their own. They are read the same way whatever the
//! order of their fields.

use super::joined::{JoinedPieces, value_positions};
use super::{ABSENT, Writer, accepts, deeper};
use crate::rfc3339::Rfc3339;
use crate::transcode::tables::{Field, MessageShape, MessageTable, ValueKind};
use crate::wire::{Problem, Wire, WireError, WireReader};

/// 10 000 years, the longest Duration.
const DURATION_SECONDS: u64 = 315_576_000_000;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

type WriteField<'t> = fn(&mut Writer<'t>, &'t Field, WireReader, u32) -> Result<(), Box<WireError>>;

impl<'t> Writer<'t> {
    pub(super) fn well_known(
        &mut self,
        message: &'t MessageTable,
        reader: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        match message.shape {
            MessageShape::Object => self.object(message, reader, depth),
            MessageShape::Timestamp => self.timestamp(reader, depth),
            MessageShape::Duration => self.duration(reader, depth),
            MessageShape::FieldMask => self.field_mask(reader, depth),
            MessageShape::Any => self.any(reader, depth),
            MessageShape::Mac(addr) => self.mac(message, addr, reader, depth),
            MessageShape::Ip(addr) => self.ip(message, addr, reader, depth),
            MessageShape::Struct => self.with_first_field(message, reader, depth, Self::structure),
            MessageShape::ListValue => {
                self.with_first_field(message, reader, depth, Self::list_value)
            }
            MessageShape::Wrapper => self.with_first_field(message, reader, depth, Self::wrapper),
            MessageShape::Value => self.any_value(message, reader, depth),
        }
    }

    /// Calls `write` with field 1, the only one that these types have.
    fn with_first_field(
        &mut self,
        message: &'t MessageTable,
        reader: WireReader,
        depth: u32,
        write: WriteField<'t>,
    ) -> Result<(), Box<WireError>> {
        match message.field(1) {
            Some(field) => write(self, field, reader, depth),
            None => self.object(message, reader, depth),
        }
    }

    fn timestamp(&mut self, reader: WireReader, depth: u32) -> Result<(), Box<WireError>> {
        let (seconds, nanos) = seconds_and_nanos(reader, depth)?;
        let text = u32::try_from(nanos)
            .ok()
            .and_then(|nanos| Rfc3339::new(seconds, nanos, 0))
            .ok_or_else(|| Problem::Timestamp.at(reader.at))?;
        self.quoted(text.as_bytes());
        Ok(())
    }

    fn duration(&mut self, reader: WireReader, depth: u32) -> Result<(), Box<WireError>> {
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

    /// Writes a point and 3, 6 or 9 digits, or nothing.
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

    fn field_mask(&mut self, mut reader: WireReader, depth: u32) -> Result<(), Box<WireError>> {
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

    fn structure(
        &mut self,
        field: &'t Field,
        mut reader: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
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
        mut reader: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
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
        mut reader: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let mut value = WireReader::new(&ABSENT);
        while let Some(tag) = reader.tag()? {
            if tag.number == field.number() && accepts(field, tag) {
                value = reader;
            }
            reader.skip(tag, depth)?;
        }
        self.value(field, &mut value, depth).map(drop)
    }

    /// Writes a `google.protobuf.Value`: the member of its oneof that came last.
    fn any_value(
        &mut self,
        message: &'t MessageTable,
        mut reader: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let mut member: Option<(&'t Field, WireReader)> = None;
        // From here on there is no other member.
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
        if field.kind == ValueKind::Double {
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
        since: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let depth_below = deeper(depth, since.at)?;
        match value_positions(field, since, depth)?[..] {
            [at] => {
                let mut value = WireReader::starting_at(at, since.bytes);
                self.value(field, &mut value, depth).map(drop)
            }
            ref pieces => {
                let pieces = pieces.iter().copied();
                let joined = JoinedPieces::new(field, pieces, since.bytes, depth)?;
                self.joined(field.target, &joined, depth_below)
            }
        }
    }

    fn quoted(&mut self, text: &[u8]) {
        self.out.byte(b'"');
        self.out.text(text);
        self.out.byte(b'"');
    }
}

fn seconds_and_nanos(mut reader: WireReader, depth: u32) -> Result<(i64, i32), Box<WireError>> {
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

/// Appends `path` in lowerCamelCase; `None` if that could not be turned back into `path`.
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
