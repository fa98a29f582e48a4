//! What others may ask of a subscription: its state, its counters, to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::account_client::AccountClient;
use super::auth::credential::CredentialStatus;
use super::counters::{Counters, Counts};
use super::error::Error;
use crate::connection::ConnectionState;
use crate::frame::SubscriptionId;

/// The connection of a subscription to Central.
pub type State = ConnectionState<Error>;

impl State {
    /// Why Central refuses the subscription, if an operator must act.
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
    /// Frames cannot be stored any more.
    JournalClosed,
}

/// What a stop means for Central.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// The subscription continues soon: New Central keeps its events for up to 15 minutes (documented
    /// by HPE).
    Pause,
    /// The subscription ends: Central is told so by close code 1000 (documented by HPE).
    Unsubscribe,
}

/// What others may ask of a subscription. Dropping it does not stop the task.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) id: SubscriptionId,
    pub(super) state: watch::Receiver<State>,
    pub(super) counters: Arc<Counters>,
    pub(super) client: watch::Sender<Arc<AccountClient>>,
    pub(super) stop: Arc<StopSignal>,
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

    /// How the renewal of the key or token fares. After a `failure` the subscription may still be up,
    /// but it cannot be opened again once the credential has expired.
    #[must_use]
    pub fn credential(&self) -> CredentialStatus {
        self.client.borrow().credential()
    }

    /// The account has changed. A connection that is up is replaced, and closed only once its successor
    /// is up.
    pub fn replace_account(&self, client: Arc<AccountClient>) {
        self.client.send_replace(client);
    }

    /// A number that grows while the subscription is connected, with each frame and at least with each
    /// ping; `None` while it waits for room in the journal.
    #[must_use]
    pub fn progress(&self) -> Option<u64> {
        self.counters.iterations()
    }

    /// Asks the task to close its connection and end.
    pub fn stop(&self, mode: StopMode) {
        self.stop.ask(mode);
    }
}

/// How a [`Handle`] stops its task.
#[derive(Debug, Default)]
pub(crate) struct StopSignal {
    asked: CancellationToken,
    unsubscribe: AtomicBool,
}

impl StopSignal {
    pub(crate) fn ask(&self, mode: StopMode) {
        self.unsubscribe
            .store(mode == StopMode::Unsubscribe, Relaxed);
        self.asked.cancel();
    }

    /// Ready once the subscription is asked to stop.
    pub(crate) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    pub(crate) fn mode(&self) -> StopMode {
        if self.unsubscribe.load(Relaxed) {
            StopMode::Unsubscribe
        } else {
            StopMode::Pause
        }
    }
}
