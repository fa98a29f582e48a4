//! Where a session puts what it reads: into the journal, each thing once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::recent_hashes::{Window, hash_of_event, hash_of_frame};
use crate::central::counters::Counters;
use crate::event::Gap;
use crate::frame::{Frame, Stream, SubscriptionId, Timestamp};
use crate::journal::{AppendError, Appender};

/// Events of New Central by whose ids duplicates are told: some seconds of a busy feed.
const EVENTS: usize = 4096;

/// For so long a connection may deliver what the one before it has delivered.
const OVERLAP: Duration = Duration::from_secs(30);

/// A gap is told in the log alone, if the journal stays full for so long: what Central sends now must
/// not wait for that.
const ROOM_FOR_A_GAP: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Feed {
    id: SubscriptionId,
    appender: Appender,
    counters: Arc<Counters>,
    /// What the connection before has delivered last, until it is forgotten.
    before: Option<(Window, Instant)>,
    /// The last events of New Central.
    events: Option<Window>,
    /// When the peer of the connection last showed that it is there.
    heard: Timestamp,
}

#[derive(Debug)]
pub(crate) struct JournalClosed;

impl Feed {
    pub(crate) fn new(id: SubscriptionId, appender: Appender, counters: Arc<Counters>) -> Self {
        let events = match id.stream() {
            Stream::New { .. } => Some(Window::new(EVENTS)),
            Stream::Classic { .. } | Stream::Internal(_) => None,
        };
        Self {
            id,
            appender,
            counters,
            before: None,
            events,
            heard: Timestamp::now(),
        }
    }

    pub(crate) fn id(&self) -> &SubscriptionId {
        &self.id
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn shared_counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The peer has shown that it is there.
    pub(crate) fn heard(&mut self) {
        self.heard = Timestamp::now();
    }

    pub(crate) fn last_heard(&self) -> Timestamp {
        self.heard
    }

    /// Tells of a gap, if there is room in the journal within a moment.
    pub(crate) async fn tell(&self, gap: Option<Gap>) -> Result<(), JournalClosed> {
        let Some(gap) = gap else { return Ok(()) };
        self.counters.gap(&gap);
        match timeout(ROOM_FOR_A_GAP, self.appender.append(&gap.frame())).await {
            Ok(Err(AppendError::Closed)) => Err(JournalClosed),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(AppendError::TooLarge)) | Err(_) => {
                tracing::error!(subscription = %self.id, ?gap, "the journal has no room for this gap");
                Ok(())
            }
        }
    }

    /// A new connection takes over from one that has delivered these.
    pub(crate) fn follows(&mut self, delivered: Window) {
        self.before = Some((delivered, Instant::now() + OVERLAP));
    }

    /// BackoffPolicy while the journal is full. What is appended is noted in `noted`.
    pub(crate) async fn append(
        &mut self,
        payload: Bytes,
        noted: Option<&mut Window>,
    ) -> Result<(), JournalClosed> {
        let event = self.events.as_ref().and_then(|_| hash_of_event(&payload));
        if self.is_known(event) || self.was_delivered(&payload) {
            self.counters.duplicate();
            return Ok(());
        }
        let frame = Frame {
            subscription: self.id.clone(),
            received_at: Timestamp::now(),
            payload,
        };
        self.heard = frame.received_at;
        self.counters.waits(true);
        let appended = self.appender.append(&frame).await;
        self.counters.waits(false);
        match appended {
            Ok(_) => {
                self.counters.frame(frame.payload.len(), frame.received_at);
                if let Some(noted) = noted {
                    noted.note(hash_of_frame(&frame.payload));
                }
                if let (Some(events), Some(event)) = (&mut self.events, event) {
                    events.note(event);
                }
                Ok(())
            }
            Err(AppendError::Closed) => Err(JournalClosed),
            Err(error @ AppendError::TooLarge) => {
                tracing::error!(subscription = %self.id, bytes = frame.payload.len(), "{error}");
                self.counters.abandoned();
                Ok(())
            }
        }
    }

    fn is_known(&self, event: Option<u128>) -> bool {
        match (&self.events, event) {
            (Some(events), Some(event)) => events.contains(event),
            _ => false,
        }
    }

    fn was_delivered(&mut self, payload: &[u8]) -> bool {
        let Some((delivered, until)) = &mut self.before else {
            return false;
        };
        if Instant::now() > *until {
            self.before = None;
            return false;
        }
        delivered.take(hash_of_frame(payload))
    }
}
