//! The reconnect loop of one subscription.
//!
//! A [`Task`] keeps one topic of one account connected until it is told to stop; a [`Handle`] says
//! how it fares. Whatever goes wrong, a panic even, is logged, counted and tried again: nothing but a
//! stop, or the end of the journal, ends the task.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::backoff_policy::BackoffPolicy;
use super::counters::Counters;
use super::error::{Cause, Error};
use super::gaps::Outages;
use super::session::handover::{Succession, changed};
use super::session::ingest::Feed;
use super::session::liveness::Liveness;
use super::session::{End, Session};
use super::shared::Central;
use super::source::{Connection, Source};
use super::stop::Stop;
use crate::config::Topic;
use crate::frame::{SubscriptionId, Timestamp};
use crate::journal::Appender;

pub use super::auth::credential::CredentialStatus;
pub use super::counters::Counts;
pub use super::handle::{Ended, Handle, State};
pub use super::stop::Leave;

/// One subscription: to be run on a task of its own.
#[derive(Debug)]
pub struct Task {
    topic: Topic,
    source: watch::Receiver<Arc<Source>>,
    feed: Feed,
    state: watch::Sender<State>,
    stop: Arc<Stop>,
    /// Has taken over from the connection before.
    next: Option<Box<Connection>>,
    outages: Outages,
    /// Counts among those whose tries are spread.
    _member: Member,
}

/// A subscription of `account`, which is its name in the config, to `topic`.
#[must_use]
pub fn new(account: &str, topic: Topic, source: Arc<Source>, appender: Appender) -> (Handle, Task) {
    let id = SubscriptionId::new(account, topic.stream.clone());
    let member = Member::new(Arc::clone(source.central()));
    let (state, watched) = watch::channel(State::Connecting);
    let (source, sources) = watch::channel(source);
    let counters = Arc::new(Counters::default());
    let stop = Arc::new(Stop::default());
    let outages = Outages::begin(id.clone(), member.central());
    let handle = Handle {
        id: id.clone(),
        state: watched,
        counters: Arc::clone(&counters),
        source,
        stop: Arc::clone(&stop),
    };
    let task = Task {
        topic,
        source: sources,
        feed: Feed::new(id, appender, counters),
        state,
        stop,
        next: None,
        outages,
        _member: member,
    };
    (handle, task)
}

impl Task {
    /// Connects, reads and connects again, for ever.
    pub async fn run(mut self) -> Ended {
        let central = Arc::clone(self.source.borrow().central());
        let mut waits = BackoffPolicy::new(central.settings());
        let mut wait = central.spread();
        let ended = loop {
            if !wait.is_zero() && !self.wait(wait).await {
                break Ended::Stopped;
            }
            let began = Instant::now();
            let attempt = AssertUnwindSafe(self.connect_and_read())
                .catch_unwind()
                .await;
            let why = match attempt
                .unwrap_or_else(|panic| End::Failed(Error::panicked("this subscription", &*panic)))
            {
                End::Stopped => break Ended::Stopped,
                End::JournalClosed => break Ended::JournalClosed,
                End::Replaced(next, delivered) => {
                    self.feed.follows(delivered);
                    self.next = Some(next);
                    wait = Duration::ZERO;
                    continue;
                }
                End::Failed(why) => why,
            };
            let held = self.held(began);
            let last_heard = held.map(|_| self.feed.last_heard());
            self.outages.failed(&why, last_heard).await;
            waits.worked(held.unwrap_or_default());
            wait = waits.after(&why) + central.spread();
            self.report(&why, wait);
        };
        self.end().await;
        self.state.send_replace(State::Stopped);
        tracing::info!(subscription = %self.feed.id(), ?ended, "subscription ended");
        ended
    }

    async fn end(&mut self) {
        match self.stop.leave() {
            Leave::ForGood => self.outages.forget().await,
            Leave::ForNow => {
                let gap = self.outages.stopped().await;
                // Without a journal there is nobody to tell.
                let _ = self.feed.tell(gap).await;
            }
        }
    }

    /// `false`: we are to stop. A changed account is tried at once.
    async fn wait(&mut self, wait: Duration) -> bool {
        let known = Arc::clone(&self.source.borrow());
        tokio::select! {
            () = sleep(wait) => true,
            () = changed(self.source.clone(), known) => true,
            () = self.stop.asked() => false,
        }
    }

    /// One connection.
    async fn connect_and_read(&mut self) -> End {
        let connection = match self.next.take() {
            Some(next) => next,
            None => match self.connect().await {
                Ok(connection) => connection,
                Err(end) => return end,
            },
        };
        self.feed.counters().connected();
        self.feed.heard();
        let gap = self.outages.up().await;
        if self.feed.tell(gap).await.is_err() {
            return End::JournalClosed;
        }
        self.state.send_replace(State::Connected {
            since: Timestamp::now(),
        });
        tracing::info!(subscription = %self.feed.id(), "connected");
        self.read(*connection).await
    }

    async fn connect(&self) -> Result<Box<Connection>, End> {
        self.state.send_replace(State::Connecting);
        let source = Arc::clone(&self.source.borrow());
        // Large, and needed for a moment only.
        let connecting = Box::pin(source.connect(&self.topic));
        let connected = tokio::select! {
            biased;
            () = self.stop.asked() => return Err(End::Stopped),
            connected = connecting => connected,
        };
        connected.map(Box::new).map_err(End::Failed)
    }

    async fn read(&mut self, connection: Connection) -> End {
        let settings = *connection.source.settings();
        let idle_timeout = connection.source.idle_timeout(self.topic.name());
        let began = connection.source.central().began();
        let id = self.feed.id();
        let succession = Succession::of(
            connection.lease,
            &connection.source,
            &self.source,
            &self.topic,
            id,
        );
        let session = Session {
            socket: connection.socket,
            liveness: Liveness::new(&settings, idle_timeout, began, Instant::now()),
            feed: &mut self.feed,
            stop: &self.stop,
            succession,
            noted: None,
            overlap: settings.overlap,
            close_timeout: settings.close_timeout,
            write_timeout: settings.pong_timeout,
        };
        session.run().await
    }

    /// How long the connection held; `None`: there was none.
    fn held(&self, began: Instant) -> Option<Duration> {
        let was_connected = matches!(*self.state.borrow(), State::Connected { .. });
        was_connected.then(|| began.elapsed())
    }

    fn report(&self, why: &Error, wait: Duration) {
        let subscription = self.feed.id();
        let cause = why.cause();
        self.feed.counters().failed(cause);
        if matches!(why, Error::Refused { .. }) || cause == Cause::Panicked {
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

/// One of the subscriptions whose tries are spread.
#[derive(Debug)]
struct Member(Arc<Central>);

impl Member {
    fn new(central: Arc<Central>) -> Self {
        central.joined();
        Self(central)
    }

    fn central(&self) -> &Central {
        &self.0
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.left();
    }
}
