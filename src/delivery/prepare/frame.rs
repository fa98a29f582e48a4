//! A frame with everything that its records have in common.

use std::ops::Range;

use super::batch::PreparedBatch;
use crate::delivery::plan::Plan;
use crate::frame::{Frame, Stream};
use crate::record::{self, RecordData, RecordError, RecordMetadata};
use crate::route::TemplateValues;
use crate::schema::Envelope;

/// The most attributes that a record has.
const MAX_ATTRIBUTES: usize = 12;

/// A frame whose envelope was decoded.
pub(super) struct DecodedFrame<'a> {
    pub(super) frame: &'a Frame,
    pub(super) envelope: Envelope<'a>,
    pub(super) id: String,
    /// The payload as a whole.
    pub(super) payload: RecordData<'a>,
    /// The attributes of the payload as a whole.
    pub(super) attributes: Range<usize>,
}

impl<'a> DecodedFrame<'a> {
    /// Decodes the envelope, and writes the attributes of the whole payload to `batch`.
    pub(super) fn new(
        plan: &'a Plan,
        frame: &'a Frame,
        batch: &mut PreparedBatch,
    ) -> Result<Self, RecordError> {
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
        let payload = RecordData::of(&plan.schema, &plan.tables, stream, &envelope)?;
        let mut decoded = Self {
            frame,
            envelope,
            id,
            payload,
            attributes: 0..0,
        };
        decoded.attributes = decoded.add_attributes(&payload, &decoded.id, batch);
        Ok(decoded)
    }

    /// Writes the `CloudEvents` attributes of a record of this frame to `batch`.
    pub(super) fn add_attributes(
        &self,
        subject: &RecordData<'_>,
        id: &str,
        batch: &mut PreparedBatch,
    ) -> Range<usize> {
        let start = batch.attributes.len();
        batch.attributes.reserve(MAX_ATTRIBUTES);
        let subscription = &self.frame.subscription;
        let (account, topic) = (subscription.account(), subscription.topic());
        batch.add_attribute("specversion", &["1.0"]);
        batch.add_attribute("id", &[id]);
        if let Some(event) = &self.envelope.event {
            batch.add_attribute("source", &[event.source]);
            batch.add_attribute("type", &[event.event_type]);
        } else {
            let stream = subscription.stream();
            batch.add_attribute("source", &record::event_source(stream, account));
            batch.add_attribute("type", &record::event_type(stream));
        }
        if let Some(time) = self.envelope.time.rfc3339() {
            batch.add_attribute("time", &[&time]);
        }
        batch.add_attribute("subject", &[self.envelope.subject]);
        batch.add_attribute("account", &[account]);
        batch.add_attribute("topic", &[topic]);
        batch.add_attribute("customerid", &[self.envelope.customer_id]);
        batch.add_attribute("mspid", &[self.envelope.msp_id]);
        batch.add_attribute("messagetype", &[subject.message_type()]);
        batch.add_attribute("element", &[subject.element_name()]);
        start..batch.attributes.len()
    }

    /// The values that the templates of a route can name. `data` appends the value at a path of the
    /// payload.
    pub(super) fn template_values<'v>(
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

    /// What its records say about where they come from.
    pub(super) fn about(&self) -> RecordMetadata<'_> {
        let subscription = &self.frame.subscription;
        RecordMetadata {
            id: Some(&self.id),
            account: Some(subscription.account()),
            stream: subscription.stream(),
            received_at: Some(self.frame.received_at),
        }
    }

    /// Milliseconds since the Unix epoch: when the event happened, or if the envelope has no time,
    /// when the frame was received.
    pub(super) fn timestamp(&self) -> i64 {
        match self.envelope.timestamp {
            0 => self.frame.received_at.0 / 1000,
            _ => self.envelope.time.millis(),
        }
    }
}
