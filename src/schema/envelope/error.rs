//! What is wrong with a frame, and in which field.

use crate::wire::{Problem, WireError, path_to};

/// Why a frame could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the frame is empty, at byte 0")]
    Empty,
    #[error("{problem} at byte {offset} of the frame ({path})")]
    Malformed {
        problem: Problem,
        offset: usize,
        /// The envelope's message and the fields that lead there.
        path: String,
    },
    #[error(
        "the event {id:?} carries no data: none up to byte {length} of the frame \
         (cloudevents.v1.CloudEvent.data)"
    )]
    NoData { id: String, length: usize },
}

/// What the fields of an envelope's message are called.
#[derive(Debug)]
pub(super) struct Names {
    message: &'static str,
    fields: &'static [(u32, &'static str, Option<&'static Names>)],
}

pub(super) const CLASSIC: Names = Names {
    message: "StreamMessage.MsgProto",
    fields: &[
        (2, "subject", None),
        (3, "data", None),
        (4, "timestamp", None),
        (5, "customer_id", None),
        (6, "msp_id", None),
    ],
};

pub(super) const EVENT: Names = Names {
    message: "cloudevents.v1.CloudEvent",
    fields: &[
        (1, "id", None),
        (2, "source", None),
        (3, "specversion", None),
        (4, "type", None),
        (5, "attributes", Some(&ATTRIBUTE)),
        (6, "binary_data", None),
        (7, "text_data", None),
        (8, "proto_data", Some(&ANY)),
        (9, "time", Some(&TIMESTAMP)),
        (10, "datacontenttype", None),
        (11, "dataschema", None),
    ],
};

const ATTRIBUTE: Names = Names {
    message: "cloudevents.v1.CloudEvent.AttributesEntry",
    fields: &[(1, "key", None), (2, "value", Some(&ATTRIBUTE_VALUE))],
};

const ATTRIBUTE_VALUE: Names = Names {
    message: "cloudevents.v1.CloudEventAttributeValue",
    fields: &[
        (1, "ce_boolean", None),
        (2, "ce_integer", None),
        (3, "ce_string", None),
        (4, "ce_bytes", None),
        (5, "ce_uri", None),
        (6, "ce_uri_ref", None),
        (7, "ce_timestamp", Some(&TIMESTAMP)),
    ],
};

const ANY: Names = Names {
    message: "google.protobuf.Any",
    fields: &[(1, "type_url", None), (2, "value", None)],
};

const TIMESTAMP: Names = Names {
    message: "google.protobuf.Timestamp",
    fields: &[(1, "seconds", None), (2, "nanos", None)],
};

impl EnvelopeError {
    /// An error within `frame`, an envelope whose fields have these names.
    #[cold]
    pub(super) fn of(names: &'static Names, frame: &[u8], fault: &WireError) -> Self {
        let path = path_to(fault, frame, names, |message, _, tag| {
            let mut fields = message.fields.iter();
            let (_, name, below) = fields.find(|(number, ..)| *number == tag.number)?;
            Some((*name, *below))
        });
        Self::Malformed {
            problem: fault.problem,
            offset: fault.at,
            path: names.message.to_owned() + &path,
        }
    }

    /// An error within an event of our own, which has no fields.
    pub(super) fn of_own(event_type: &str, fault: &WireError) -> Self {
        Self::Malformed {
            problem: fault.problem,
            offset: fault.at,
            path: event_type.to_owned(),
        }
    }

    pub(super) fn no_data(id: &str, frame: &[u8]) -> Self {
        Self::NoData {
            id: id.to_owned(),
            length: frame.len(),
        }
    }
}
