//! Finds the field that an error is in. Readers do not track paths: after an error the message is read once
//! more.

use std::fmt::Write as _;

use super::{DEPTH_LIMIT, Problem, Tag, Wire, WireError, WireReader};

/// A field as its message knows it: its name, and the message that it is, if it is one.
pub(crate) type Named<'n, M> = (&'n str, Option<M>);

/// The path to an error, with a dot before each field: its name, or its number if the message does not
/// know it. `name` looks up the field of a tag, given its message and the message's bytes.
pub(crate) fn path_to<'n, M>(
    fault: &WireError,
    bytes: &[u8],
    outermost: M,
    name: impl Fn(&M, WireReader<'_>, Tag) -> Option<Named<'n, M>>,
) -> String {
    let mut path = String::new();
    let mut fields = WireReader::new(bytes);
    let mut message = outermost;
    while let Some((tag, value)) = field_at(fault, fields) {
        path.push('.');
        match name(&message, fields, tag) {
            Some((name, Some(below))) if fault.at >= value.at => {
                path.push_str(name);
                (message, fields) = (below, value);
            }
            Some((name, _)) => {
                path.push_str(name);
                break;
            }
            None => {
                // Writing to a string never fails.
                let _ = write!(path, "{}", tag.number);
                break;
            }
        }
    }
    path
}

/// The field whose value has the error, and that value; `None` if the error is in a tag.
fn field_at<'a>(fault: &WireError, mut reader: WireReader<'a>) -> Option<(Tag, WireReader<'a>)> {
    loop {
        let tag = reader.tag().ok()??;
        if fault.at < reader.at {
            return None;
        }
        let value = reader;
        let range = match tag.wire {
            Wire::Len => reader.delimited(),
            Wire::Group => reader.group(tag.number, DEPTH_LIMIT),
            Wire::EndGroup => return None,
            _ => reader.skip(tag, DEPTH_LIMIT).map(|()| value.at..reader.at),
        };
        match range {
            Ok(range) if is_passed(fault, reader) => return Some((tag, value.part(range))),
            Ok(_) => {}
            // What follows cannot be read.
            Err(_) if tag.wire == Wire::Group => return Some((tag, value)),
            Err(_) => return Some((tag, value.part(value.end()..value.end()))),
        }
    }
}

/// Whether the error is in the value that the reader has just passed: before its end, or at its end if
/// something is missing there or it is an empty message.
fn is_passed(fault: &WireError, reader: WireReader) -> bool {
    fault.at < reader.at
        || (fault.at == reader.at && (reader.is_at_end() || fault.problem == Problem::TooDeep))
}
