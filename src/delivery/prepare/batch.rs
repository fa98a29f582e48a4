//! A batch of frames as records: what the record builder writes and delivery reads.

use std::ops::Range;

use prost_reflect::MessageDescriptor;

use crate::delivery::window::Position;
use crate::frame::Timestamp;
use crate::sink::{Attributes, Record};

/// The buffers of a batch that was sent are used again up to this capacity: about ten times what a
/// batch usually needs.
const MAX_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// A batch of frames as records. The bytes of all records are in two buffers, so that a record needs
/// no allocation of its own.
#[derive(Debug, Default)]
pub(in crate::delivery) struct PreparedBatch {
    /// Destinations, keys and attributes.
    pub(super) text: String,
    pub(super) payloads: Vec<u8>,
    pub(super) attributes: Vec<(&'static str, Range<usize>)>,
    items: Vec<StoredItem>,
    next: usize,
}

/// An [`Item`] as it is kept: its record as ranges of the buffers.
#[derive(Debug)]
struct StoredItem {
    offset: u64,
    next: Position,
    kind: ItemKind,
}

#[derive(Debug)]
pub(super) enum ItemKind {
    Record(RecordSpans),
    Undecodable(String),
    NoRecord,
}

/// Where the parts of a record are in the buffers.
#[derive(Debug)]
pub(super) struct RecordSpans {
    pub(super) received_at: Timestamp,
    pub(super) destination: Range<usize>,
    pub(super) key: Option<Range<usize>>,
    pub(super) payload: Range<usize>,
    pub(super) attributes: Range<usize>,
    pub(super) content_type: &'static str,
    pub(super) message: Option<MessageDescriptor>,
    pub(super) timestamp: i64,
}

/// What the sending task does next. `offset` is the frame's; `next` is the position behind the item.
#[derive(Debug)]
pub(in crate::delivery) enum Item<'a> {
    Record {
        offset: u64,
        next: Position,
        received_at: Timestamp,
        record: Record<'a>,
    },
    /// A frame, or one route of it, that cannot be decoded.
    Undecodable {
        offset: u64,
        next: Position,
        reason: &'a str,
    },
    /// A frame that no route wants.
    NoRecord { next: Position },
}

impl PreparedBatch {
    /// An empty batch with the buffers of this one, unless they have become unusually large.
    pub(in crate::delivery) fn emptied(mut self) -> Self {
        if self.payloads.capacity() + self.text.capacity() > MAX_KEPT_BYTES {
            return Self::default();
        }
        self.text.clear();
        self.payloads.clear();
        self.attributes.clear();
        self.items.clear();
        self.next = 0;
        self
    }

    /// Whether [`Self::next_item`] has given out all items.
    pub(in crate::delivery) fn is_done(&self) -> bool {
        self.next >= self.items.len()
    }

    /// The next item, in the order of the journal.
    pub(in crate::delivery) fn next_item(&mut self) -> Option<Item<'_>> {
        let item = self.items.get(self.next)?;
        self.next += 1;
        let (offset, next) = (item.offset, item.next);
        Some(match &item.kind {
            ItemKind::Record(spans) => Item::Record {
                offset,
                next,
                received_at: spans.received_at,
                record: self.record(spans),
            },
            ItemKind::Undecodable(reason) => Item::Undecodable {
                offset,
                next,
                reason,
            },
            ItemKind::NoRecord => Item::NoRecord { next },
        })
    }

    fn record<'a>(&'a self, spans: &'a RecordSpans) -> Record<'a> {
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

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn push(&mut self, offset: u64, next: Position, kind: ItemKind) {
        self.items.push(StoredItem { offset, next, kind });
    }

    /// Sets what comes behind the last item.
    pub(super) fn set_last_next(&mut self, next: Position) {
        if let Some(last) = self.items.last_mut() {
            last.next = next;
        }
    }

    /// Moves the end of the batch to `end`, over what could not be read there.
    pub(super) fn extend_to(&mut self, end: u64) {
        let last = self.items.last().map_or(0, |item| item.next.offset);
        if last < end {
            self.push(end, Position::start_of(end), ItemKind::NoRecord);
        }
    }

    pub(super) fn write_text(&mut self, write: impl FnOnce(&mut String)) -> Range<usize> {
        let start = self.text.len();
        write(&mut self.text);
        start..self.text.len()
    }

    /// Adds an attribute whose value is the concatenation of `parts`, unless it is empty.
    pub(super) fn add_attribute(&mut self, name: &'static str, parts: &[&str]) {
        let value = self.write_text(|text| text.extend(parts.iter().copied()));
        if !value.is_empty() {
            self.attributes.push((name, value));
        }
    }
}
