//! What becomes a record's `data`: a payload, or one element of it.

use std::fmt::Write as _;

use super::RecordError;
use crate::config::Pick;
use crate::frame::{Internal, Stream};
use crate::schema::{Descriptors, Envelope, Payload, UnknownType};
use crate::transcode::{self, DecodeError, ElementRange, JsonStyle, MessageId, Remainder, Tables};

/// The data of one record: a payload, or one element of it.
#[derive(Clone, Copy, Debug)]
pub struct RecordData<'a> {
    pub content: Content<'a>,
    pub element: Option<Element<'a>>,
}

/// What the data is.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    Text(&'a str),
    /// JSON of an event of our own.
    Own {
        topic: Internal,
        json: &'a str,
    },
    Message {
        id: MessageId,
        /// The full name.
        name: &'a str,
        bytes: &'a [u8],
        /// The message without the elements that the route leaves out.
        remainder: Option<&'a Remainder>,
    },
}

/// Which element of a payload the data is.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    /// The field's name.
    pub name: &'a str,
    /// Its index among the elements of that field.
    pub index: u32,
    /// What the elements of the payload have in common, as JSON.
    pub parent: &'a [u8],
    /// The full name of the payload's message, and the byte at which the element begins in it.
    payload: (&'a str, usize),
}

impl<'a> RecordData<'a> {
    /// The payload of an envelope as a whole.
    ///
    /// # Errors
    /// Its type is not known.
    pub fn of(
        descriptors: &'a Descriptors,
        tables: &'a Tables,
        stream: &Stream,
        envelope: &Envelope<'a>,
    ) -> Result<Self, UnknownType> {
        let content = match envelope.payload {
            Payload::Text(text) => Content::Text(text),
            Payload::Own { topic, json } => Content::Own { topic, json },
            Payload::Message { bytes, type_url } => {
                let name = descriptors.payload_type(stream, bytes, type_url)?;
                let id = tables
                    .message(name)
                    .ok_or_else(|| UnknownType::Name(name.to_owned()))?;
                Content::Message {
                    id,
                    name,
                    bytes,
                    remainder: None,
                }
            }
        };
        Ok(Self {
            content,
            element: None,
        })
    }

    /// The full name of the message, or the type of one of our own events. Empty for text.
    #[must_use]
    pub fn message_type(&self) -> &'a str {
        match self.content {
            Content::Message { name, .. } => name,
            Content::Own { topic, .. } => topic.event_type(),
            Content::Text(_) => "",
        }
    }

    /// The type of the message; `None` for text.
    #[must_use]
    pub fn message(&self) -> Option<MessageId> {
        match self.content {
            Content::Message { id, .. } => Some(id),
            Content::Text(_) | Content::Own { .. } => None,
        }
    }

    /// The name of the field of which this is an element. Empty for a whole payload.
    #[must_use]
    pub fn element_name(&self) -> &'a str {
        self.element.map_or("", |element| element.name)
    }

    /// The bytes as Central sent them.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        match self.content {
            Content::Message { bytes, .. } => bytes,
            Content::Text(text) | Content::Own { json: text, .. } => text.as_bytes(),
        }
    }

    /// Appends what the id of this record has after the id of the frame: the element's name and index.
    pub fn append_to_id(&self, id: &mut String) {
        if let Some(element) = &self.element {
            write!(id, "/{}/{}", element.name, element.index)
                .expect("writing to a string never fails");
        }
    }

    /// Appends the data as JSON.
    pub(super) fn write_json(
        &self,
        tables: &Tables,
        style: JsonStyle,
        to: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        match self.content {
            Content::Message {
                remainder: Some(remainder),
                ..
            } => remainder.write_json(tables, style, to)?,
            Content::Message { id, bytes, .. } => {
                transcode::write_json(tables, id, bytes, style, to)
                    .map_err(|error| self.locate_in_payload(error))?;
            }
            Content::Text(text) => {
                if is_json(text) {
                    to.extend_from_slice(text.trim().as_bytes());
                } else {
                    transcode::write_string(text, to);
                }
            }
            Content::Own { json, .. } => to.extend_from_slice(json.as_bytes()),
        }
        Ok(())
    }

    /// Turns an error within this data into one within the whole payload.
    #[must_use]
    pub fn locate_in_payload(&self, error: DecodeError) -> DecodeError {
        match &self.element {
            None => error,
            Some(element) => DecodeError {
                problem: error.problem,
                offset: element.payload.1 + error.offset,
                message: element.payload.0.to_owned(),
                path: format!(".{}{}", element.name, error.path),
            },
        }
    }
}

/// Whether a text is JSON, so that it can be copied into a record.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// A payload, split into records as a route wants it.
#[derive(Debug)]
pub struct SplitPayload<'a> {
    whole: RecordData<'a>,
    /// `None`: the payload becomes one record.
    elements: Option<Vec<ElementRange<'a>>>,
    /// The payload without the elements that the route leaves out, where it becomes one record.
    remainder: Option<Remainder>,
    /// The payload without its elements, as JSON.
    parent: Vec<u8>,
}

impl<'a> SplitPayload<'a> {
    /// Splits a payload. `style` is `None` where no JSON is needed: what the elements have in common is
    /// then not written.
    ///
    /// A payload without any element becomes one record.
    ///
    /// # Errors
    /// The payload is malformed.
    pub fn of(
        whole: RecordData<'a>,
        tables: &'a Tables,
        pick: &Pick,
        style: Option<JsonStyle>,
    ) -> Result<Self, DecodeError> {
        let mut split = Self {
            whole,
            elements: None,
            remainder: None,
            parent: Vec::new(),
        };
        let Content::Message { id, bytes, .. } = whole.content else {
            return Ok(split);
        };
        if pick.split {
            let mut elements = transcode::elements(tables, id, bytes)?;
            if elements.is_empty() {
                return Ok(split);
            }
            elements.retain(|element| pick.wants(element.name));
            if let Some(style) = style {
                Remainder::of(tables, id, bytes, |_| false)?.write_json(
                    tables,
                    style,
                    &mut split.parent,
                )?;
            }
            split.elements = Some(elements);
        } else if !pick.elements.is_empty() {
            split.remainder = Some(Remainder::of(tables, id, bytes, |name| pick.wants(name))?);
        }
        Ok(split)
    }

    /// The data of each record, in the order of the wire.
    pub fn records<'s>(&'s self, tables: &'s Tables) -> impl Iterator<Item = RecordData<'s>> {
        let elements = self.elements.iter().flatten();
        let whole = self.elements.is_none().then(|| self.whole());
        elements
            .map(move |element| self.element(element, tables))
            .chain(whole)
    }

    fn whole(&self) -> RecordData<'_> {
        let mut whole: RecordData<'_> = self.whole;
        if let Content::Message { remainder, .. } = &mut whole.content {
            *remainder = self.remainder.as_ref();
        }
        whole
    }

    fn element<'s>(&'s self, element: &'s ElementRange<'a>, tables: &'s Tables) -> RecordData<'s> {
        RecordData {
            content: Content::Message {
                id: element.message,
                name: tables.name(element.message),
                bytes: &self.whole.bytes()[element.range.clone()],
                remainder: None,
            },
            element: Some(Element {
                name: element.name,
                index: element.index,
                parent: &self.parent,
                payload: (self.whole.message_type(), element.range.start),
            }),
        }
    }
}
