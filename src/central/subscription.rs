//! The reconnect loop of one subscription.
//!
//! A [`Task`] keeps one topic of one account connected until it is asked to stop; its [`Handle`] shows
//! its state. Any failure, even a panic, is logged, counted and tried again: only a stop, or the end
//! of the journal, ends the task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::account_client::{AccountClient, Connection};
use super::backoff_policy::BackoffPolicy;
use super::counters::Counters;
use super::error::{Cause, Error};
use super::gaps::GapTracker;
use super::handle::StopSignal;
use super::session::handover::{Handover, changed};
use super::session::ingest::Ingest;
use super::session::liveness::Liveness;
use super::session::{Session, SessionEnd};
use super::shared::Central;
use crate::config::Topic;
use crate::frame::SubscriptionId;
use crate::journal::Appender;
use crate::supervise::catch;

pub use super::auth::credential::CredentialStatus;
pub use super::counters::Counts;
pub use super::handle::{Ended, Handle, State, StopMode};

/// One subscription, to be run on a task of its own.
#[derive(Debug)]
pub struct Task {
    topic: Topic,
    client: watch::Receiver<Arc<AccountClient>>,
    ingest: Ingest,
    state: watch::Sender<State>,
    stop: Arc<StopSignal>,
    /// The connection that has taken over from the last one.
    successor: Option<Box<Connection>>,
    gaps: GapTracker,
    _member: Member,
}

/// A subscription of `account`, which is its name in the config, to `topic`.
#[must_use]
pub fn new(
    account: &str,
    topic: Topic,
    client: Arc<AccountClient>,
    appender: Appender,
) -> (Handle, Task) {
    let id = SubscriptionId::new(account, topic.stream.clone());
    let member = Member::new(Arc::clone(client.central()));
    let (state, watched) = watch::channel(State::Connecting);
    let (client, clients) = watch::channel(client);
    let counters = Arc::new(Counters::default());
    let stop = Arc::new(StopSignal::default());
    let gaps = GapTracker::load(id.clone(), member.central());
    let handle = Handle {
        id: id.clone(),
        state: watched,
        counters: Arc::clone(&counters),
        client,
        stop: Arc::clone(&stop),
    };
    let task = Task {
        topic,
        client: clients,
        ingest: Ingest::new(id, appender, counters),
        state,
        stop,
        successor: None,
        gaps,
        _member: member,
    };
    (handle, task)
}

impl Task {
    /// Connects, reads and connects again until it is asked to stop.
    pub async fn run(mut self) -> Ended {
        let ended = self.reconnect().await;
        self.report_last_gap().await;
        self.state.send_replace(State::Stopped);
        tracing::info!(subscription = %self.ingest.id(), ?ended, "subscription ended");
        ended
    }

    async fn reconnect(&mut self) -> Ended {
        let central = Arc::clone(self.client.borrow().central());
        let mut backoff = BackoffPolicy::new(central.settings());
        let mut wait = central.spread();
        loop {
            if !wait.is_zero() && !self.wait(wait).await {
                return Ended::Stopped;
            }
            let began = Instant::now();
            let why = match self.attempt().await {
                SessionEnd::Stopped => return Ended::Stopped,
                SessionEnd::JournalClosed => return Ended::JournalClosed,
                SessionEnd::Replaced(successor, delivered) => {
                    self.ingest.follows(delivered);
                    self.successor = Some(successor);
                    wait = Duration::ZERO;
                    continue;
                }
                SessionEnd::Failed(why) => why,
            };
            let connected_for = self.is_connected().then(|| began.elapsed());
            let last_alive = connected_for.map(|_| self.ingest.last_alive());
            self.gaps.failed(&why, last_alive).await;
            backoff.worked_for(connected_for.unwrap_or_default());
            wait = backoff.after(&why) + central.spread();
            self.report_failure(&why, wait);
        }
    }

    /// `false`: it is to stop. A changed account is tried at once.
    async fn wait(&mut self, wait: Duration) -> bool {
        let known = Arc::clone(&self.client.borrow());
        tokio::select! {
            () = sleep(wait) => true,
            () = changed(self.client.clone(), known) => true,
            () = self.stop.asked() => false,
        }
    }

    /// One connection. A panic ends it, and not the task.
    async fn attempt(&mut self) -> SessionEnd {
        let attempt = catch(self.connect_and_read()).await;
        attempt.unwrap_or_else(|panic| SessionEnd::Failed(panic.into()))
    }

    async fn connect_and_read(&mut self) -> SessionEnd {
        let connection = match self.successor.take() {
            Some(successor) => successor,
            None => match self.connect().await {
                Ok(connection) => connection,
                Err(end) => return end,
            },
        };
        self.ingest.counters().connected();
        self.ingest.peer_alive();
        let gap = self.gaps.connected().await;
        if self.ingest.report_gap(gap).await.is_err() {
            return SessionEnd::JournalClosed;
        }
        self.state.send_replace(State::connected());
        tracing::info!(subscription = %self.ingest.id(), "connected");
        self.read(*connection).await
    }

    async fn connect(&self) -> Result<Box<Connection>, SessionEnd> {
        self.state.send_replace(State::Connecting);
        let client = Arc::clone(&self.client.borrow());
        // The future is large, and most of the time there is none.
        let connecting = Box::pin(client.connect(&self.topic));
        let connected = tokio::select! {
            biased;
            () = self.stop.asked() => return Err(SessionEnd::Stopped),
            connected = connecting => connected,
        };
        connected.map(Box::new).map_err(SessionEnd::Failed)
    }

    async fn read(&mut self, connection: Connection) -> SessionEnd {
        let Connection {
            socket,
            lease,
            client,
        } = connection;
        let settings = client.settings();
        let idle_timeout = client.idle_timeout(self.topic.name());
        let clock = client.central().began();
        let id = self.ingest.id();
        let handover = Handover::new(lease, &client, &self.client, &self.topic, id);
        let session = Session {
            socket,
            liveness: Liveness::new(settings, idle_timeout, clock, Instant::now()),
            ingest: &mut self.ingest,
            stop: &self.stop,
            handover,
            delivered: None,
            overlap: settings.overlap,
            close_timeout: settings.close_timeout,
            write_timeout: settings.pong_timeout,
        };
        session.run().await
    }

    fn is_connected(&self) -> bool {
        self.state.borrow().is_connected()
    }

    fn report_failure(&self, why: &Error, wait: Duration) {
        let subscription = self.ingest.id();
        let cause = why.cause();
        self.ingest.counters().failed(cause);
        if matches!(why, Error::Refused { .. }) || cause == Cause::Panicked {
            tracing::error!(%subscription, %cause, ?wait, "{why}");
        } else {
            tracing::warn!(%subscription, %cause, ?wait, "{why}");
        }
        self.state
            .send_replace(State::backing_off(wait, why.clone()));
    }

    async fn report_last_gap(&mut self) {
        match self.stop.mode() {
            StopMode::Unsubscribe => self.gaps.forget().await,
            StopMode::Pause => {
                let gap = self.gaps.stopped().await;
                // Where the journal is closed, the gap is lost: there is no other place for it.
                let _ = self.ingest.report_gap(gap).await;
            }
        }
    }
}

/// Counts a subscription among those whose tries are spread.
#[derive(Debug)]
struct Member(Arc<Central>);

impl Member {
    fn new(central: Arc<Central>) -> Self {
        central.subscription_started();
        Self(central)
    }

    fn central(&self) -> &Central {
        &self.0
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.subscription_ended();
    }
}
