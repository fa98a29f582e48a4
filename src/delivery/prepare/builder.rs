//! Builds the records of one batch for one sink.

use std::cell::Cell;
use std::ops::Range;

use prost_reflect::MessageDescriptor;

use super::batch::{ItemKind, PreparedBatch, RecordSpans};
use super::frame::DecodedFrame;
use crate::config::DestinationCharset;
use crate::config::{self, Format};
use crate::delivery::plan::Plan;
use crate::delivery::window::Position;
use crate::journal::Entry;
use crate::record::{self, Content, RecordData, RecordError, SplitPayload};
use crate::route::{CompiledRoute, Routes, render};

/// Adds frame after frame to one [`PreparedBatch`].
pub(super) struct RecordBuilder<'p> {
    plan: &'p Plan,
    sink: &'p str,
    routes: Option<&'p Routes>,
    charset: DestinationCharset,
    /// Records before this position are left out: the sink has them.
    from: Position,
    batch: PreparedBatch,
}

impl<'p> RecordBuilder<'p> {
    pub(super) fn new(
        plan: &'p Plan,
        sink: &'p str,
        charset: DestinationCharset,
        from: Position,
        batch: PreparedBatch,
    ) -> Self {
        Self {
            plan,
            sink,
            routes: plan.routes(sink),
            charset,
            from,
            batch,
        }
    }

    /// The batch, whose last item leads to the offset `end`.
    pub(super) fn finish(mut self, end: u64) -> PreparedBatch {
        self.batch.extend_to(end);
        self.batch
    }

    /// Adds at least one item, which leads behind the frame.
    pub(super) fn add_frame(&mut self, entry: &Entry) {
        let offset = entry.offset;
        let next = Position::start_of(offset + 1);
        let len_before = self.batch.len();
        if let Err(error) = self.add_records(entry) {
            let kind = ItemKind::Undecodable(error.to_string());
            self.batch.push(offset, next, kind);
        }
        if self.batch.len() == len_before {
            self.batch.push(offset, next, ItemKind::NoRecord);
        } else {
            self.batch.set_last_next(next);
        }
    }

    /// Adds the records of each route that matches. An error concerns the frame as a whole.
    fn add_records(&mut self, entry: &Entry) -> Result<(), RecordError> {
        let frame = &entry.frame;
        // A dead letter that is sent again is for the sink alone that refused it.
        let is_for_another_sink = entry
            .refusal
            .as_ref()
            .is_some_and(|refusal| refusal.sink != self.sink);
        let routes = self.routes.filter(|_| !is_for_another_sink).into_iter();
        let mut routes = routes
            .flat_map(|routes| routes.matching(&frame.subscription))
            .peekable();
        if routes.peek().is_none() {
            return Ok(());
        }
        let decoded = DecodedFrame::new(self.plan, frame, &mut self.batch)?;
        let mut position = Position::start_of(entry.offset);
        for route in routes {
            if let Err(error) = self.add_route(route, &decoded, &mut position) {
                position.record += 1;
                self.push_undecodable(position, &error);
            }
        }
        Ok(())
    }

    /// Adds the records of one route, and counts them in `position`.
    fn add_route(
        &mut self,
        route: &'p CompiledRoute,
        decoded: &DecodedFrame<'_>,
        position: &mut Position,
    ) -> Result<(), RecordError> {
        let config = &route.config;
        let is_json = matches!(config.format, Format::Json | Format::CloudEvents);
        let style = is_json.then_some(config.json);
        let tables = &self.plan.tables;
        let parts = SplitPayload::of(decoded.payload, tables, &config.pick, style)?;
        for subject in parts.records(tables) {
            let is_new = *position >= self.from;
            position.record += 1;
            if !is_new {
                continue;
            }
            match self.record(route, decoded, &subject) {
                Ok(Some(spans)) => {
                    self.batch
                        .push(position.offset, *position, ItemKind::Record(spans));
                }
                Ok(None) => {}
                Err(error) => self.push_undecodable(*position, &error),
            }
        }
        Ok(())
    }

    fn push_undecodable(&mut self, next: Position, error: &RecordError) {
        if next > self.from {
            let kind = ItemKind::Undecodable(error.to_string());
            self.batch.push(next.offset, next, kind);
        }
    }

    /// Writes the record of a payload or element; `None` if a condition of the route does not hold.
    fn record(
        &mut self,
        route: &CompiledRoute,
        decoded: &DecodedFrame<'_>,
        subject: &RecordData<'_>,
    ) -> Result<Option<RecordSpans>, RecordError> {
        let tables = &self.plan.tables;
        let (message, bytes) = (subject.message(), subject.bytes());
        let pick = &route.config.pick;
        let matches = route.field_paths.matches(pick, tables, message, bytes);
        if !matches.map_err(|error| subject.locate_in_payload(error))? {
            return Ok(None);
        }
        let payload = self.write_payload(&route.config, decoded, subject)?;

        let mut id = decoded.id.clone();
        subject.append_to_id(&mut id);
        let failure = Cell::new(None);
        let data = |path: &[String], to: &mut String| {
            if let Err(error) = route.field_paths.append(path, tables, message, bytes, to) {
                failure.set(Some(error));
            }
        };
        let values = decoded.template_values(subject, &id, &data);
        let batch = &mut self.batch;
        let destination = batch.write_text(|text| {
            render(&route.config.destination, &values, self.charset, text);
        });
        let key = (route.config.key.as_ref()).map(|key| {
            batch.write_text(|text| render(key, &values, DestinationCharset::ANY, text))
        });
        if let Some(error) = failure.take() {
            return Err(subject.locate_in_payload(error).into());
        }
        let attributes = match subject.element {
            None => decoded.attributes.clone(),
            Some(_) => decoded.add_attributes(subject, &id, batch),
        };
        Ok(Some(RecordSpans {
            received_at: decoded.frame.received_at,
            destination,
            key,
            payload,
            attributes,
            content_type: content_type(route.config.format),
            message: self.message(route.config.format, subject),
            timestamp: decoded.timestamp(),
        }))
    }

    /// The type of a payload that is sent as Central's own message.
    fn message(&self, format: Format, subject: &RecordData<'_>) -> Option<MessageDescriptor> {
        match (format, subject.content) {
            (Format::Protobuf, Content::Message { name, .. }) => {
                self.plan.schema.pool().get_message_by_name(name)
            }
            _ => None,
        }
    }

    fn write_payload(
        &mut self,
        route: &config::Route,
        decoded: &DecodedFrame<'_>,
        subject: &RecordData<'_>,
    ) -> Result<Range<usize>, RecordError> {
        let to = &mut self.batch.payloads;
        let start = to.len();
        let write = match route.format {
            Format::Json => record::write,
            Format::CloudEvents => record::write_cloudevent,
            Format::Protobuf => {
                to.extend_from_slice(subject.bytes());
                return Ok(start..to.len());
            }
            Format::Frame => {
                to.extend_from_slice(&decoded.frame.payload);
                return Ok(start..to.len());
            }
        };
        let (tables, envelope) = (&self.plan.tables, &decoded.envelope);
        write(tables, route.json, &decoded.about(), envelope, subject, to)?;
        Ok(start..to.len())
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
