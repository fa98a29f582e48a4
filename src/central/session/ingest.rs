//! Hands what a session reads to the journal, each frame once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::recent_hashes::{RecentHashes, hash_of_event, hash_of_frame};
use crate::central::counters::Counters;
use crate::event::Gap;
use crate::frame::{Frame, Stream, SubscriptionId, Timestamp};
use crate::journal::{AppendError, Appender};

/// Events of New Central that are remembered to recognise duplicates: some seconds of a busy stream.
const MAX_REMEMBERED_EVENTS: usize = 4096;

/// How long a connection is checked for frames that its predecessor has delivered too.
const DUPLICATES_EXPECTED: Duration = Duration::from_secs(30);

/// How long a gap waits for room in a full journal. After that it is only logged: the frames that
/// Central sends now must not wait for it.
const GAP_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Ingest {
    id: SubscriptionId,
    appender: Appender,
    counters: Arc<Counters>,
    /// What the connection before this one delivered last, and until when it is of use.
    predecessor: Option<(RecentHashes, Instant)>,
    /// The last events of New Central.
    recent_events: Option<RecentHashes>,
    /// When the peer last sent anything.
    last_alive: Timestamp,
}

#[derive(Debug)]
pub(crate) struct JournalClosed;

impl Ingest {
    pub(crate) fn new(id: SubscriptionId, appender: Appender, counters: Arc<Counters>) -> Self {
        let recent_events = match id.stream() {
            Stream::New { .. } => Some(RecentHashes::new(MAX_REMEMBERED_EVENTS)),
            Stream::Classic { .. } | Stream::Internal(_) => None,
        };
        Self {
            id,
            appender,
            counters,
            predecessor: None,
            recent_events,
            last_alive: Timestamp::now(),
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

    /// The peer has sent something that is not stored.
    pub(crate) fn peer_alive(&mut self) {
        self.last_alive = Timestamp::now();
    }

    pub(crate) fn last_alive(&self) -> Timestamp {
        self.last_alive
    }

    /// Appends the event of a gap, unless the journal stays full.
    pub(crate) async fn report_gap(&self, gap: Option<Gap>) -> Result<(), JournalClosed> {
        let Some(gap) = gap else { return Ok(()) };
        self.counters.gap(&gap);
        match timeout(GAP_TIMEOUT, self.appender.append(&gap.frame())).await {
            Ok(Err(AppendError::Closed)) => Err(JournalClosed),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(AppendError::TooLarge)) | Err(_) => {
                tracing::error!(subscription = %self.id, ?gap, "the journal is full: this gap is only logged");
                Ok(())
            }
        }
    }

    /// A new connection takes over from one that delivered these frames last.
    pub(crate) fn follows(&mut self, delivered: RecentHashes) {
        self.predecessor = Some((delivered, Instant::now() + DUPLICATES_EXPECTED));
    }

    /// Waits while the journal is full. The hash of a stored frame is added to `delivered`.
    pub(crate) async fn append(
        &mut self,
        payload: Bytes,
        delivered: Option<&mut RecentHashes>,
    ) -> Result<(), JournalClosed> {
        let event = self
            .recent_events
            .as_ref()
            .and_then(|_| hash_of_event(&payload));
        if self.is_recent(event) || self.predecessor_delivered(&payload) {
            self.counters.duplicate();
            return Ok(());
        }
        let frame = Frame {
            subscription: self.id.clone(),
            received_at: Timestamp::now(),
            payload,
        };
        self.last_alive = frame.received_at;
        self.counters.set_waiting(true);
        let appended = self.appender.append(&frame).await;
        self.counters.set_waiting(false);
        match appended {
            Ok(_) => {
                self.counters.frame(frame.payload.len(), frame.received_at);
                if let Some(delivered) = delivered {
                    delivered.insert(hash_of_frame(&frame.payload));
                }
                if let (Some(events), Some(event)) = (&mut self.recent_events, event) {
                    events.insert(event);
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

    fn is_recent(&self, event: Option<u128>) -> bool {
        match (&self.recent_events, event) {
            (Some(events), Some(event)) => events.contains(event),
            _ => false,
        }
    }

    fn predecessor_delivered(&mut self, payload: &[u8]) -> bool {
        let Some((delivered, until)) = &mut self.predecessor else {
            return false;
        };
        if Instant::now() > *until {
            self.predecessor = None;
            return false;
        }
        delivered.remove(hash_of_frame(payload))
    }
}
