//! Makes records of frames: pure work, done away from the task that sends.

use std::ops::Range;
use std::sync::Arc;

use super::window::Position;
use crate::config::{Format, Route};
use crate::frame::{Frame, Timestamp};
use crate::journal::{Batch, Entry};
use crate::record::{self, About, RecordError};
use crate::route::{Alphabet, Routes, Values, render};
use crate::schema::{Envelope, Payload, Schema};
use crate::sink::{Attributes, Record};
use crate::transcode::Tables;

/// Attributes of one record at most.
const ATTRIBUTES: usize = 11;

/// What every sink's records are decoded with.
#[derive(Clone, Debug)]
pub struct Decoder {
    schema: Arc<Schema>,
    tables: Arc<Tables>,
}

impl Decoder {
    #[must_use]
    pub fn new(schema: Schema) -> Self {
        Self {
            tables: Arc::new(Tables::compile(schema.pool())),
            schema: Arc::new(schema),
        }
    }
}

/// Knows which records one sink wants, and makes them.
#[derive(Debug)]
pub struct Preparer {
    decoder: Decoder,
    routes: Routes,
    /// What a destination of this sink may be made of.
    alphabet: Alphabet,
}

/// A batch of frames as records, all their bytes in two buffers.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// Destinations, keys and attributes.
    text: String,
    payloads: Vec<u8>,
    attributes: Vec<(&'static str, Range<usize>)>,
    steps: Vec<Step>,
    next: usize,
}

/// What is to be done next with a frame, and the position behind it.
#[derive(Debug)]
struct Step {
    offset: u64,
    then: Position,
    what: What,
}

#[derive(Debug)]
enum What {
    Record(Spans),
    Undecodable(String),
    Nothing,
}

/// Where the parts of a record are.
#[derive(Debug)]
struct Spans {
    received_at: Timestamp,
    destination: Range<usize>,
    key: Option<Range<usize>>,
    payload: Range<usize>,
    attributes: Range<usize>,
    content_type: &'static str,
    timestamp: i64,
}

/// One step for the task that sends.
#[derive(Debug)]
pub(super) enum Item<'a> {
    Record {
        /// Its frame's.
        offset: u64,
        then: Position,
        received_at: Timestamp,
        record: Record<'a>,
    },
    /// A frame, or one route of it, that cannot be decoded.
    Undecodable {
        offset: u64,
        then: Position,
        why: &'a str,
    },
    /// No route wants it.
    Nothing { then: Position },
}

impl Prepared {
    /// The next step, in the order of the journal.
    pub(super) fn next(&mut self) -> Option<Item<'_>> {
        let step = self.steps.get(self.next)?;
        self.next += 1;
        let (offset, then) = (step.offset, step.then);
        Some(match &step.what {
            What::Record(spans) => Item::Record {
                offset,
                then,
                received_at: spans.received_at,
                record: self.record(spans),
            },
            What::Undecodable(why) => Item::Undecodable { offset, then, why },
            What::Nothing => Item::Nothing { then },
        })
    }

    fn record(&self, spans: &Spans) -> Record<'_> {
        let key = spans.key.clone().map(|key| self.text[key].as_bytes());
        Record {
            destination: &self.text[spans.destination.clone()],
            key,
            payload: &self.payloads[spans.payload.clone()],
            attributes: Attributes::new(&self.text, &self.attributes[spans.attributes.clone()]),
            content_type: spans.content_type,
            timestamp: spans.timestamp,
        }
    }
}

impl Preparer {
    #[must_use]
    pub fn new(decoder: Decoder, routes: Routes, alphabet: Alphabet) -> Self {
        Self {
            decoder,
            routes,
            alphabet,
        }
    }

    /// All records of a batch, but for those that lie before `from`.
    pub(super) fn prepare(&self, batch: &Batch, from: Position) -> Prepared {
        let mut prepared = Prepared::default();
        for entry in &batch.entries {
            self.add_frame(entry, from, &mut prepared);
        }
        prepared
    }

    fn add_frame(&self, entry: &Entry, from: Position, prepared: &mut Prepared) {
        let frame = &entry.frame;
        let mut routes = self.routes.matching(&frame.subscription).peekable();
        let offset = entry.offset;
        let behind = Position {
            offset: offset + 1,
            record: 0,
        };
        let concerns_another = entry
            .refusal
            .as_ref()
            .is_some_and(|refusal| refusal.sink != self.routes.sink());
        if concerns_another || routes.peek().is_none() {
            return prepared.push(offset, behind, What::Nothing);
        }
        let opened = match Opened::new(&self.decoder, frame, prepared) {
            Ok(opened) => opened,
            Err(error) => {
                let why = What::Undecodable(error.to_string());
                return prepared.push(offset, behind, why);
            }
        };
        let mut at = Position { offset, record: 0 };
        while let Some(route) = routes.next() {
            let then = match routes.peek() {
                Some(_) => Position {
                    record: at.record + 1,
                    ..at
                },
                None => behind,
            };
            if at >= from {
                let what = match self.record(route, &opened, prepared) {
                    Ok(spans) => What::Record(spans),
                    Err(error) => What::Undecodable(error.to_string()),
                };
                prepared.push(offset, then, what);
            }
            at = then;
        }
    }

    fn record(
        &self,
        route: &Route,
        opened: &Opened<'_>,
        prepared: &mut Prepared,
    ) -> Result<Spans, RecordError> {
        let payload_start = prepared.payloads.len();
        match route.format {
            Format::Json => self
                .decoder
                .write_json(route, opened, &mut prepared.payloads)?,
            Format::Protobuf => prepared.payloads.extend_from_slice(opened.payload_bytes()),
            Format::Frame => prepared.payloads.extend_from_slice(&opened.frame.payload),
        }
        let payload = payload_start..prepared.payloads.len();
        let values = opened.values();
        let destination = prepared.append(|text| {
            render(&route.destination, &values, self.alphabet, text);
        });
        let key = route
            .key
            .as_ref()
            .map(|key| prepared.append(|text| render(key, &values, Alphabet::Any, text)));
        Ok(Spans {
            received_at: opened.frame.received_at,
            destination,
            key,
            payload,
            attributes: opened.attributes.clone(),
            content_type: content_type(route.format),
            timestamp: opened.timestamp(),
        })
    }
}

impl Decoder {
    fn write_json(
        &self,
        route: &Route,
        opened: &Opened<'_>,
        to: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        let subscription = &opened.frame.subscription;
        let about = About {
            id: Some(&opened.id),
            account: Some(subscription.account()),
            stream: subscription.stream(),
            received_at: Some(opened.frame.received_at),
        };
        record::write(
            &self.schema,
            &self.tables,
            route.json,
            &about,
            &opened.envelope,
            to,
        )
    }
}

/// A frame with what all its records have in common.
struct Opened<'a> {
    frame: &'a Frame,
    envelope: Envelope<'a>,
    id: String,
    /// Empty for a payload that is text.
    message_type: &'a str,
    attributes: Range<usize>,
}

impl<'a> Opened<'a> {
    fn new(
        decoder: &'a Decoder,
        frame: &'a Frame,
        prepared: &mut Prepared,
    ) -> Result<Self, RecordError> {
        let subscription = &frame.subscription;
        let stream = subscription.stream();
        let envelope = Envelope::open(stream, &frame.payload)?;
        let id = match &envelope.event {
            Some(event) => event.id.to_owned(),
            None => record::classic_id(subscription.account(), stream.topic(), &frame.payload),
        };
        let message_type = match envelope.payload {
            Payload::Message { bytes, type_url } => {
                decoder.schema.payload_type(stream, bytes, type_url)?
            }
            Payload::Text(_) => "",
        };
        let mut opened = Self {
            frame,
            envelope,
            id,
            message_type,
            attributes: 0..0,
        };
        opened.attributes = opened.add_attributes(prepared);
        Ok(opened)
    }

    fn add_attributes(&self, prepared: &mut Prepared) -> Range<usize> {
        let start = prepared.attributes.len();
        prepared.attributes.reserve(ATTRIBUTES);
        let subscription = &self.frame.subscription;
        let (account, topic) = (subscription.account(), subscription.topic());
        prepared.attribute("specversion", &["1.0"]);
        prepared.attribute("id", &[&self.id]);
        if let Some(event) = &self.envelope.event {
            prepared.attribute("source", &[event.source]);
            prepared.attribute("type", &[event.event_type]);
        } else {
            prepared.attribute("source", &["/central/", account]);
            prepared.attribute("type", &["central.classic.", topic]);
        }
        if let Some(time) = self.envelope.time.rfc3339() {
            prepared.attribute("time", &[&time]);
        }
        prepared.attribute("subject", &[self.envelope.subject]);
        prepared.attribute("account", &[account]);
        prepared.attribute("topic", &[topic]);
        prepared.attribute("customerid", &[self.envelope.customer_id]);
        prepared.attribute("mspid", &[self.envelope.msp_id]);
        prepared.attribute("messagetype", &[self.message_type]);
        start..prepared.attributes.len()
    }

    fn values(&self) -> Values<'_> {
        Values {
            account: self.frame.subscription.account(),
            topic: self.frame.subscription.topic(),
            subject: self.envelope.subject,
            customer_id: self.envelope.customer_id,
            msp_id: self.envelope.msp_id,
            message_type: self.message_type,
            element: "",
            id: &self.id,
            data: &|_, _| {},
        }
    }

    fn payload_bytes(&self) -> &[u8] {
        match self.envelope.payload {
            Payload::Message { bytes, .. } => bytes,
            Payload::Text(text) => text.as_bytes(),
        }
    }

    /// When it happened; where the envelope does not say, when it was received. Milliseconds.
    fn timestamp(&self) -> i64 {
        match self.envelope.timestamp {
            0 => self.frame.received_at.0 / 1000,
            _ => self.envelope.time.millis(),
        }
    }
}

impl Prepared {
    fn push(&mut self, offset: u64, then: Position, what: What) {
        self.steps.push(Step { offset, then, what });
    }

    fn append(&mut self, write: impl FnOnce(&mut String)) -> Range<usize> {
        let start = self.text.len();
        write(&mut self.text);
        start..self.text.len()
    }

    /// Adds an attribute whose value is put together of parts, unless it is empty.
    fn attribute(&mut self, name: &'static str, parts: &[&str]) {
        let value = self.append(|text| text.extend(parts.iter().copied()));
        if !value.is_empty() {
            self.attributes.push((name, value));
        }
    }
}

fn content_type(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Protobuf => "application/protobuf",
        Format::Frame => "application/octet-stream",
    }
}
