//! The writer thread: waits for work or the next timer, and never ends because a disk fails.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::queue::{Batch, Wake};
use super::writer::Writer;
use super::{CloseError, Shared};

/// After a failure the disk is left alone for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// Storing cursors may take at most one part in so many of the writer's time: on a slow disk they
/// are stored less often, which costs repeats after a crash, never frames.
const CURSOR_SHARE: u32 = 10;

#[derive(Debug)]
struct Thread {
    shared: Arc<Shared>,
    writer: Writer,
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
    }
}

impl Thread {
    fn run(mut self) -> Result<(), CloseError> {
        let shared = Arc::clone(&self.shared);
        let mut spare = Some(Vec::new());
        loop {
            let mut none = None;
            let blocked = self.is_blocked();
            let wanted = self.unwritten.is_none() && self.paused_until.is_none() && !blocked;
            let room = if wanted { &mut spare } else { &mut none };
            let wake = shared.queue.wait(self.next_timer(), room);
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

    fn next_timer(&self) -> Option<Instant> {
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

    /// Does what is due. A full disk fails the write, and is healed by the cursors: they go on.
    fn work(&mut self) -> io::Result<()> {
        let written = self.write();
        let synced = if due(self.sync_at) || self.writer.must_sync() {
            self.sync()
        } else {
            Ok(())
        };
        let stored = if due(self.cursors_at) {
            self.store_cursors()
        } else {
            Ok(())
        };
        written.and(synced).and(stored)
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

    fn sync(&mut self) -> io::Result<()> {
        self.writer.sync()?;
        self.sync_at = None;
        Ok(())
    }

    /// A cursor is stored only up to what is synced, so the sync comes first.
    fn store_cursors(&mut self) -> io::Result<()> {
        self.sync()?;
        let start = Instant::now();
        self.writer.store_cursors()?;
        self.writer.remove_passed()?;
        self.cursors_at = None;
        self.cursors_rest_until = Instant::now() + start.elapsed() * CURSOR_SHARE;
        Ok(())
    }

    /// Says what stands in the way, once, and when it is gone.
    fn after(&mut self, done: io::Result<()>) {
        match done {
            Ok(()) => {
                self.paused_until = None;
                if self.shared.numbers.set_trouble(None) {
                    tracing::info!("the journal can be written again");
                }
            }
            Err(error) => {
                self.paused_until = Some(Instant::now() + PAUSE);
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
        self.unwritten = self.shared.queue.wait(None, &mut spare).batch;
        self.write()?;
        self.store_cursors()
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use bytes::Bytes;
    use tokio::time::timeout;

    use super::super::sim::{Fault, Sim};
    use super::super::{Appender, Cursor, Journal, Location, Options, QUEUE_BYTES, Start};
    use super::*;
    use crate::config::{Backlog, OnFull};
    use crate::frame::{Frame, Stream, SubscriptionId, Timestamp};

    const A_WHILE: Duration = Duration::from_secs(30);

    fn open(disk: &Sim) -> (Journal, Cursor) {
        open_with_segments_of(disk, 1 << 20)
    }

    fn open_with_segments_of(disk: &Sim, segment_bytes: u64) -> (Journal, Cursor) {
        let options = Options {
            location: Location::Directory(PathBuf::new()),
            segment_bytes,
            sync_interval: Duration::from_millis(1),
            max_bytes: None,
            retain: Duration::ZERO,
        };
        let names = [("lake", Start::End)];
        let storage = Arc::new(disk.clone());
        let (journal, mut cursors) = Journal::start(storage, None, &options, &names).unwrap();
        (journal, cursors.remove(0))
    }

    async fn append(appender: &Appender, len: usize) {
        let frame = Frame {
            subscription: SubscriptionId::new("acme", Stream::parse("classic/x").unwrap()),
            received_at: Timestamp(0),
            payload: Bytes::from(vec![0; len]),
        };
        appender.append(&frame).await.unwrap();
    }

    async fn synced(journal: &Journal, offset: u64) {
        let mut progress = journal.progress();
        let done = progress.wait_for(|progress| progress.synced >= offset);
        timeout(A_WHILE, done).await.unwrap().unwrap();
    }

    async fn in_trouble(journal: &Journal) {
        let looking = async {
            while journal.stats().trouble.is_none() {
                tokio::task::yield_now().await;
            }
        };
        timeout(A_WHILE, looking).await.unwrap();
    }

    #[tokio::test]
    async fn a_bad_sector_costs_the_record_in_it_after_some_tries() {
        let disk = Sim::default();
        let (journal, mut cursor) = open(&disk);
        let appender = journal.appender();
        for _ in 0..3 {
            append(&appender, 10_000).await;
        }
        synced(&journal, 3).await;
        disk.spoil(15_000..15_001);
        let (mut offsets, mut failures, mut damaged) = (Vec::new(), 0, 0);
        while offsets.last() != Some(&2) {
            match timeout(A_WHILE, cursor.read(1 << 20)).await.unwrap() {
                Ok(batch) => {
                    damaged += batch.damaged;
                    offsets.extend(batch.entries.iter().map(|entry| entry.offset));
                }
                Err(_) => failures += 1,
            }
        }
        assert_eq!((offsets, damaged), (vec![0, 2], 1));
        assert!(failures >= 5, "it is asked for {failures} times");
        assert_eq!(journal.stats().cursors[0].damaged, 1);
        journal.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_makes_appenders_wait_and_loses_nothing() {
        let disk = Sim::default();
        let (journal, mut cursor) = open(&disk);
        let appender = journal.appender();
        disk.fill();
        let full = QUEUE_BYTES as usize - 200;
        append(&appender, full).await;
        in_trouble(&journal).await;
        let waiting = tokio::spawn({
            let appender = appender.clone();
            async move { append(&appender, 200).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());

        disk.heal();
        waiting.await.unwrap();
        synced(&journal, 2).await;
        let stats = journal.stats();
        assert_eq!(stats.trouble, None);
        assert!(stats.append_wait > Duration::ZERO);
        for (offset, len) in [(0, full), (1, 200)] {
            let batch = cursor.read(1).await.unwrap();
            assert_eq!(batch.entries[0].offset, offset);
            assert_eq!(batch.entries[0].frame.payload.len(), len);
        }
        journal.close().await.unwrap();
    }

    #[tokio::test]
    async fn on_a_disk_that_stays_full_the_oldest_is_skipped() {
        const FRAMES: u64 = 100;
        let disk = Sim::default();
        disk.limit(30_000);
        let (journal, mut cursor) = open_with_segments_of(&disk, 2000);
        for number in 0..FRAMES {
            append(&journal.appender(), 500).await;
            synced(&journal, number + 1).await;
        }
        let first = cursor.read(1).await.unwrap();
        assert!(first.skipped > 0);
        assert_eq!(first.entries[0].offset, first.skipped);
        let mut last = first.skipped;
        while last + 1 < FRAMES {
            let batch = cursor.read(1000).await.unwrap();
            last = batch.entries.last().unwrap().offset;
        }
        assert!(journal.stats().dropped_segments > 0);
        journal.close().await.unwrap();
    }

    #[tokio::test]
    async fn on_a_disk_that_stays_full_a_sink_that_must_not_skip_is_waited_for() {
        const FRAMES: u64 = 100;
        let disk = Sim::default();
        disk.limit(30_000);
        let (journal, mut cursor) = open_with_segments_of(&disk, 2000);
        cursor.committer().limit(Backlog {
            max_bytes: 1 << 20,
            on_full: OnFull::Block,
        });
        let (appender, mut progress) = (journal.appender(), journal.progress());
        let appending = tokio::spawn(async move {
            for number in 0..FRAMES {
                append(&appender, 500).await;
                let written = progress.wait_for(|progress| progress.written > number);
                written.await.unwrap();
            }
        });
        in_trouble(&journal).await;
        let mut next = 0;
        while next < FRAMES {
            let read = timeout(A_WHILE, cursor.read(1000));
            let batch = read.await.unwrap().unwrap();
            assert_eq!((batch.skipped, batch.entries[0].offset), (0, next));
            next += batch.entries.len() as u64;
            cursor.committer().commit(next);
        }
        appending.await.unwrap();
        journal.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_failed_sync_is_made_good() {
        let disk = Sim::default();
        let (journal, mut cursor) = open(&disk);
        disk.plan(Fault::FailedSync, 0);
        append(&journal.appender(), 100).await;
        synced(&journal, 1).await;

        drop((journal, cursor));
        (_, cursor) = open(&disk.after_power_loss(0));
        assert_eq!(cursor.read(1).await.unwrap().entries[0].offset, 0);
    }

    #[tokio::test]
    async fn closing_a_journal_on_a_full_disk_says_what_is_lost() {
        let disk = Sim::default();
        let (journal, _cursor) = open(&disk);
        let appender = journal.appender();
        disk.fill();
        append(&appender, 100).await;
        in_trouble(&journal).await;
        append(&appender, 100).await;
        assert_eq!(journal.close().await.unwrap_err().unsynced, 2);
    }
}
