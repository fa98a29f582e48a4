//! The handle that frames are appended with.

use std::sync::Arc;

use super::queue::AppendError;
use super::record::Refusal;
use crate::frame::Frame;
use crate::journal::shared::Shared;

/// Appends frames to the journal. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Appender(Arc<Shared>);

impl Appender {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Hands a frame to the writer thread and returns its offset; waits while the queue is full.
    /// Frames that one task appends keep their order. Dropping the future before it is ready appends
    /// nothing.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, frame: &Frame) -> Result<u64, AppendError> {
        self.0.queue.append(frame, None).await
    }

    /// The same for a dead letter.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append_refused(
        &self,
        frame: &Frame,
        refusal: &Refusal,
    ) -> Result<u64, AppendError> {
        self.0.queue.append(frame, Some(refusal)).await
    }
}
