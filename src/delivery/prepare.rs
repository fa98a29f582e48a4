//! Makes records of frames: pure work, done away from the task that sends.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use prost_reflect::MessageDescriptor;

use super::plan::{Plan, Plans};
use super::window::Position;
use crate::config::{self, Format};
use crate::frame::{Frame, Internal, Stream, Timestamp};
use crate::journal::{Batch, Entry};
use crate::record::{self, Content, RecordData, RecordError, RecordMetadata, SplitPayload};
use crate::route::{CompiledRoute, DestinationCharset, Routes, TemplateValues, render};
use crate::schema::Envelope;
use crate::sink::{Attributes, Record};

/// Attributes of one record at most.
const ATTRIBUTES: usize = 12;

/// Buffers of a sent batch are used again up to so many bytes: some ten times what one needs as a rule.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Knows which records one sink wants, and makes them.
#[derive(Debug)]
pub struct Preparer {
    plans: Plans,
    sink: String,
    /// What a destination of this sink may be made of.
    charset: DestinationCharset,
}

/// Where sending begins again. Records of a frame are counted as the plan of this generation has
/// them: by another, the frame is begun anew, lest a record be missed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resume {
    pub(super) at: Position,
    pub(super) generation: u64,
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
    message: Option<MessageDescriptor>,
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
    /// Room for the next batch, with the buffers of one that is sent; those of an unusually large one
    /// are let go.
    pub(super) fn emptied(mut self) -> Self {
        if self.payloads.capacity() + self.text.capacity() > KEPT_BYTES {
            return Self::default();
        }
        self.text.clear();
        self.payloads.clear();
        self.attributes.clear();
        self.steps.clear();
        self.next = 0;
        self
    }

    /// All its steps have been given out.
    pub(super) fn is_over(&self) -> bool {
        self.next >= self.steps.len()
    }

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

    fn record<'a>(&'a self, spans: &'a Spans) -> Record<'a> {
        let key = spans.key.clone().map(|key| self.text[key].as_bytes());
        Record {
            destination: &self.text[spans.destination.clone()],
            key,
            payload: &self.payloads[spans.payload.clone()],
            attributes: Attributes::new(&self.text, &self.attributes[spans.attributes.clone()]),
            content_type: spans.content_type,
            message: spans.message.as_ref(),
            timestamp: spans.timestamp,
        }
    }
}

impl Preparer {
    #[must_use]
    pub fn new(plans: Plans, sink: impl Into<String>, charset: DestinationCharset) -> Self {
        Self {
            plans,
            sink: sink.into(),
            charset,
        }
    }

    /// That of the plan that holds now.
    pub(super) fn generation(&self) -> u64 {
        self.plans.borrow().generation
    }

    /// Whether any route, to this sink or another, takes events of our own.
    pub(super) fn wants(&self, topic: Internal) -> bool {
        self.plans.borrow().wants(topic)
    }

    /// All records of a batch, but for those that lie before `from`, written to an empty `prepared`.
    pub(super) fn prepare(&self, batch: &Batch, from: Resume, prepared: Prepared) -> Prepared {
        let plan = Arc::clone(&self.plans.borrow());
        let from = if plan.generation == from.generation {
            from.at
        } else {
            Position {
                record: 0,
                ..from.at
            }
        };
        let mut maker = Maker {
            plan: &plan,
            sink: &self.sink,
            routes: plan.routes(&self.sink),
            charset: self.charset,
            from,
            prepared,
        };
        for entry in &batch.entries {
            maker.add_frame(entry);
        }
        maker.prepared.end_at(batch.end);
        maker.prepared
    }
}

/// Makes the records of one batch.
struct Maker<'p> {
    plan: &'p Plan,
    sink: &'p str,
    routes: Option<&'p Routes>,
    charset: DestinationCharset,
    from: Position,
    prepared: Prepared,
}

impl<'p> Maker<'p> {
    fn add_frame(&mut self, entry: &Entry) {
        let offset = entry.offset;
        let behind = Position {
            offset: offset + 1,
            record: 0,
        };
        let before = self.prepared.steps.len();
        if let Err(error) = self.add_records(entry) {
            let why = What::Undecodable(error.to_string());
            self.prepared.push(offset, behind, why);
        }
        if self.prepared.steps.len() == before {
            return self.prepared.push(offset, behind, What::Nothing);
        }
        if let Some(last) = self.prepared.steps.last_mut() {
            last.then = behind;
        }
    }

    /// Adds what each route makes of a frame. An error is one of the whole frame.
    fn add_records(&mut self, entry: &Entry) -> Result<(), RecordError> {
        let frame = &entry.frame;
        let concerns_another = entry
            .refusal
            .as_ref()
            .is_some_and(|refusal| refusal.sink != self.sink);
        let routes = self.routes.filter(|_| !concerns_another).into_iter();
        let mut routes = routes
            .flat_map(|routes| routes.matching(&frame.subscription))
            .peekable();
        if routes.peek().is_none() {
            return Ok(());
        }
        let opened = Opened::new(self.plan, frame, &mut self.prepared)?;
        let mut at = Position {
            offset: entry.offset,
            record: 0,
        };
        for route in routes {
            if let Err(error) = self.add_route(route, &opened, &mut at) {
                at.record += 1;
                self.push_undecodable(at, &error);
            }
        }
        Ok(())
    }

    fn add_route(
        &mut self,
        route: &'p CompiledRoute,
        opened: &Opened<'_>,
        at: &mut Position,
    ) -> Result<(), RecordError> {
        let config = &route.config;
        let style = matches!(config.format, Format::Json | Format::CloudEvents);
        let style = style.then_some(config.json);
        let tables = &self.plan.tables;
        let parts = SplitPayload::of(opened.subject, tables, &config.pick, style)?;
        for subject in parts.records(tables) {
            let is_new = *at >= self.from;
            at.record += 1;
            if !is_new {
                continue;
            }
            match self.record(route, opened, &subject) {
                Ok(Some(spans)) => self.prepared.push(at.offset, *at, What::Record(spans)),
                Ok(None) => {}
                Err(error) => self.push_undecodable(*at, &error),
            }
        }
        Ok(())
    }

    /// `then` is the position behind it.
    fn push_undecodable(&mut self, then: Position, error: &RecordError) {
        if then > self.from {
            let why = What::Undecodable(error.to_string());
            self.prepared.push(then.offset, then, why);
        }
    }

    /// The record of one subject; `None` where a condition does not hold.
    fn record(
        &mut self,
        route: &CompiledRoute,
        opened: &Opened<'_>,
        subject: &RecordData<'_>,
    ) -> Result<Option<Spans>, RecordError> {
        let tables = &self.plan.tables;
        let (message, bytes) = (subject.message(), subject.bytes());
        let pick = &route.config.pick;
        let admitted = route.field_paths.matches(pick, tables, message, bytes);
        if !admitted.map_err(|error| subject.locate_in_payload(error))? {
            return Ok(None);
        }
        let payload = self.payload(&route.config, opened, subject)?;

        let mut id = opened.id.clone();
        subject.append_to_id(&mut id);
        let failed = Cell::new(None);
        let data = |path: &[String], to: &mut String| {
            if let Err(error) = route.field_paths.append(path, tables, message, bytes, to) {
                failed.set(Some(error));
            }
        };
        let values = opened.values(subject, &id, &data);
        let prepared = &mut self.prepared;
        let destination = prepared.append(|text| {
            render(&route.config.destination, &values, self.charset, text);
        });
        let key = (route.config.key.as_ref())
            .map(|key| prepared.append(|text| render(key, &values, DestinationCharset::Any, text)));
        if let Some(error) = failed.take() {
            return Err(subject.locate_in_payload(error).into());
        }
        let attributes = match subject.element {
            None => opened.attributes.clone(),
            Some(_) => opened.add_attributes(subject, &id, prepared),
        };
        Ok(Some(Spans {
            received_at: opened.frame.received_at,
            destination,
            key,
            payload,
            attributes,
            content_type: content_type(route.config.format),
            message: self.message(route.config.format, subject),
            timestamp: opened.timestamp(),
        }))
    }

    /// What a payload is that is sent as Central's message.
    fn message(&self, format: Format, subject: &RecordData<'_>) -> Option<MessageDescriptor> {
        match (format, subject.content) {
            (Format::Protobuf, Content::Message { name, .. }) => {
                self.plan.schema.pool().get_message_by_name(name)
            }
            _ => None,
        }
    }

    fn payload(
        &mut self,
        route: &config::Route,
        opened: &Opened<'_>,
        subject: &RecordData<'_>,
    ) -> Result<Range<usize>, RecordError> {
        let to = &mut self.prepared.payloads;
        let start = to.len();
        let write = match route.format {
            Format::Json => record::write,
            Format::CloudEvents => record::write_cloudevent,
            Format::Protobuf => {
                to.extend_from_slice(subject.bytes());
                return Ok(start..to.len());
            }
            Format::Frame => {
                to.extend_from_slice(&opened.frame.payload);
                return Ok(start..to.len());
            }
        };
        let subscription = &opened.frame.subscription;
        let about = RecordMetadata {
            id: Some(&opened.id),
            account: Some(subscription.account()),
            stream: subscription.stream(),
            received_at: Some(opened.frame.received_at),
        };
        let (tables, envelope) = (&self.plan.tables, &opened.envelope);
        write(tables, route.json, &about, envelope, subject, to)?;
        Ok(start..to.len())
    }
}

/// A frame with what all its records have in common.
struct Opened<'a> {
    frame: &'a Frame,
    envelope: Envelope<'a>,
    id: String,
    subject: RecordData<'a>,
    /// Those of the payload as a whole.
    attributes: Range<usize>,
}

impl<'a> Opened<'a> {
    fn new(plan: &'a Plan, frame: &'a Frame, prepared: &mut Prepared) -> Result<Self, RecordError> {
        let subscription = &frame.subscription;
        let stream = subscription.stream();
        let mut envelope = Envelope::open(stream, &frame.payload)?;
        if matches!(stream, Stream::Internal(_)) {
            envelope.set_time(frame.received_at);
        }
        let id = match &envelope.event {
            Some(event) => event.id.to_owned(),
            None => record::classic_id(subscription.account(), stream.topic(), &frame.payload),
        };
        let subject = RecordData::of(&plan.schema, &plan.tables, stream, &envelope)?;
        let mut opened = Self {
            frame,
            envelope,
            id,
            subject,
            attributes: 0..0,
        };
        opened.attributes = opened.add_attributes(&subject, &opened.id, prepared);
        Ok(opened)
    }

    fn add_attributes(
        &self,
        subject: &RecordData<'_>,
        id: &str,
        prepared: &mut Prepared,
    ) -> Range<usize> {
        let start = prepared.attributes.len();
        prepared.attributes.reserve(ATTRIBUTES);
        let subscription = &self.frame.subscription;
        let (account, topic) = (subscription.account(), subscription.topic());
        prepared.attribute("specversion", &["1.0"]);
        prepared.attribute("id", &[id]);
        if let Some(event) = &self.envelope.event {
            prepared.attribute("source", &[event.source]);
            prepared.attribute("type", &[event.event_type]);
        } else {
            let stream = subscription.stream();
            prepared.attribute("source", &record::event_source(stream, account));
            prepared.attribute("type", &record::event_type(stream));
        }
        if let Some(time) = self.envelope.time.rfc3339() {
            prepared.attribute("time", &[&time]);
        }
        prepared.attribute("subject", &[self.envelope.subject]);
        prepared.attribute("account", &[account]);
        prepared.attribute("topic", &[topic]);
        prepared.attribute("customerid", &[self.envelope.customer_id]);
        prepared.attribute("mspid", &[self.envelope.msp_id]);
        prepared.attribute("messagetype", &[subject.message_type()]);
        prepared.attribute("element", &[subject.element_name()]);
        start..prepared.attributes.len()
    }

    fn values<'v>(
        &'v self,
        subject: &'v RecordData<'_>,
        id: &'v str,
        data: &'v dyn Fn(&[String], &mut String),
    ) -> TemplateValues<'v> {
        TemplateValues {
            account: self.frame.subscription.account(),
            topic: self.frame.subscription.topic(),
            subject: self.envelope.subject,
            customer_id: self.envelope.customer_id,
            msp_id: self.envelope.msp_id,
            message_type: subject.message_type(),
            element: subject.element_name(),
            id,
            data,
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
    /// Passes what could not be read at a batch's end.
    fn end_at(&mut self, end: u64) {
        let last = self.steps.last().map_or(0, |step| step.then.offset);
        if last < end {
            let then = Position {
                offset: end,
                record: 0,
            };
            self.push(end, then, What::Nothing);
        }
    }

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
        Format::CloudEvents => "application/cloudevents+json",
        Format::Protobuf => "application/protobuf",
        Format::Frame => "application/octet-stream",
    }
}
