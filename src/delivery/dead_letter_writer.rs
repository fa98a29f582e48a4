//! Writes the dead letters of one sink to their journal.
//!
//! ```text
//! RefusedRecord ──▶ its frame is read again ──▶ dead letter is appended ──▶ synced: the cursor may pass
//!                                                └▶ event on @dead-letters
//! ```

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::prepare::Preparer;
use super::window::RefusedRecord;
use crate::event;
use crate::frame::{Internal, Timestamp};
use crate::journal::{AppendError, Appender, Committer, Entry, Journal, Progress, Refusal};
use crate::supervise::Panic;

/// Longer reasons are cut. What brokers say is shorter.
const MAX_REASON_BYTES: usize = 1024;

/// The journal of dead letters, which all deliveries share.
#[derive(Clone, Debug)]
pub(super) struct DeadLetterJournal {
    journal: Appender,
    progress: watch::Receiver<Progress>,
}

impl DeadLetterJournal {
    pub(super) fn of(journal: &Journal) -> Self {
        Self {
            journal: journal.appender(),
            progress: journal.progress(),
        }
    }
}

/// Writes an event for each dead letter, if a route takes such events.
#[derive(Debug)]
pub(super) struct EventWriter {
    /// Knows whether a route takes them.
    pub(super) preparer: Arc<Preparer>,
    /// The journal of frames.
    pub(super) journal: Appender,
}

/// Takes refused records, and knows which of their dead letters are not safe yet.
#[derive(Debug)]
pub(super) struct DeadLetterWriter {
    queue: Queue,
    /// Appended, perhaps not synced.
    unsynced: VecDeque<Appended>,
    progress: watch::Receiver<Progress>,
}

/// Refused records whose dead letters are not appended yet.
#[derive(Debug)]
struct Queue {
    sink: String,
    /// Where their frames are read again.
    frames: Committer,
    journal: Appender,
    /// In the order of their offsets.
    refused: VecDeque<RefusedRecord>,
    /// The frame of the first record, while it is read.
    reading: Option<JoinHandle<io::Result<Option<Entry>>>>,
    /// The dead letter of the first record, while it is appended.
    current: Option<DeadLetter>,
    events: EventWriter,
}

/// It is appended first, then its event.
#[derive(Debug)]
struct DeadLetter {
    /// With its refusal.
    entry: Entry,
    appended: Option<Appended>,
}

#[derive(Clone, Copy, Debug)]
struct Appended {
    frame_offset: u64,
    /// In the journal of dead letters.
    offset: u64,
}

impl DeadLetterWriter {
    pub(super) fn new(
        sink: String,
        frames: Committer,
        dead_letters: &DeadLetterJournal,
        events: EventWriter,
    ) -> Self {
        Self {
            queue: Queue {
                sink,
                frames,
                journal: dead_letters.journal.clone(),
                refused: VecDeque::new(),
                reading: None,
                current: None,
                events,
            },
            unsynced: VecDeque::new(),
            progress: dead_letters.progress.clone(),
        }
    }

    pub(super) fn push(&mut self, refused: RefusedRecord) {
        self.queue.refused.push_back(refused);
    }

    /// Dead letters that are not synced yet.
    pub(super) fn len(&self) -> usize {
        self.queue.refused.len() + self.unsynced.len()
    }

    /// The offset of the first frame whose dead letter is not synced yet.
    pub(super) fn first_unsynced(&self) -> Option<u64> {
        let appended = self.unsynced.front().map(|letter| letter.frame_offset);
        appended.or_else(|| self.queue.refused.front().map(|refused| refused.offset))
    }

    /// Waits until a dead letter was appended, or some were synced; for ever if there is none.
    /// Dropping the future before it is ready loses nothing.
    pub(super) async fn work(&mut self) {
        let first = self.unsynced.front().copied();
        tokio::select! {
            biased;
            synced = synced(&mut self.progress, first) => {
                let safe = self.unsynced.partition_point(|letter| letter.offset < synced);
                self.unsynced.drain(..safe);
            }
            appended = self.queue.append_first() => self.unsynced.extend(appended),
        }
    }
}

/// Waits until this dead letter is synced, and returns the offset up to which its journal is.
async fn synced(progress: &mut watch::Receiver<Progress>, letter: Option<Appended>) -> u64 {
    if let Some(Appended { offset, .. }) = letter
        && let Ok(progress) = progress.wait_for(|progress| progress.synced > offset).await
    {
        return progress.synced;
    }
    pending().await
}

impl EventWriter {
    /// The dead letter itself is in its own journal: without the event it is not lost.
    async fn write(&self, letter: &Entry) {
        if !self.preparer.wants(Internal::DeadLetters) {
            return;
        }
        if let Some(frame) = event::dead_letter(letter)
            && let Err(error) = self.journal.append(&frame).await
        {
            tracing::warn!(
                offset = letter.offset,
                "no event can be written for a dead letter: {error}"
            );
        }
    }
}

impl Queue {
    /// Appends the dead letter of the first record; `None` if its frame cannot be read any more.
    async fn append_first(&mut self) -> Option<Appended> {
        let Some(refused) = self.refused.front() else {
            return pending().await;
        };
        let frame_offset = refused.offset;
        if self.current.is_none() {
            match self.read(frame_offset).await {
                Ok(entry) => self.begin(entry),
                Err(why) => return self.give_up(&why),
            }
        }
        let letter = self.current.as_mut()?;
        if letter.appended.is_none() {
            let (frame, refusal) = (&letter.entry.frame, letter.entry.refusal.as_deref()?);
            match self.journal.append_refused(frame, refusal).await {
                Ok(offset) => {
                    letter.appended = Some(Appended {
                        frame_offset,
                        offset,
                    });
                }
                Err(error @ AppendError::TooLarge) => return self.give_up(&error.to_string()),
                // The frame stays in its journal, and is refused again after the next start.
                Err(AppendError::Closed) => return pending().await,
            }
        }
        self.events.write(&letter.entry).await;
        self.refused.pop_front();
        self.current.take()?.appended
    }

    async fn read(&mut self, offset: u64) -> Result<Entry, String> {
        let reading = self.reading.get_or_insert_with(|| {
            let frames = self.frames.clone();
            spawn_blocking(move || frames.read_again(offset))
        });
        let read = reading.await;
        self.reading = None;
        let found = read.map_err(|panic| Panic::from(panic).into()).flatten();
        let found = found.map_err(|error| format!("its frame cannot be read: {error}"))?;
        found.ok_or_else(|| "its frame was dropped from the journal".to_owned())
    }

    /// Logs the refusal, and makes a dead letter of the frame.
    fn begin(&mut self, entry: Entry) {
        let Some(refused) = self.refused.front_mut() else {
            return;
        };
        let mut reason = std::mem::take(&mut refused.reason);
        while reason.len() > MAX_REASON_BYTES {
            reason.pop();
        }
        let times_before = entry.refusal.as_ref().map_or(0, |refusal| refusal.times);
        tracing::error!(
            sink = self.sink,
            subscription = %entry.frame.subscription,
            offset = entry.offset,
            "a dead letter: {reason}"
        );
        let refusal = Refusal {
            sink: self.sink.clone(),
            reason,
            refused_at: Timestamp::now(),
            times: times_before.saturating_add(1),
        };
        self.current = Some(DeadLetter {
            entry: Entry {
                refusal: Some(Box::new(refusal)),
                ..entry
            },
            appended: None,
        });
    }

    fn give_up(&mut self, why: &str) -> Option<Appended> {
        if let Some(RefusedRecord { offset, reason }) = self.refused.pop_front() {
            tracing::error!(
                sink = self.sink,
                offset,
                "a dead letter is lost, because {why}: {reason}"
            );
        }
        self.current = None;
        None
    }
}
