//! The writer thread: waits for work or the next timer, and never ends because a disk fails. Syncs
//! are done by another thread, so that readers see what comes meanwhile.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::queue::{Batch, Wake};
use super::syncing::Syncer;
use super::writer::Writer;
use super::{CloseError, Shared};

/// After a failure the disk is left alone for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// Storing cursors may take at most one part in so many of the time, since no sync is begun
/// meanwhile: on a slow disk they are stored less often, which costs repeats after a crash, never frames.
const CURSOR_SHARE: u32 = 10;

#[derive(Debug)]
struct Thread {
    shared: Arc<Shared>,
    writer: Writer,
    syncer: Syncer,
    sync_interval: Duration,
    /// A batch that could not be written yet.
    unwritten: Option<Batch>,
    sync_at: Option<Instant>,
    cursors_at: Option<Instant>,
    /// Cursors may not be stored before.
    cursors_rest_until: Instant,
    paused_until: Option<Instant>,
    /// A sink that must not skip is as far behind as it may be.
    blocked: bool,
}

/// Starts the thread. It ends when the queue is closed and empty.
pub(super) fn spawn(
    writer: Writer,
    sync_interval: Duration,
) -> io::Result<JoinHandle<Result<(), CloseError>>> {
    let thread = Thread {
        shared: Arc::clone(writer.shared()),
        writer,
        syncer: Syncer::spawn()?,
        sync_interval,
        unwritten: None,
        sync_at: None,
        cursors_at: None,
        cursors_rest_until: Instant::now(),
        paused_until: None,
        blocked: false,
    };
    std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || {
            let _ending = Ending(Arc::clone(&thread.shared));
            thread.run()
        })
}

/// However the thread ends, nobody waits for it any longer.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.queue.close();
        self.0
            .progress
            .send_modify(|progress| progress.closed = true);
        self.0.ended.cancel();
    }
}

impl Thread {
    fn run(mut self) -> Result<(), CloseError> {
        let shared = Arc::clone(&self.shared);
        let mut spare = Some(Vec::new());
        loop {
            let mut none = None;
            let blocked = self.is_blocked();
            let wanted = self.unwritten.is_none()
                && self.paused_until.is_none()
                && !blocked
                && !self.writer.is_full();
            let room = if wanted { &mut spare } else { &mut none };
            // The first commit sees to it that all cursors are stored.
            let commits = blocked || self.cursors_at.is_none();
            let wake = shared.queue.wait(self.next_timer(), room, commits);
            let closing = wake.closing;
            self.heed(wake);
            spare.get_or_insert_with(|| self.writer.spare());
            if closing {
                return self.finish();
            }
            if self
                .paused_until
                .is_none_or(|until| until <= Instant::now())
            {
                let done = self.work();
                self.after(done);
            }
        }
    }

    /// Whether appenders are to wait for a sink that must not skip; says so when that changes.
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

    /// The end of a sync wakes us too; no other is begun before.
    fn next_timer(&self) -> Option<Instant> {
        if self.paused_until.is_none() && self.writer.is_syncing() {
            return None;
        }
        self.paused_until.or(match (self.sync_at, self.cursors_at) {
            (Some(sync), Some(cursors)) => Some(sync.min(cursors)),
            (sync, cursors) => sync.or(cursors),
        })
    }

    fn heed(&mut self, wake: Wake) {
        if wake.batch.is_some() {
            self.unwritten = wake.batch;
        }
        if wake.committed && self.cursors_at.is_none() {
            let soon = Instant::now() + self.sync_interval;
            self.cursors_at = Some(soon.max(self.cursors_rest_until));
        }
    }

    /// Does what is due, and tells whether a sync has ended well. A full disk fails the write, and is
    /// healed by the cursors: they go on.
    fn work(&mut self) -> io::Result<bool> {
        let ended = self.end_sync();
        let written = self.write();
        let synced = self.sync();
        let ended_well = ended?;
        written.and(synced).map(|()| ended_well)
    }

    fn end_sync(&mut self) -> io::Result<bool> {
        let Some(ended) = self.writer.poll_sync() else {
            return Ok(false);
        };
        if !ended.storing.is_zero() {
            self.cursors_rest_until = Instant::now() + ended.storing * CURSOR_SHARE;
        }
        ended.result?;
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

    /// Begins a sync, if one is due and none is under way. After one that has failed it is waited for.
    fn sync(&mut self) -> io::Result<()> {
        if self.writer.is_syncing() {
            return Ok(());
        }
        if self.writer.is_suspect() {
            return self.writer.sync();
        }
        let with_cursors = due(self.cursors_at);
        if with_cursors || due(self.sync_at) || self.writer.must_sync() {
            self.syncer.start(self.writer.start_sync(with_cursors));
            self.sync_at = None;
            if with_cursors {
                self.cursors_at = None;
            }
        }
        Ok(())
    }

    /// Says what stands in the way, once, and when it is gone.
    fn after(&mut self, done: io::Result<bool>) {
        match done {
            Ok(ended_well) => {
                self.paused_until = None;
                if ended_well && self.shared.numbers.set_trouble(None) {
                    tracing::info!("the journal can be written again");
                }
            }
            Err(error) => {
                let now = Instant::now();
                self.paused_until = Some(now + PAUSE);
                // Only a sync shows that all is well again.
                self.sync_at.get_or_insert(now);
                self.cursors_at.get_or_insert(now);
                if self.shared.numbers.set_trouble(Some(error.to_string())) {
                    tracing::error!(%error, "the journal cannot be written, trying again");
                }
            }
        }
    }

    /// The last round: whatever waits is written, synced and stored, or it is said what was not.
    fn finish(&mut self) -> Result<(), CloseError> {
        self.finish_files().map_err(|cause| CloseError {
            unsynced: self.unsafe_records(),
            cause,
        })
    }

    fn finish_files(&mut self) -> io::Result<()> {
        self.write()?;
        let mut spare = Some(Vec::new());
        self.unwritten = self.shared.queue.wait(None, &mut spare, true).batch;
        self.write()?;
        self.writer.sync()?;
        self.writer.store_cursors()?;
        self.writer.remove_passed()
    }

    fn unsafe_records(&self) -> u64 {
        let waiting = self.unwritten.as_ref();
        self.writer.unsynced_records()
            + waiting.map_or(0, |batch| batch.end_offset - batch.first_offset)
            + self.shared.queue.waiting_records()
    }
}

fn due(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at <= Instant::now())
}
