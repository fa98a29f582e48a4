//! The writer thread: waits for work or the next timer, and does not end when a disk fails. Another
//! thread syncs, so that meanwhile this one can write, and readers see what it wrote.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::queue::{QueuedBatch, Wake};
use super::syncing::Syncer;
use super::writer::Writer;
use crate::journal::error::CloseError;
use crate::journal::shared::Shared;

/// How long the thread waits after a failure before it uses the disk again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Storing cursors may take at most this fraction (1 / N) of the time, because no sync begins meanwhile.
/// On a slow disk they are stored less often: after a crash more frames are repeated, none is lost.
const CURSOR_SHARE: u32 = 10;

#[derive(Debug)]
struct WriterThread {
    shared: Arc<Shared>,
    writer: Writer,
    syncer: Syncer,
    sync_interval: Duration,
    /// A batch that could not be written yet.
    unwritten: Option<QueuedBatch>,
    sync_at: Option<Instant>,
    cursors_at: Option<Instant>,
    /// Cursors are not stored before this time.
    cursors_not_before: Instant,
    paused_until: Option<Instant>,
    /// A cursor that must not skip is as far behind as it may be.
    blocked: bool,
}

/// Starts the thread. It ends when the queue is closed and empty.
pub(crate) fn spawn(
    writer: Writer,
    sync_interval: Duration,
) -> io::Result<JoinHandle<Result<(), CloseError>>> {
    let thread = WriterThread {
        shared: Arc::clone(writer.shared()),
        writer,
        syncer: Syncer::spawn()?,
        sync_interval,
        unwritten: None,
        sync_at: None,
        cursors_at: None,
        cursors_not_before: Instant::now(),
        paused_until: None,
        blocked: false,
    };
    std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || {
            let _guard = EndGuard(Arc::clone(&thread.shared));
            thread.run()
        })
}

/// Releases everyone who waits for the thread when it ends, also by a panic.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.queue.close();
        self.0
            .progress
            .send_modify(|progress| progress.closed = true);
        self.0.ended.cancel();
    }
}

impl WriterThread {
    fn run(mut self) -> Result<(), CloseError> {
        let shared = Arc::clone(&self.shared);
        let mut buffer = Some(Vec::new());
        loop {
            let mut no_buffer = None;
            let blocked = self.is_blocked();
            let can_write = self.unwritten.is_none()
                && self.paused_until.is_none()
                && !blocked
                && !self.writer.is_full();
            let next_buffer = if can_write {
                &mut buffer
            } else {
                &mut no_buffer
            };
            // Once a time to store the cursors is set, further commits change nothing.
            let wants_commits = blocked || self.cursors_at.is_none();
            let wake = shared
                .queue
                .wait(self.next_timer(), next_buffer, wants_commits);
            let closing = wake.closing;
            self.note(wake);
            buffer.get_or_insert_with(|| self.writer.take_buffer());
            if closing {
                return self.finish();
            }
            if self
                .paused_until
                .is_none_or(|until| until <= Instant::now())
            {
                let done = self.work();
                self.note_result(done);
            }
        }
    }

    /// Whether appenders wait for a sink that must not skip. Logs each change.
    fn is_blocked(&mut self) -> bool {
        let blocked = self.writer.is_blocked();
        if blocked && !self.blocked {
            tracing::warn!("the journal takes no more frames until a sink has caught up");
        } else if self.blocked && !blocked {
            tracing::info!("the journal takes frames again");
        }
        self.blocked = blocked;
        blocked
    }

    /// No timer while a sync runs: its end wakes the thread, and no other sync begins before.
    fn next_timer(&self) -> Option<Instant> {
        if self.paused_until.is_none() && self.writer.is_syncing() {
            return None;
        }
        self.paused_until.or(match (self.sync_at, self.cursors_at) {
            (Some(sync), Some(cursors)) => Some(sync.min(cursors)),
            (sync, cursors) => sync.or(cursors),
        })
    }

    fn note(&mut self, wake: Wake) {
        if wake.batch.is_some() {
            self.unwritten = wake.batch;
        }
        if wake.committed && self.cursors_at.is_none() {
            let soon = Instant::now() + self.sync_interval;
            self.cursors_at = Some(soon.max(self.cursors_not_before));
        }
    }

    /// Does what is due. Whether a sync has succeeded. On a full disk the write fails, and syncs go on:
    /// they store the cursors, which allows segments to be removed.
    fn work(&mut self) -> io::Result<bool> {
        let ended = self.end_sync();
        let written = self.write();
        let synced = self.sync();
        let succeeded = ended?;
        written.and(synced).map(|()| succeeded)
    }

    fn end_sync(&mut self) -> io::Result<bool> {
        let Some(outcome) = self.writer.poll_sync() else {
            return Ok(false);
        };
        if !outcome.cursors_took.is_zero() {
            self.cursors_not_before = Instant::now() + outcome.cursors_took * CURSOR_SHARE;
        }
        outcome.result?;
        self.writer.remove_passed()?;
        Ok(true)
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(batch) = self.unwritten.take() else {
            return Ok(());
        };
        if let Err((batch, error)) = self.writer.write(batch) {
            self.unwritten = Some(batch);
            let full = matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            );
            if full && self.writer.make_room()? {
                return self.write();
            }
            return Err(error);
        }
        self.sync_at
            .get_or_insert(Instant::now() + self.sync_interval);
        Ok(())
    }

    /// Begins a sync, if one is due and none is running. After a failed one, syncs here and now.
    fn sync(&mut self) -> io::Result<()> {
        if self.writer.is_syncing() {
            return Ok(());
        }
        if self.writer.has_failed_sync() {
            return self.writer.sync();
        }
        let with_cursors = is_due(self.cursors_at);
        if with_cursors || is_due(self.sync_at) || self.writer.must_sync() {
            self.syncer.start(self.writer.start_sync(with_cursors));
            self.sync_at = None;
            if with_cursors {
                self.cursors_at = None;
            }
        }
        Ok(())
    }

    /// Logs the first of several failures, and when the journal works again.
    fn note_result(&mut self, done: io::Result<bool>) {
        match done {
            Ok(sync_succeeded) => {
                self.paused_until = None;
                if sync_succeeded && self.shared.counters.set_trouble(None) {
                    tracing::info!("the journal can be written again");
                }
            }
            Err(error) => {
                let now = Instant::now();
                self.paused_until = Some(now + RETRY_PAUSE);
                // Only a sync that succeeds shows that the disk works again.
                self.sync_at.get_or_insert(now);
                self.cursors_at.get_or_insert(now);
                if self.shared.counters.set_trouble(Some(error.to_string())) {
                    tracing::error!(%error, "the journal cannot be written, trying again");
                }
            }
        }
    }

    /// Writes, syncs and stores everything that waits. The error says how much could not be made safe.
    fn finish(&mut self) -> Result<(), CloseError> {
        self.finish_files().map_err(|cause| CloseError {
            unsynced: self.unsynced_records(),
            cause,
        })
    }

    fn finish_files(&mut self) -> io::Result<()> {
        self.write()?;
        let mut buffer = Some(Vec::new());
        self.unwritten = self.shared.queue.wait(None, &mut buffer, true).batch;
        self.write()?;
        self.writer.sync()?;
        self.writer.store_cursors()?;
        self.writer.remove_passed()
    }

    fn unsynced_records(&self) -> u64 {
        let waiting = self.unwritten.as_ref();
        self.writer.unsynced_records()
            + waiting.map_or(0, |batch| batch.end_offset - batch.first_offset)
            + self.shared.queue.waiting_records()
    }
}

fn is_due(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at <= Instant::now())
}
