//! A sync that is under way on a thread of its own, while the writer goes on writing.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Shared;
use super::cursor_file::Stored;
use super::queue::Batch;
use super::registered::Registered;
use super::storage::File;

/// What is to be made durable: the bytes that were written to a file, then the cursors that have
/// passed some of them.
#[derive(Debug)]
pub(super) struct SyncJob {
    /// `None`: nothing was written.
    file: Option<Arc<dyn File>>,
    cursors: Vec<(Arc<Registered>, Stored)>,
    shared: Arc<Shared>,
    /// Gone only while this is dropped.
    told: Option<SyncSender<Ended>>,
}

/// What the writer keeps of it.
#[derive(Debug)]
pub(super) struct Syncing {
    /// What it covers, in order.
    pub(super) batches: Vec<Batch>,
    pub(super) bytes: usize,
    /// The segment's length with all of it.
    pub(super) len: u64,
    ended: Receiver<Ended>,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// How long the file's sync took; `None` if it failed.
    pub(super) synced: Option<Duration>,
    /// How long it took to store the cursors.
    pub(super) storing: Duration,
    /// Of all together.
    pub(super) result: io::Result<()>,
}

impl SyncJob {
    pub(super) fn new(
        file: Option<Arc<dyn File>>,
        cursors: Vec<(Arc<Registered>, Stored)>,
        shared: Arc<Shared>,
        batches: Vec<Batch>,
        bytes: usize,
        len: u64,
    ) -> (Self, Syncing) {
        let (told, ended) = sync_channel(1);
        let job = Self {
            file,
            cursors,
            shared,
            told: Some(told),
        };
        let syncing = Syncing {
            batches,
            bytes,
            len,
            ended,
        };
        (job, syncing)
    }

    /// Does it, and tells the writer.
    pub(super) fn run(self) {
        let ended = self.work();
        if let Some(told) = &self.told {
            // The writer waits for it, or has ended.
            let _ = told.send(ended);
        }
    }

    fn work(&self) -> Ended {
        let start = Instant::now();
        if let Some(file) = &self.file
            && let Err(error) = file.sync()
        {
            return Ended::failed(error);
        }
        let synced = start.elapsed();
        let stored = self
            .cursors
            .iter()
            .try_for_each(|(cursor, to)| cursor.store(to));
        Ended {
            synced: Some(synced),
            storing: start.elapsed().saturating_sub(synced),
            result: stored,
        }
    }
}

/// Done or not: the writer looks how it ended.
impl Drop for SyncJob {
    fn drop(&mut self) {
        self.told = None;
        self.shared.queue.note_sync();
    }
}

impl Ended {
    fn failed(error: io::Error) -> Self {
        Self {
            synced: None,
            storing: Duration::ZERO,
            result: Err(error),
        }
    }
}

impl Syncing {
    /// `None` while it goes on.
    pub(super) fn try_wait(&self) -> Option<Ended> {
        match self.ended.try_recv() {
            Ok(ended) => Some(ended),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Ended::failed(gone())),
        }
    }

    pub(super) fn wait(&self) -> Ended {
        let ended = self.ended.recv();
        ended.unwrap_or_else(|_| Ended::failed(gone()))
    }
}

/// The bytes may be on the disk or not: as after a sync that failed.
fn gone() -> io::Error {
    io::Error::other("the thread that syncs has ended")
}

/// The thread that does the jobs. It is waited for when this is dropped.
#[derive(Debug)]
pub(super) struct Syncer {
    jobs: Option<SyncSender<SyncJob>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn spawn() -> io::Result<Self> {
        // The writer starts the next one when it has heard of the end of the one before.
        let (jobs, waiting) = sync_channel::<SyncJob>(1);
        let thread = std::thread::Builder::new()
            .name("journal-sync".to_owned())
            .spawn(move || waiting.iter().for_each(SyncJob::run))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Has it done. Should the thread be gone, the writer hears that it has failed.
    pub(super) fn start(&self, job: SyncJob) {
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
