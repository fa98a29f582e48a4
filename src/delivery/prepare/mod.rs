//! Turns frames into records. Pure work, done away from the task that sends.
//!
//! ```text
//! journal::Batch ──▶ Preparer ──▶ RecordBuilder ──▶ PreparedBatch ──▶ the items that delivery sends
//!                    (one sink)   (one batch)  └─ DecodedFrame (one frame)
//! ```

mod batch;
mod builder;
mod frame;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::plan::Plans;
use super::window::Position;
use crate::config::DestinationCharset;
use crate::frame::Internal;
use crate::journal::Batch;

pub(super) use self::batch::{Item, PreparedBatch};

use self::builder::RecordBuilder;

/// Knows which records one sink wants, and makes them.
#[derive(Debug)]
pub struct Preparer {
    plans: Plans,
    sink: String,
    /// The characters that a destination of this sink may consist of.
    charset: DestinationCharset,
}

/// Where sending begins again. The plan of this generation decides how many records a frame has: if
/// another plan is in effect, the frame is sent from its first record on, so that none is missed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResumePoint {
    pub(super) position: Position,
    pub(super) generation: u64,
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

    /// The generation of the plan in effect.
    pub(super) fn generation(&self) -> u64 {
        self.plans.borrow().generation
    }

    /// Whether any route, to this sink or another, takes the forwarder's own events of this topic.
    pub(super) fn wants(&self, topic: Internal) -> bool {
        self.plans.borrow().wants(topic)
    }

    /// Makes the records of a batch that do not lie before `from`. `empty` is where they are written;
    /// its buffers are used again.
    pub(super) fn prepare(
        &self,
        batch: &Batch,
        from: ResumePoint,
        empty: PreparedBatch,
    ) -> PreparedBatch {
        let plan = Arc::clone(&self.plans.borrow());
        let from = if plan.generation == from.generation {
            from.position
        } else {
            Position::start_of(from.position.offset)
        };
        let mut builder = RecordBuilder::new(&plan, &self.sink, self.charset, from, empty);
        for entry in &batch.entries {
            builder.add_frame(entry);
        }
        builder.finish(batch.end)
    }
}
