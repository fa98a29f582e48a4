//! Why a payload cannot be written as JSON.

use crate::transcode::tables::{MessageId, MessageShape, Tables};
use crate::transcode::writer::accepts;
use crate::transcode::writer::any::{ANY_VALUE, any_type};
use crate::wire::{Problem, WireError, path_to};

/// Why a payload could not be written as JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset} of the payload ({message}{path})")]
pub struct DecodeError {
    pub problem: Problem,
    /// The byte of the payload.
    pub offset: usize,
    /// Full name of the payload message.
    pub message: String,
    /// The path to the field, with a dot before each name, or before the number of a field that the
    /// descriptors do not know. Empty if the tag of a field is malformed.
    pub path: String,
}

impl DecodeError {
    /// An error within `payload`, a message of type `id`.
    #[cold]
    pub(crate) fn new(tables: &Tables, id: MessageId, payload: &[u8], fault: &WireError) -> Self {
        let messages = &tables.canonical;
        let path = path_to(fault, payload, id, |message, fields, tag| {
            let field = messages[message.0 as usize].field(tag.number)?;
            if !accepts(field, tag) {
                return None;
            }
            let below = match messages[message.0 as usize].shape {
                MessageShape::Any if tag.number == ANY_VALUE => any_type(tables, fields),
                _ => field.is_message().then_some(MessageId(field.target)),
            };
            Some((field.name(), below))
        });
        Self {
            problem: fault.problem,
            offset: fault.at,
            message: tables.name(id).to_owned(),
            path,
        }
    }
}
