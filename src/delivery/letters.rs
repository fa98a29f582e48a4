//! The dead letters of one sink, on their way into their journal.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::prepare::Preparer;
use super::window::Refused;
use crate::event;
use crate::frame::{Internal, Timestamp};
use crate::journal::{AppendError, Appender, Committer, Entry, Journal, Progress, Refusal};

/// What is kept of a reason; brokers' own words are shorter.
const REASON_BYTES: usize = 1024;

/// The journal of dead letters, as all deliveries use it.
#[derive(Clone, Debug)]
pub(super) struct DeadLetters {
    journal: Appender,
    progress: watch::Receiver<Progress>,
}

impl DeadLetters {
    pub(super) fn of(journal: &Journal) -> Self {
        Self {
            journal: journal.appender(),
            progress: journal.progress(),
        }
    }
}

/// Where a letter is told of as an event of its own.
#[derive(Debug)]
pub(super) struct Events {
    /// Knows whether a route takes such events.
    pub(super) preparer: Arc<Preparer>,
    /// That of the frames.
    pub(super) journal: Appender,
}

#[derive(Debug)]
pub(super) struct Letters {
    unsent: Unsent,
    /// Appended, perhaps not synced.
    unsynced: VecDeque<Sent>,
    progress: watch::Receiver<Progress>,
}

/// Refused records whose letters are not appended yet.
#[derive(Debug)]
struct Unsent {
    sink: String,
    /// Where the frames are read again.
    frames: Committer,
    journal: Appender,
    /// In the order of their offsets.
    refused: VecDeque<Refused>,
    /// The first one's frame, while it is read.
    reading: Option<JoinHandle<io::Result<Option<Entry>>>>,
    /// The first one's letter, while it is appended.
    letter: Option<Letter>,
    events: Events,
}

/// The letter is appended, then its event.
#[derive(Debug)]
struct Letter {
    /// With its refusal.
    entry: Entry,
    sent: Option<Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    frame_offset: u64,
    letter_offset: u64,
}

impl Letters {
    pub(super) fn new(
        sink: String,
        frames: Committer,
        dead_letters: &DeadLetters,
        events: Events,
    ) -> Self {
        Self {
            unsent: Unsent {
                sink,
                frames,
                journal: dead_letters.journal.clone(),
                refused: VecDeque::new(),
                reading: None,
                letter: None,
                events,
            },
            unsynced: VecDeque::new(),
            progress: dead_letters.progress.clone(),
        }
    }

    pub(super) fn push(&mut self, refused: Refused) {
        self.unsent.refused.push_back(refused);
    }

    /// Letters that could be lost yet.
    pub(super) fn len(&self) -> usize {
        self.unsent.refused.len() + self.unsynced.len()
    }

    /// The offset of the first frame whose letter could be lost yet.
    pub(super) fn first_unsafe(&self) -> Option<u64> {
        let sent = self.unsynced.front().map(|sent| sent.frame_offset);
        sent.or_else(|| self.unsent.refused.front().map(|refused| refused.offset))
    }

    /// Waits until one was appended, or some were synced; for ever if there is none. Dropping the
    /// future before it is ready loses nothing.
    pub(super) async fn work(&mut self) {
        let first = self.unsynced.front().copied();
        tokio::select! {
            biased;
            synced = synced(&mut self.progress, first) => {
                let safe = self.unsynced.partition_point(|sent| sent.letter_offset < synced);
                self.unsynced.drain(..safe);
            }
            sent = self.unsent.append() => self.unsynced.extend(sent),
        }
    }
}

/// Waits until a letter is synced, and tells how far its journal is.
async fn synced(progress: &mut watch::Receiver<Progress>, letter: Option<Sent>) -> u64 {
    if let Some(Sent { letter_offset, .. }) = letter
        && let Ok(progress) = progress
            .wait_for(|progress| progress.synced > letter_offset)
            .await
    {
        return progress.synced;
    }
    pending().await
}

impl Events {
    /// The letter itself is in its own journal: that its event is not to be had is no loss of it.
    async fn tell(&self, letter: &Entry) {
        if !self.preparer.wants(Internal::DeadLetters) {
            return;
        }
        if let Some(frame) = event::dead_letter(letter)
            && let Err(error) = self.journal.append(&frame).await
        {
            tracing::warn!(
                offset = letter.offset,
                "a dead letter is told by no event of its own: {error}"
            );
        }
    }
}

impl Unsent {
    /// Appends the first letter; `None` if its frame is not to be had.
    async fn append(&mut self) -> Option<Sent> {
        let Some(refused) = self.refused.front() else {
            return pending().await;
        };
        let frame_offset = refused.offset;
        if self.letter.is_none() {
            match self.read(frame_offset).await {
                Ok(entry) => self.write(entry),
                Err(why) => return self.give_up(&why),
            }
        }
        let letter = self.letter.as_mut()?;
        if letter.sent.is_none() {
            let (frame, refusal) = (&letter.entry.frame, letter.entry.refusal.as_deref()?);
            match self.journal.append_refused(frame, refusal).await {
                Ok(letter_offset) => {
                    letter.sent = Some(Sent {
                        frame_offset,
                        letter_offset,
                    });
                }
                Err(error @ AppendError::TooLarge) => return self.give_up(&error.to_string()),
                // The frame stays in its journal, and is refused again after the next start.
                Err(AppendError::Closed) => return pending().await,
            }
        }
        self.events.tell(&letter.entry).await;
        self.refused.pop_front();
        self.letter.take()?.sent
    }

    async fn read(&mut self, offset: u64) -> Result<Entry, String> {
        let reading = self.reading.get_or_insert_with(|| {
            let frames = self.frames.clone();
            spawn_blocking(move || frames.read_again(offset))
        });
        let read = reading.await;
        self.reading = None;
        let found = read.map_err(io::Error::other).flatten();
        let found = found.map_err(|error| format!("its frame cannot be read: {error}"))?;
        found.ok_or_else(|| "its frame was dropped from the journal".to_owned())
    }

    fn write(&mut self, entry: Entry) {
        let Some(refused) = self.refused.front_mut() else {
            return;
        };
        let mut reason = std::mem::take(&mut refused.reason);
        while reason.len() > REASON_BYTES {
            reason.pop();
        }
        let before = entry.refusal.as_ref().map_or(0, |refusal| refusal.times);
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
            times: before.saturating_add(1),
        };
        self.letter = Some(Letter {
            entry: Entry {
                refusal: Some(Box::new(refusal)),
                ..entry
            },
            sent: None,
        });
    }

    fn give_up(&mut self, why: &str) -> Option<Sent> {
        if let Some(refused) = self.refused.pop_front() {
            let Refused { offset, reason } = refused;
            tracing::error!(
                sink = self.sink,
                offset,
                "a dead letter is lost, {why}: {reason}"
            );
        }
        self.letter = None;
        None
    }
}
