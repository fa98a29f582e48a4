use super::tables::Field;
use crate::wire::{Fault, Problem};

/// Why a payload could not be written as JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset} of the payload ({message}{path})")]
pub struct DecodeError {
    pub problem: Problem,
    /// Byte of the payload.
    pub offset: usize,
    /// Full name of the payload message.
    pub message: String,
    /// The names of the fields that lead there, each with a dot before it.
    pub path: String,
}

impl DecodeError {
    /// `fields` leads from the innermost field outwards.
    pub(super) fn new(message: &str, fields: &[&Field], fault: Fault) -> Self {
        let mut path = String::new();
        for field in fields.iter().rev() {
            path.push('.');
            path.push_str(field.name());
        }
        Self {
            problem: fault.problem,
            offset: fault.at,
            message: message.to_owned(),
            path,
        }
    }
}
