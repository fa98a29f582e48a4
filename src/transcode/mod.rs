//! Protobuf to JSON: from wire bytes straight to text, by tables compiled from the descriptors.
//!
//! There is no tree of values in between. A message whose fields come in ascending order, as every
//! serializer writes them, is read and written in one pass (`order`). Where a field turns out to
//! be out of order, or to come again, what was written of that message is taken back, and its
//! fields are first sorted and merged as Google's runtimes do (`disorder`).

mod compile;
mod disorder;
mod error;
mod float;
mod line;
mod lookup;
mod maps;
mod order;
mod out;
mod parts;
mod rules;
mod tables;
mod text;
mod well_known;
mod write;

use std::mem;

pub use self::error::DecodeError;
pub use self::lookup::{Found, Kind, NoPath, Path, Value};
pub use self::parts::{Part, Rest, parts, repeated_messages};
pub use self::tables::{MessageId, Tables};
pub use crate::config::JsonStyle;

use self::out::Out;
use self::write::Writer;
use crate::wire::{DEPTH_LIMIT, Reader};

/// How much longer JSON is than what it is made of, as a rule.
const USUAL_GROWTH: usize = 4;

/// Appends `payload`, a message of type `id`, to `to` as JSON.
///
/// # Errors
/// The payload is malformed, or has no JSON form. `to` is then as it was.
pub fn write_json(
    tables: &Tables,
    id: MessageId,
    payload: &[u8],
    style: JsonStyle,
    to: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let mut out = Out::after(mem::take(to));
    out.room(payload.len() * USUAL_GROWTH);
    let mut writer = Writer::new(tables, style, out);
    match writer.message(id.0, Reader::new(payload), DEPTH_LIMIT) {
        Ok(()) => {
            *to = writer.out.finish();
            Ok(())
        }
        Err(fault) => {
            *to = writer.out.abandon();
            Err(DecodeError::new(tables, id, payload, &fault))
        }
    }
}

/// Appends `text` to `to` as a JSON string.
pub fn write_string(text: &str, to: &mut Vec<u8>) {
    let mut out = Out::after(mem::take(to));
    // Cannot fail: text is UTF-8.
    let _ = out.string(text.as_bytes(), 0..text.len());
    *to = out.finish();
}

/// Appends `number` to `to`.
pub fn write_integer(number: i64, to: &mut Vec<u8>) {
    to.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A float as JSON has it: in quotes where it is not a number.
fn float_text(value: f64) -> String {
    let mut out = Out::after(Vec::new());
    out.double(value);
    String::from_utf8(out.finish()).expect("digits and names are ASCII")
}
