//! A sync that runs on a thread of its own, while the writer goes on writing.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::queue::QueuedBatch;
use crate::journal::cursor::file::StoredCursor;
use crate::journal::cursor::state::CursorState;
use crate::journal::shared::Shared;
use crate::journal::storage::File;

/// What is to be made durable: the bytes that were written to a file, then the cursors that have
/// passed some of them.
#[derive(Debug)]
pub(crate) struct SyncJob {
    /// `None`: nothing was written.
    file: Option<Arc<dyn File>>,
    cursors: Vec<(Arc<CursorState>, StoredCursor)>,
    shared: Arc<Shared>,
    /// `None` only while this is dropped.
    outcome: Option<SyncSender<SyncOutcome>>,
}

/// What the writer keeps of a sync that runs.
#[derive(Debug)]
pub(crate) struct Syncing {
    /// The batches that it covers, in order.
    pub(crate) batches: Vec<QueuedBatch>,
    pub(crate) bytes: usize,
    /// The segment's length with all of it.
    pub(crate) len: u64,
    outcome: Receiver<SyncOutcome>,
}

/// How a sync ended.
#[derive(Debug)]
pub(crate) struct SyncOutcome {
    /// How long the file's sync took; `None` if it failed.
    pub(crate) file_took: Option<Duration>,
    /// How long it took to store the cursors.
    pub(crate) cursors_took: Duration,
    /// Of the file and the cursors together.
    pub(crate) result: io::Result<()>,
}

impl SyncJob {
    pub(crate) fn new(
        file: Option<Arc<dyn File>>,
        cursors: Vec<(Arc<CursorState>, StoredCursor)>,
        shared: Arc<Shared>,
        batches: Vec<QueuedBatch>,
        bytes: usize,
        len: u64,
    ) -> (Self, Syncing) {
        let (sender, receiver) = sync_channel(1);
        let job = Self {
            file,
            cursors,
            shared,
            outcome: Some(sender),
        };
        let syncing = Syncing {
            batches,
            bytes,
            len,
            outcome: receiver,
        };
        (job, syncing)
    }

    /// Syncs, and tells the writer how it ended.
    pub(crate) fn run(self) {
        let outcome = self.sync();
        if let Some(sender) = &self.outcome {
            // Fails only where the writer has ended.
            let _ = sender.send(outcome);
        }
    }

    fn sync(&self) -> SyncOutcome {
        let start = Instant::now();
        if let Some(file) = &self.file
            && let Err(error) = file.sync()
        {
            return SyncOutcome::failed(error);
        }
        let file_took = start.elapsed();
        let stored = self
            .cursors
            .iter()
            .try_for_each(|(cursor, to)| cursor.store(to));
        SyncOutcome {
            file_took: Some(file_took),
            cursors_took: start.elapsed().saturating_sub(file_took),
            result: stored,
        }
    }
}

/// Wakes the writer, also where the job was not done.
impl Drop for SyncJob {
    fn drop(&mut self) {
        self.outcome = None;
        self.shared.queue.note_sync();
    }
}

impl SyncOutcome {
    fn failed(error: io::Error) -> Self {
        Self {
            file_took: None,
            cursors_took: Duration::ZERO,
            result: Err(error),
        }
    }
}

impl Syncing {
    /// `None` while it still runs.
    pub(crate) fn try_wait(&self) -> Option<SyncOutcome> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(SyncOutcome::failed(thread_ended())),
        }
    }

    pub(crate) fn wait(&self) -> SyncOutcome {
        let outcome = self.outcome.recv();
        outcome.unwrap_or_else(|_| SyncOutcome::failed(thread_ended()))
    }
}

/// The bytes may be on the disk or not, as after a sync that failed.
fn thread_ended() -> io::Error {
    io::Error::other("the thread that syncs has ended")
}

/// The thread that does the jobs. Dropping this waits for its end.
#[derive(Debug)]
pub(crate) struct Syncer {
    jobs: Option<SyncSender<SyncJob>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(crate) fn spawn() -> io::Result<Self> {
        // The writer starts a sync only after the end of the one before.
        let (jobs, waiting) = sync_channel::<SyncJob>(1);
        let thread = std::thread::Builder::new()
            .name("journal-sync".to_owned())
            .spawn(move || waiting.iter().for_each(SyncJob::run))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Gives the thread a job. If the thread has ended, the job is dropped, and counts as failed.
    pub(crate) fn start(&self, job: SyncJob) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a bug: the thread that syncs the journal panicked");
        }
    }
}
