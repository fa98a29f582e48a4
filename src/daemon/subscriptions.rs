//! A subscription for each topic of each account.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::sync::Arc;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::central::subscription::{self, Ended, Handle, State};
use crate::central::{Settings, Source};
use crate::config::Account;
use crate::frame::{Stream, SubscriptionId};
use crate::journal::Appender;

#[derive(Debug)]
pub(super) struct Subscriptions {
    appender: Appender,
    stop: CancellationToken,
    /// By the names of their accounts.
    sources: BTreeMap<String, Arc<Source>>,
    running: BTreeMap<SubscriptionId, Running>,
    tasks: JoinSet<Ended>,
    /// Whose task it is.
    ids: HashMap<Id, SubscriptionId>,
    handovers: JoinSet<()>,
}

#[derive(Debug)]
struct Running {
    handle: Handle,
    /// The one in whose place it came; reads on until this one is connected.
    before: Option<Handle>,
}

/// What the subscriptions of an account share.
pub(super) fn source(name: &str, account: &Account) -> Result<Arc<Source>, Error> {
    let source = Source::new(account, Settings::default());
    source.map(Arc::new).map_err(|cause| Error::Account {
        account: name.to_owned(),
        cause,
    })
}

fn streams(account: &Account) -> impl Iterator<Item = Stream> {
    account.topics.iter().map(|topic| Stream::Classic {
        topic: topic.clone(),
    })
}

impl Subscriptions {
    /// All of them end when `stop` is cancelled.
    pub(super) fn new(appender: Appender, stop: CancellationToken) -> Self {
        Self {
            appender,
            stop,
            sources: BTreeMap::new(),
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            ids: HashMap::new(),
            handovers: JoinSet::new(),
        }
    }

    /// Subscribes to all topics of an account; in the place of what it had under this name.
    pub(super) fn begin(&mut self, name: &str, account: &Account, source: Arc<Source>) {
        self.sources.insert(name.to_owned(), source);
        self.keep_only(name, &streams(account).collect());
        for stream in streams(account) {
            self.subscribe(name, stream);
        }
    }

    /// Subscribes to the topics that are new, and leaves those that are gone.
    pub(super) fn change_topics(&mut self, name: &str, account: &Account) {
        let wanted: BTreeSet<_> = streams(account).collect();
        self.keep_only(name, &wanted);
        for stream in wanted {
            if !self
                .running
                .contains_key(&SubscriptionId::new(name, stream.clone()))
            {
                self.subscribe(name, stream);
            }
        }
    }

    /// Leaves all topics of an account for good.
    pub(super) fn remove(&mut self, name: &str) {
        self.keep_only(name, &BTreeSet::new());
        self.sources.remove(name);
    }

    fn keep_only(&mut self, name: &str, wanted: &BTreeSet<Stream>) {
        self.running.retain(|id, running| {
            let keep = id.account() != name || wanted.contains(id.stream());
            if !keep {
                running.handle.stop();
                if let Some(before) = &running.before {
                    before.stop();
                }
            }
            keep
        });
    }

    fn subscribe(&mut self, name: &str, stream: Stream) {
        let Some(source) = self.sources.get(name).map(Arc::clone) else {
            return;
        };
        let id = SubscriptionId::new(name, stream);
        let stop = self.stop.child_token();
        let (handle, task) = subscription::new(id.clone(), source, self.appender.clone(), stop);
        let task = self.tasks.spawn(task.run());
        self.ids.insert(task.id(), id.clone());
        let before = self.running.remove(&id).and_then(Running::leave);
        if let Some(before) = before.clone() {
            self.handovers.spawn(hand_over(before, handle.clone()));
        }
        self.running.insert(id, Running { handle, before });
    }

    pub(super) fn handles(&self) -> Vec<Handle> {
        let running = self.running.values();
        running.map(|running| running.handle.clone()).collect()
    }

    /// Looks at each task that ends; never ready.
    pub(super) async fn watch(&mut self) -> std::convert::Infallible {
        while self.look_at_next_end().await {}
        pending().await
    }

    /// Looks at each task that ends, until all have.
    pub(super) async fn ended(&mut self) {
        while self.look_at_next_end().await {}
    }

    /// They end now, whatever they are about.
    pub(super) async fn abort(&mut self) {
        self.tasks.abort_all();
        self.ended().await;
    }

    /// `false` if none is left.
    async fn look_at_next_end(&mut self) -> bool {
        // These only wait: nothing in them can fail.
        while self.handovers.try_join_next().is_some() {}
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return false;
        };
        match ended {
            Ok((task, ended)) => {
                self.ids.remove(&task);
                tracing::debug!(?ended, "a subscription's task has ended");
            }
            Err(error) => {
                let id = self.ids.remove(&error.id());
                let subscription = id.map(|id| id.to_string());
                if error.is_panic() {
                    tracing::error!(subscription, "a bug: the subscription failed: {error}");
                }
            }
        }
        true
    }
}

impl Running {
    /// Gives back what reads, if something does, and stops the rest.
    fn leave(self) -> Option<Handle> {
        if is_connected(&self.handle) {
            return Some(self.handle);
        }
        self.handle.stop();
        self.before.filter(is_connected)
    }
}

fn is_connected(subscription: &Handle) -> bool {
    matches!(*subscription.state().borrow(), State::Connected { .. })
}

/// Stops the old subscription once the new one reads, or once the old one reads no more: nothing is
/// missed while an account's key or endpoint changes.
async fn hand_over(old: Handle, new: Handle) {
    let (mut old_state, mut new_state) = (old.state(), new.state());
    let reads = |state: &State| matches!(state, State::Connected { .. });
    tokio::select! {
        Ok(_) = new_state.wait_for(reads) => {}
        Ok(_) = old_state.wait_for(|state| !reads(state)) => {}
        else => {}
    }
    old.stop();
}
