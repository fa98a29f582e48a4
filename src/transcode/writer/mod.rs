//! Writes messages as JSON.
//!
//! | file | what |
//! |---|---|
//! | here | [`Writer`] and its types |
//! | `message` | chooses between the two paths for a message's fields |
//! | `fast_path` | fields in ascending order, read and written in one pass |
//! | `slow_path` | fields out of order or repeated: sorted and merged first |
//! | `values`, `lists`, `maps` | what both paths write |
//! | `well_known`, `any`, `addresses` | messages with a JSON form of their own |
//! | `joined` | the joined pieces of a message that came in several parts |

mod addresses;
pub(super) mod any;
mod fast_path;
pub(super) mod joined;
mod lists;
mod maps;
mod message;
mod slow_path;
mod values;
mod well_known;

use std::ops::Range;

use crate::transcode::JsonStyle;
use crate::transcode::json::buffer::JsonBuffer;
use crate::transcode::tables::{EnumTable, Field, MessageTable, Tables};
use crate::wire::{Problem, Tag, Wire, WireError};

/// Reads as the default of any scalar but an enum: zero, false, or of length zero.
const ABSENT: [u8; 8] = [0; 8];

/// What was written of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Value,
    /// A value that is the default of its type.
    Default,
    /// Nothing: the descriptors do not know this enum value.
    Nothing,
}

/// A list that is being written; positions in the output.
#[derive(Clone, Copy)]
struct OpenList {
    key: usize,
    /// Of the first element's comma, which becomes the bracket.
    start: usize,
}

/// Whether a message could be written in one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FastPathOutcome {
    Done,
    OutOfOrder,
}

/// An entry of a map that was read and is not yet written; positions in the buffer that it is from.
#[derive(Clone, Debug)]
struct MapEntry {
    /// The fields of the entry.
    fields: Range<usize>,
    key: MapKey,
    /// The position after the last value's tag.
    value: Option<usize>,
    /// How many values there are.
    values: u32,
}

#[derive(Clone, Debug)]
enum MapKey {
    Absent,
    Text(Range<usize>),
    Number(u64),
}

/// Writes messages of one set of tables in one style.
pub(super) struct Writer<'t> {
    tables: &'t Tables,
    messages: &'t [MessageTable],
    enums: &'t [EnumTable],
    style: JsonStyle,
    pub(super) out: JsonBuffer,
    /// Entries of the maps that are being read, innermost last.
    entries: Vec<MapEntry>,
    /// Set within a message that was out of order: its nested messages are not tried on the fast path,
    /// so that the work stays proportional to the bytes however deep they are nested.
    use_slow_path: bool,
}

impl<'t> Writer<'t> {
    pub(super) fn new(tables: &'t Tables, style: JsonStyle, out: JsonBuffer) -> Self {
        Self {
            tables,
            messages: tables.messages(style),
            enums: &tables.enums,
            style,
            out,
            entries: Vec::new(),
            use_slow_path: false,
        }
    }
}

/// Whether the tag's wire type is that of the field, or of its packed form. A field with any other is
/// unknown.
#[inline]
pub(super) fn accepts(field: &Field, tag: Tag) -> bool {
    tag.wire == field.wire() || (tag.wire == Wire::Len && field.is_packable())
}

/// The depth that is left one level further in.
#[inline]
fn deeper(depth: u32, at: usize) -> Result<u32, Box<WireError>> {
    depth.checked_sub(1).ok_or_else(|| Problem::TooDeep.at(at))
}
