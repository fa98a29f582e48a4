//! Reads ahead in the journal, and has records prepared while others are sent, in order.

use std::sync::{Arc, Mutex as SyncMutex};

use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::prepare::{Prepared, Preparer, Resume};
use crate::journal::{Batch, Cursor, ReadError};
use crate::sink::ConnectionError;
use crate::sync::lock;

/// Bytes of frames that are prepared at a time: a few tenths of a millisecond. Larger ones leave the
/// processor's caches before they are sent, smaller ones are not worth the hops between threads.
const BATCH_BYTES: usize = 128 * 1024;

/// Batches that are prepared ahead of the one that is sent. JSON takes about three times the frames'
/// bytes: a sink that is behind holds about a megabyte.
const AHEAD: usize = 2;

/// Prepared batches from a position on, in order.
#[derive(Debug)]
pub(super) struct Feed {
    batches: mpsc::Receiver<Prepared>,
    spares: Spares,
    reader: JoinHandle<Result<(), ConnectionError>>,
}

impl Feed {
    pub(super) fn start(cursor: Arc<Mutex<Cursor>>, preparer: Arc<Preparer>, from: Resume) -> Self {
        let (sender, batches) = mpsc::channel(AHEAD);
        let spares = Spares::default();
        let workshop = Workshop {
            preparer,
            from,
            spares: spares.clone(),
        };
        Self {
            batches,
            spares,
            reader: tokio::spawn(read_ahead(cursor, workshop, sender)),
        }
    }

    /// Takes back a batch that is sent: fresh memory costs a page fault every four kibibytes.
    pub(super) fn give_back(&self, sent: Prepared) {
        self.spares.put(sent.emptied());
    }

    /// The next batch. Dropping the future before it is ready loses nothing.
    pub(super) async fn next(&mut self) -> Result<Prepared, ConnectionError> {
        match self.batches.recv().await {
            Some(prepared) => Ok(prepared),
            None => Err(self.why_it_ended().await),
        }
    }

    async fn why_it_ended(&mut self) -> ConnectionError {
        let ended = (&mut self.reader).await.map_err(|panic| failed(&panic));
        ended
            .flatten()
            .err()
            .unwrap_or_else(|| unread(&ReadError::Closed))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Emptied batches, as many as there were under way at a time.
#[derive(Clone, Debug, Default)]
struct Spares(Arc<SyncMutex<Vec<Prepared>>>);

impl Spares {
    fn put(&self, spare: Prepared) {
        lock(&self.0).push(spare);
    }

    fn take(&self) -> Prepared {
        let spare = lock(&self.0).pop();
        spare.unwrap_or_default()
    }
}

/// What is needed to prepare a batch.
#[derive(Clone, Debug)]
struct Workshop {
    preparer: Arc<Preparer>,
    from: Resume,
    spares: Spares,
}

impl Workshop {
    /// A frame that is larger than batches are is prepared on a thread where nobody waits.
    async fn prepare(&self, batch: Batch) -> Result<Prepared, ConnectionError> {
        let first = batch.entries.first();
        if first.is_none_or(|entry| entry.frame.payload.len() <= BATCH_BYTES) {
            return Ok(self.prepare_now(&batch));
        }
        let workshop = self.clone();
        let prepared = spawn_blocking(move || workshop.prepare_now(&batch)).await;
        prepared.map_err(|panic| failed(&panic))
    }

    fn prepare_now(&self, batch: &Batch) -> Prepared {
        self.preparer.prepare(batch, self.from, self.spares.take())
    }
}

/// Until the journal cannot be read, or nobody wants more.
async fn read_ahead(
    cursor: Arc<Mutex<Cursor>>,
    workshop: Workshop,
    batches: mpsc::Sender<Prepared>,
) -> Result<(), ConnectionError> {
    // A reader that was aborted just before may still hold it for a moment.
    let mut cursor = cursor.lock_owned().await;
    cursor.seek(workshop.from.at.offset);
    // Room first: a batch that is read is then never held by a reader that waits.
    while let Ok(room) = batches.reserve().await {
        let batch = cursor.read(BATCH_BYTES).await;
        let batch = batch.map_err(|error| unread(&error))?;
        report_unknown(&batch);
        room.send(workshop.prepare(batch).await?);
    }
    Ok(())
}

fn unread(error: &ReadError) -> ConnectionError {
    ConnectionError(error.to_string().into())
}

fn failed(panic: &JoinError) -> ConnectionError {
    ConnectionError(format!("preparing records failed: {panic}").into())
}

/// Other losses are told once, by [`super::gaps`].
fn report_unknown(batch: &Batch) {
    let (unknown, before) = (batch.unknown, batch.end);
    if unknown > 0 {
        tracing::warn!(
            unknown,
            before,
            "records of a kind that this version does not know are passed over"
        );
    }
}
