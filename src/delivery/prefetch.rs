//! Reads ahead in the journal, and prepares records while earlier ones are sent, in order.

use std::sync::{Arc, Mutex as SyncMutex};

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::prepare::{PreparedBatch, Preparer, ResumePoint};
use crate::journal::{Batch, Cursor, ReadError};
use crate::sink::ConnectionError;
use crate::supervise::{Panic, blocking};
use crate::sync::lock;

/// Bytes of frames that are prepared at a time: a few tenths of a millisecond of work. Larger batches
/// leave the processor's caches before they are sent, smaller ones are not worth the hops between
/// threads.
const BATCH_BYTES: usize = 128 * 1024;

/// Batches that are prepared ahead of the one that is sent. JSON takes about three times the frames'
/// bytes: a sink that is behind holds about a megabyte.
const BATCHES_AHEAD: usize = 2;

/// Prepared batches from a position on, in order.
#[derive(Debug)]
pub(super) struct Prefetch {
    batches: mpsc::Receiver<PreparedBatch>,
    pool: BufferPool,
    task: JoinHandle<Result<(), ConnectionError>>,
}

impl Prefetch {
    pub(super) fn start(
        cursor: Arc<Mutex<Cursor>>,
        preparer: Arc<Preparer>,
        from: ResumePoint,
    ) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let pool = BufferPool::default();
        let builder = BatchBuilder {
            preparer,
            from,
            pool: pool.clone(),
        };
        Self {
            batches,
            pool,
            task: tokio::spawn(read_ahead(cursor, builder, sender)),
        }
    }

    /// Takes back a batch that was sent: fresh memory costs a page fault every four kibibytes.
    pub(super) fn recycle(&self, sent: PreparedBatch) {
        self.pool.put(sent.emptied());
    }

    /// The next batch. Dropping the future before it is ready loses nothing.
    pub(super) async fn next(&mut self) -> Result<PreparedBatch, ConnectionError> {
        match self.batches.recv().await {
            Some(prepared) => Ok(prepared),
            None => Err(self.why_it_ended().await),
        }
    }

    async fn why_it_ended(&mut self) -> ConnectionError {
        let ended = (&mut self.task).await;
        let ended = ended.map_err(|panic| failed(&panic.into()));
        ended
            .flatten()
            .err()
            .unwrap_or_else(|| unreadable(&ReadError::Closed))
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Emptied batches to be filled again: as many as there were under way at a time.
#[derive(Clone, Debug, Default)]
struct BufferPool(Arc<SyncMutex<Vec<PreparedBatch>>>);

impl BufferPool {
    fn put(&self, empty: PreparedBatch) {
        lock(&self.0).push(empty);
    }

    fn take(&self) -> PreparedBatch {
        let empty = lock(&self.0).pop();
        empty.unwrap_or_default()
    }
}

/// Prepares one batch after the other.
#[derive(Clone, Debug)]
struct BatchBuilder {
    preparer: Arc<Preparer>,
    from: ResumePoint,
    pool: BufferPool,
}

impl BatchBuilder {
    /// A frame that is larger than [`BATCH_BYTES`] is prepared on a thread for blocking work.
    async fn build(&self, batch: Batch) -> Result<PreparedBatch, ConnectionError> {
        let first = batch.entries.first();
        if first.is_none_or(|entry| entry.frame.payload.len() <= BATCH_BYTES) {
            return Ok(self.build_here(&batch));
        }
        let builder = self.clone();
        let prepared = blocking(move || builder.build_here(&batch)).await;
        prepared.map_err(|panic| failed(&panic))
    }

    fn build_here(&self, batch: &Batch) -> PreparedBatch {
        self.preparer.prepare(batch, self.from, self.pool.take())
    }
}

/// Runs until the journal cannot be read, or the receiver is dropped.
async fn read_ahead(
    cursor: Arc<Mutex<Cursor>>,
    builder: BatchBuilder,
    batches: mpsc::Sender<PreparedBatch>,
) -> Result<(), ConnectionError> {
    // A task that was aborted just before may still hold the cursor for a moment.
    let mut cursor = cursor.lock_owned().await;
    cursor.seek(builder.from.position.offset);
    // Room first, so that no batch is in memory while this waits.
    while let Ok(room) = batches.reserve().await {
        let batch = cursor.read(BATCH_BYTES).await;
        let batch = batch.map_err(|error| unreadable(&error))?;
        warn_of_unknown_records(&batch);
        room.send(builder.build(batch).await?);
    }
    Ok(())
}

fn unreadable(error: &ReadError) -> ConnectionError {
    ConnectionError(error.to_string().into())
}

fn failed(panic: &Panic) -> ConnectionError {
    ConnectionError(format!("preparing records failed: {panic}").into())
}

/// Other losses are reported by [`super::gap_reporter`].
fn warn_of_unknown_records(batch: &Batch) {
    let (unknown, before) = (batch.unknown, batch.end);
    if unknown > 0 {
        tracing::warn!(
            unknown,
            before,
            "the journal has records of a kind that this version does not know; they are skipped"
        );
    }
}
