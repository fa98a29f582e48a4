//! What a record is about: a payload, or one element of it.

use std::fmt::Write as _;

use super::RecordError;
use crate::config::Pick;
use crate::frame::{Internal, Stream};
use crate::schema::{Envelope, Payload, Schema, UnknownType};
use crate::transcode::{self, DecodeError, JsonStyle, MessageId, Part, Rest, Tables};

/// One payload, or an element of one.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub content: Content<'a>,
    pub element: Option<Element<'a>>,
}

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
        /// What is written where parts are left out.
        rest: Option<&'a Rest>,
    },
}

/// Which element of a payload it is.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    /// The field's name.
    pub name: &'a str,
    /// Its place among the elements of that field.
    pub index: u32,
    /// What the elements of the payload have in common, as JSON.
    pub parent: &'a [u8],
    /// The payload's message, and where the element begins in it.
    payload: (&'a str, usize),
}

impl<'a> Subject<'a> {
    /// The payload of an envelope as a whole.
    ///
    /// # Errors
    /// Its type is not known.
    pub fn of(
        schema: &'a Schema,
        tables: &'a Tables,
        stream: &Stream,
        envelope: &Envelope<'a>,
    ) -> Result<Self, UnknownType> {
        let content = match envelope.payload {
            Payload::Text(text) => Content::Text(text),
            Payload::Own { topic, json } => Content::Own { topic, json },
            Payload::Message { bytes, type_url } => {
                let name = schema.payload_type(stream, bytes, type_url)?;
                let id = tables
                    .message(name)
                    .ok_or_else(|| UnknownType::Name(name.to_owned()))?;
                Content::Message {
                    id,
                    name,
                    bytes,
                    rest: None,
                }
            }
        };
        Ok(Self {
            content,
            element: None,
        })
    }

    /// The message's full name, or the type of an event of our own; empty for text.
    #[must_use]
    pub fn message_type(&self) -> &'a str {
        match self.content {
            Content::Message { name, .. } => name,
            Content::Own { topic, .. } => topic.event_type(),
            Content::Text(_) => "",
        }
    }

    /// Its message; `None`: text.
    #[must_use]
    pub fn message(&self) -> Option<MessageId> {
        match self.content {
            Content::Message { id, .. } => Some(id),
            Content::Text(_) | Content::Own { .. } => None,
        }
    }

    /// The name of the field that it is an element of; empty for a whole payload.
    #[must_use]
    pub fn element_name(&self) -> &'a str {
        self.element.map_or("", |element| element.name)
    }

    /// Its bytes as Central sent them.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        match self.content {
            Content::Message { bytes, .. } => bytes,
            Content::Text(text) | Content::Own { json: text, .. } => text.as_bytes(),
        }
    }

    /// Appends what comes behind the frame's id in the id of this record: the element's name and
    /// index.
    pub fn append_to_id(&self, id: &mut String) {
        if let Some(element) = &self.element {
            write!(id, "/{}/{}", element.name, element.index)
                .expect("writing to a string never fails");
        }
    }

    /// Appends it as JSON.
    pub(super) fn write_data(
        &self,
        tables: &Tables,
        style: JsonStyle,
        to: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        match self.content {
            Content::Message {
                rest: Some(rest), ..
            } => rest.write_json(tables, style, to)?,
            Content::Message { id, bytes, .. } => {
                transcode::write_json(tables, id, bytes, style, to)
                    .map_err(|error| self.in_payload(error))?;
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

    /// An error within an element, as one within the payload.
    #[must_use]
    pub fn in_payload(&self, error: DecodeError) -> DecodeError {
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

/// Whether a text is JSON, and can stand in a record as it is.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// A payload, taken apart as a route wants it.
#[derive(Debug)]
pub struct Parts<'a> {
    whole: Subject<'a>,
    /// `None`: it is one subject.
    elements: Option<Vec<Part<'a>>>,
    rest: Option<Rest>,
    parent: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Takes a payload apart. Where no JSON is made there is no style, and what the elements have
    /// in common is not written.
    ///
    /// A payload without any element stays whole.
    ///
    /// # Errors
    /// The payload is malformed.
    pub fn of(
        whole: Subject<'a>,
        tables: &'a Tables,
        pick: &Pick,
        style: Option<JsonStyle>,
    ) -> Result<Self, DecodeError> {
        let mut parts = Self {
            whole,
            elements: None,
            rest: None,
            parent: Vec::new(),
        };
        let Content::Message { id, bytes, .. } = whole.content else {
            return Ok(parts);
        };
        if pick.split {
            let mut elements = transcode::parts(tables, id, bytes)?;
            if elements.is_empty() {
                return Ok(parts);
            }
            elements.retain(|part| pick.wants(part.name));
            if let Some(style) = style {
                Rest::of(tables, id, bytes, |_| false)?.write_json(
                    tables,
                    style,
                    &mut parts.parent,
                )?;
            }
            // Elements that nobody wants are not looked at in any other way.
            parts.elements = Some(elements);
        } else if !pick.elements.is_empty() {
            parts.rest = Some(Rest::of(tables, id, bytes, |name| pick.wants(name))?);
        }
        Ok(parts)
    }

    /// What records are to be made of, in the order of the wire.
    pub fn subjects<'s>(&'s self, tables: &'s Tables) -> impl Iterator<Item = Subject<'s>> {
        let elements = self.elements.iter().flatten();
        let whole = self.elements.is_none().then(|| self.whole());
        elements
            .map(move |part| self.element(part, tables))
            .chain(whole)
    }

    fn whole(&self) -> Subject<'_> {
        let mut whole: Subject<'_> = self.whole;
        if let Content::Message { rest, .. } = &mut whole.content {
            *rest = self.rest.as_ref();
        }
        whole
    }

    fn element<'s>(&'s self, part: &'s Part<'a>, tables: &'s Tables) -> Subject<'s> {
        Subject {
            content: Content::Message {
                id: part.message,
                name: tables.name(part.message),
                bytes: &self.whole.bytes()[part.range.clone()],
                rest: None,
            },
            element: Some(Element {
                name: part.name,
                index: part.index,
                parent: &self.parent,
                payload: (self.whole.message_type(), part.range.start),
            }),
        }
    }
}
