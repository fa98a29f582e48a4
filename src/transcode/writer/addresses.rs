//! MAC and IP addresses, which the readable style writes as text.

use super::Writer;
use crate::transcode::tables::MessageTable;
use crate::wire::{Wire, WireError, WireReader};

impl<'t> Writer<'t> {
    /// Writes a MAC address of 6 bytes or 12 hex digits; anything else as the message that it is.
    pub(super) fn mac(
        &mut self,
        message: &'t MessageTable,
        addr: u32,
        reader: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let bytes = last_bytes(addr, reader, depth)?;
        let address = bytes.try_into().ok().or_else(|| from_hex(bytes));
        match address {
            Some(address) => self.out.mac(address),
            None => self.object(message, reader, depth)?,
        }
        Ok(())
    }

    /// Writes an IP address of 4 or 16 bytes; anything else as the message that it is.
    pub(super) fn ip(
        &mut self,
        message: &'t MessageTable,
        addr: u32,
        reader: WireReader,
        depth: u32,
    ) -> Result<(), Box<WireError>> {
        let bytes = last_bytes(addr, reader, depth)?;
        match (bytes.try_into(), bytes.try_into()) {
            (Ok(address), _) => self.out.ipv4(address),
            (_, Ok(address)) => self.out.ipv6(address),
            _ => self.object(message, reader, depth)?,
        }
        Ok(())
    }
}

/// The last value of a bytes field; empty if there is none.
fn last_bytes(
    number: u32,
    mut reader: WireReader<'_>,
    depth: u32,
) -> Result<&[u8], Box<WireError>> {
    if let Some(usual) = bytes_of_usual_layout(number, reader.rest()) {
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

/// The value of a bytes field that is alone or follows a small number, the address's family. Saves the
/// loop for what Central sends.
fn bytes_of_usual_layout(number: u32, fields: &[u8]) -> Option<&[u8]> {
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
