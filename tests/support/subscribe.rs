//! A subscription that runs, and what a test waits for.

use std::sync::Arc;
use std::time::Duration;

use central_forwarder::backoff::Curve;
use central_forwarder::central::subscription::{self, Ended, Handle, State, StopMode};
use central_forwarder::central::{AccountClient, Cause, Central, Error, Settings};
use central_forwarder::config::{Account, Topic};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::inbox::Inbox;

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn settings() -> Settings {
    let curve = Curve {
        first: Duration::from_millis(2),
        cap: Duration::from_millis(10),
        stable_after: Duration::from_secs(60),
    };
    Settings {
        backoff: curve,
        refused_backoff: curve,
        ..Settings::default()
    }
}

pub struct Running {
    pub handle: Handle,
    pub task: JoinHandle<Ended>,
}

impl Running {
    pub fn start(central: &Arc<Central>, account: &Account, topic: Topic, inbox: &Inbox) -> Self {
        let client = Arc::new(AccountClient::new(central, "acme", account).unwrap());
        let (handle, task) = subscription::new("acme", topic, client, inbox.appender());
        Self {
            handle,
            task: tokio::spawn(task.run()),
        }
    }

    pub async fn until(&self, wanted: impl FnMut(&State) -> bool) -> State {
        let mut state = self.handle.state();
        let found = timeout(PATIENCE, state.wait_for(wanted)).await;
        found.expect("the state comes about").unwrap().clone()
    }

    pub async fn connected(&self) {
        self.until(|state| matches!(state, State::Connected { .. }))
            .await;
    }

    pub async fn failed(&self, cause: Cause) -> Error {
        let state = self
            .until(|state| matches!(state, State::BackingOff { why, .. } if why.cause() == cause))
            .await;
        match state {
            State::BackingOff { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until it has been connected so often.
    pub async fn connections(&self, count: u64) {
        let mut state = self.handle.state();
        let wait = async {
            while self.handle.counts().connections < count {
                state.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, wait).await.expect("it comes back");
    }

    /// Waits for the first failure.
    pub async fn failed_once(&self) {
        self.until(|state| matches!(state, State::BackingOff { .. }))
            .await;
    }

    pub async fn stop(self) {
        self.leave(StopMode::Pause).await;
    }

    pub async fn leave(self, mode: StopMode) {
        self.handle.stop(mode);
        let ended = timeout(PATIENCE, self.task).await.expect("it stops");
        assert_eq!(ended.unwrap(), Ended::Stopped);
        assert_eq!(*self.handle.state().borrow(), State::Stopped);
    }
}
