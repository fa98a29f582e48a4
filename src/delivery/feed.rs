//! Reads ahead in the journal, and has records prepared on other cores, in order.

use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

use super::prepare::{Prepared, Preparer, Resume};
use crate::journal::{Batch, Cursor, ReadError};
use crate::sink::Broken;

/// Bytes of frames that are prepared at a time: enough to make the hop to another core worth it,
/// little enough for memory to stay flat.
const BATCH_BYTES: usize = 256 * 1024;

/// Batches that are prepared, or being prepared, ahead of the one that is sent. JSON takes about
/// four times the frames' bytes: a sink that is behind holds some five megabytes.
const AHEAD: usize = 3;

type Preparing = Result<JoinHandle<Prepared>, ReadError>;

/// Prepared batches from a position on, in order.
#[derive(Debug)]
pub(super) struct Feed {
    batches: mpsc::Receiver<Preparing>,
    /// The batch that comes next, while it is waited for.
    next: Option<JoinHandle<Prepared>>,
    spares: Spares,
    reader: JoinHandle<()>,
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
            next: None,
            spares,
            reader: tokio::spawn(read_ahead(cursor, workshop, sender)),
        }
    }

    /// Takes back a batch that is sent: fresh memory costs a page fault every four kibibytes.
    pub(super) fn give_back(&self, sent: Prepared) {
        self.spares.put(sent.emptied());
    }

    /// The next batch. Dropping the future before it is ready loses nothing.
    pub(super) async fn next(&mut self) -> Result<Prepared, Broken> {
        let next = match &mut self.next {
            Some(next) => next,
            none => {
                let preparing = self.batches.recv().await.unwrap_or(Err(ReadError::Closed));
                none.insert(preparing.map_err(|error| Broken(error.to_string().into()))?)
            }
        };
        let prepared = next.await;
        self.next = None;
        prepared.map_err(|panic| Broken(format!("preparing records failed: {panic}").into()))
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
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(spare);
    }

    fn take(&self) -> Prepared {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
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
    /// Works for about a millisecond: on a thread where nobody waits for that.
    fn prepare(&self, batch: &Batch) -> Prepared {
        self.preparer.prepare(batch, self.from, self.spares.take())
    }
}

async fn read_ahead(
    cursor: Arc<Mutex<Cursor>>,
    workshop: Workshop,
    batches: mpsc::Sender<Preparing>,
) {
    // A reader that was aborted just before may still hold it for a moment.
    let mut cursor = cursor.lock_owned().await;
    cursor.seek(workshop.from.at.offset);
    loop {
        // Room first: a batch that is read is then never held by a reader that waits.
        let Ok(room) = batches.reserve().await else {
            return;
        };
        let read = cursor.read(BATCH_BYTES).await;
        let failed = read.is_err();
        if let Ok(batch) = &read {
            report_unknown(batch);
        }
        room.send(read.map(|batch| {
            let workshop = workshop.clone();
            spawn_blocking(move || workshop.prepare(&batch))
        }));
        if failed {
            return;
        }
    }
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
