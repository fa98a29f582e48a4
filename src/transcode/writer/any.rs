//! `google.protobuf.Any`.

use std::ops::Range;

use super::{Writer, deeper};
use crate::transcode::JsonStyle;
use crate::transcode::tables::{MessageId, MessageShape, Tables};
use crate::wire::{DEPTH_LIMIT, Problem, Wire, WireError, WireReader};

/// The field of an Any that holds a message.
pub(crate) const ANY_VALUE: u32 = 2;

impl Writer<'_> {
    /// Writes an Any with a known type as the message that it holds.
    pub(super) fn any(&mut self, reader: WireReader, depth: u32) -> Result<(), Box<WireError>> {
        let start_of_any = reader.at;
        let (url, value) = url_and_value(reader, depth)?;
        if url.is_empty() && value.is_empty() {
            self.out.text(b"{}");
            return Ok(());
        }
        let start = self.out.position();
        self.out.text(b",\"@type\":");
        self.string(reader.bytes, url.clone())?;
        match type_of_url(self.tables, &reader.bytes[url]) {
            Some(id) => self.any_of(id.0, reader.part(value), deeper(depth, start_of_any)?)?,
            None if self.style == JsonStyle::Readable => {
                self.out.text(b",\"value\":");
                self.out.base64(&reader.bytes[value]);
            }
            None => return Err(Problem::UnknownAny.at(start_of_any)),
        }
        self.out.enclose(start, b'{', b'}');
        Ok(())
    }

    fn any_of(&mut self, id: u32, reader: WireReader, depth: u32) -> Result<(), Box<WireError>> {
        let message = &self.messages[id as usize];
        if message.shape == MessageShape::Object {
            self.fields(message, reader, depth)
        } else {
            self.out.text(b",\"value\":");
            self.well_known(message, reader, depth)
        }
    }
}

/// The positions of an Any's type URL and value.
fn url_and_value(
    mut reader: WireReader,
    depth: u32,
) -> Result<(Range<usize>, Range<usize>), Box<WireError>> {
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

fn type_of_url(tables: &Tables, url: &[u8]) -> Option<MessageId> {
    let name = url.rsplit(|byte| *byte == b'/').next()?;
    tables.message(std::str::from_utf8(name).ok()?)
}

/// The type of an Any's value, if it is known.
pub(crate) fn any_type(tables: &Tables, fields: WireReader) -> Option<MessageId> {
    let (url, _) = url_and_value(fields, DEPTH_LIMIT).ok()?;
    type_of_url(tables, &fields.bytes[url])
}
