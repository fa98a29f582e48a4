//! Protobuf to JSON: from wire bytes straight to text, with tables compiled from the descriptors.
//!
//! There is no tree of values in between. A message whose fields come in ascending order, as every
//! serializer writes them, is read and written in one pass (`writer::fast_path`). If a field turns out to
//! be out of order or repeated, what was written of that message is taken back, and its fields are first
//! sorted and merged as Google's runtimes do (`writer::slow_path`).
//!
//! | room | what |
//! |---|---|
//! | `tables` | what is known of each message and field |
//! | `writer` | messages, fields and values |
//! | `json` | the text that is being written |
//! | `lookup` | the values of one field, for filters and templates |
//! | `elements` | the elements of a payload, and what remains without them |

mod elements;
mod error;
mod json;
mod lookup;
mod tables;
mod writer;

use std::mem;

pub use self::elements::{ElementRange, Remainder, elements, repeated_messages};
pub use self::error::DecodeError;
pub use self::lookup::{FieldPath, FieldValue, InvalidPath, PathKind, Value};
pub use self::tables::{MessageId, Tables};
pub use crate::config::JsonStyle;

use self::json::buffer::JsonBuffer;
use self::writer::Writer;
use crate::wire::{DEPTH_LIMIT, WireReader};

/// JSON is usually no more than this many times as long as the payload.
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
    let mut out = JsonBuffer::after(mem::take(to));
    out.room(payload.len() * USUAL_GROWTH);
    let mut writer = Writer::new(tables, style, out);
    match writer.message(id.0, WireReader::new(payload), DEPTH_LIMIT) {
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
    let mut out = JsonBuffer::after(mem::take(to));
    // Cannot fail: text is UTF-8.
    let _ = out.string(text.as_bytes(), 0..text.len());
    *to = out.finish();
}

/// Appends `number` to `to`.
pub fn write_integer(number: i64, to: &mut Vec<u8>) {
    to.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A float as JSON text: in quotes if it is infinite or not a number.
fn float_text(value: f64) -> String {
    let mut out = JsonBuffer::after(Vec::new());
    out.double(value);
    String::from_utf8(out.finish()).expect("digits and names are ASCII")
}
