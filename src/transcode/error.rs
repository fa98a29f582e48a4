use super::tables::{MessageId, Shape, Tables};
use super::well_known::{ANY_VALUE, any_type};
use super::write::accepts;
use crate::wire::{Fault, Problem, path_to};

/// Why a payload could not be written as JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset} of the payload ({message}{path})")]
pub struct DecodeError {
    pub problem: Problem,
    /// Byte of the payload.
    pub offset: usize,
    /// Full name of the payload message.
    pub message: String,
    /// The fields that lead there, each with a dot before it: by name, or by number where the
    /// schema does not know them. None where what is malformed is the tag of a field.
    pub path: String,
}

impl DecodeError {
    /// An error within `payload`, a message of type `id`.
    #[cold]
    pub(super) fn new(tables: &Tables, id: MessageId, payload: &[u8], fault: &Fault) -> Self {
        let messages = &tables.canonical;
        let path = path_to(fault, payload, id, |message, fields, tag| {
            let field = messages[message.0 as usize].field(tag.number)?;
            if !accepts(field, tag) {
                return None;
            }
            let below = match messages[message.0 as usize].shape {
                Shape::Any if tag.number == ANY_VALUE => any_type(tables, fields),
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
