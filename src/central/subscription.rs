//! The reconnect loop of one subscription.
//!
//! A [`Task`] keeps one topic of one account connected until it is told to stop; a [`Handle`] says
//! how it fares. Whatever goes wrong is logged, counted and tried again: nothing but a stop, or the
//! end of the journal, ends the task.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::counters::Counters;
use super::error::Error;
use super::liveness::Liveness;
use super::session::{End, Session};
use super::source::Source;
use crate::backoff::Backoff;
use crate::frame::{Frame, SubscriptionId, Timestamp};
use crate::journal::{AppendError, Appender};

pub use super::counters::Counts;

/// What a subscription is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Connecting,
    Connected {
        since: Timestamp,
    },
    /// The last try failed, or the last connection ended.
    BackingOff {
        until: Timestamp,
        why: Error,
    },
    Stopped,
}

impl State {
    /// Why Central refuses us, if an operator must act.
    #[must_use]
    pub fn refusal(&self) -> Option<&Error> {
        match self {
            Self::BackingOff { why, .. } => {
                Some(why).filter(|why| matches!(why, Error::Refused { .. }))
            }
            _ => None,
        }
    }
}

/// Why a task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Stopped,
    /// There is nowhere to put frames any more.
    JournalClosed,
}

/// What others may ask of a subscription. Dropping it does not stop the task.
#[derive(Clone, Debug)]
pub struct Handle {
    id: SubscriptionId,
    state: watch::Receiver<State>,
    counters: Arc<Counters>,
    stop: CancellationToken,
}

impl Handle {
    #[must_use]
    pub fn id(&self) -> &SubscriptionId {
        &self.id
    }

    /// The state, and each change of it.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.snapshot()
    }

    /// Asks the task to close its connection and end.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

/// One subscription: to be run on a task of its own.
#[derive(Debug)]
pub struct Task {
    source: Arc<Source>,
    feed: Feed,
    state: watch::Sender<State>,
    stop: CancellationToken,
}

/// A subscription to `id`'s topic at `source`, which stops when `stop` is cancelled.
#[must_use]
pub fn new(
    id: SubscriptionId,
    source: Arc<Source>,
    appender: Appender,
    stop: CancellationToken,
) -> (Handle, Task) {
    let (state, watched) = watch::channel(State::Connecting);
    let counters = Arc::new(Counters::default());
    let handle = Handle {
        id: id.clone(),
        state: watched,
        counters: Arc::clone(&counters),
        stop: stop.clone(),
    };
    let feed = Feed {
        id,
        appender,
        counters,
    };
    let task = Task {
        source,
        feed,
        state,
        stop,
    };
    (handle, task)
}

impl Task {
    /// Connects, reads and connects again, for ever.
    pub async fn run(self) -> Ended {
        let mut waits = Waits::new(&self.source);
        let ended = loop {
            self.state.send_replace(State::Connecting);
            let (held, end) = self.connect_and_read().await;
            let why = match end {
                End::Stopped => break Ended::Stopped,
                End::JournalClosed => break Ended::JournalClosed,
                End::Failed(why) => why,
            };
            let wait = waits.after(&why, held);
            self.report(&why, wait);
            tokio::select! {
                () = sleep(wait) => {}
                () = self.stop.cancelled() => break Ended::Stopped,
            }
        };
        self.state.send_replace(State::Stopped);
        tracing::info!(subscription = %self.feed.id, ?ended, "subscription ended");
        ended
    }

    /// One connection; also says how long it held.
    async fn connect_and_read(&self) -> (Duration, End) {
        let topic = self.feed.id.topic();
        let connected = tokio::select! {
            biased;
            () = self.stop.cancelled() => return (Duration::ZERO, End::Stopped),
            connected = self.source.connect(topic) => connected,
        };
        let socket = match connected {
            Ok(socket) => socket,
            Err(error) => return (Duration::ZERO, End::Failed(error)),
        };
        let since = Instant::now();
        self.state.send_replace(State::Connected {
            since: Timestamp::now(),
        });
        tracing::info!(subscription = %self.feed.id, "connected");
        let settings = self.source.settings();
        let session = Session {
            socket,
            liveness: Liveness::new(settings, self.source.idle_timeout(topic), since),
            feed: &self.feed,
            stop: &self.stop,
            close_timeout: settings.close_timeout,
            write_timeout: settings.pong_timeout,
        };
        let end = session.run().await;
        (since.elapsed(), end)
    }

    fn report(&self, why: &Error, wait: Duration) {
        let subscription = &self.feed.id;
        let cause = why.cause();
        self.feed.counters.failed(cause);
        if matches!(why, Error::Refused { .. }) {
            tracing::error!(%subscription, %cause, ?wait, "{why}");
        } else {
            tracing::warn!(%subscription, %cause, ?wait, "{why}");
        }
        let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        self.state.send_replace(State::BackingOff {
            until: Timestamp(Timestamp::now().0.saturating_add(micros)),
            why: why.clone(),
        });
    }
}

/// Refusals have a slower curve of their own.
struct Waits {
    ordinary: Backoff,
    refused: Backoff,
}

impl Waits {
    fn new(source: &Source) -> Self {
        let settings = source.settings();
        Self {
            ordinary: Backoff::new(settings.backoff),
            refused: Backoff::new(settings.refused_backoff),
        }
    }

    fn after(&mut self, why: &Error, held: Duration) -> Duration {
        self.ordinary.worked(held);
        self.refused.worked(held);
        let (backoff, asked) = match why {
            Error::Refused { .. } => (&mut self.refused, None),
            Error::Later { retry_after, .. } => (&mut self.ordinary, *retry_after),
            Error::Broken { .. } => (&mut self.ordinary, None),
        };
        backoff.pause(asked, &mut rand::rng())
    }
}

/// Where a session puts what it reads.
#[derive(Debug)]
pub(crate) struct Feed {
    id: SubscriptionId,
    appender: Appender,
    counters: Arc<Counters>,
}

impl Feed {
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Waits while the journal is full.
    pub(crate) async fn append(&self, payload: Bytes) -> Result<(), JournalClosed> {
        let frame = Frame {
            subscription: self.id.clone(),
            received_at: Timestamp::now(),
            payload,
        };
        match self.appender.append(&frame).await {
            Ok(_) => {
                self.counters.frame(frame.payload.len(), frame.received_at);
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
}

#[derive(Debug)]
pub(crate) struct JournalClosed;
