//! The subscriptions: one for each topic of each account.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::sync::Arc;

use tokio::task::{Id, JoinSet};

use super::error::Error;
use crate::central::subscription::{self, Ended, Handle, StopMode};
use crate::central::{AccountClient, Central};
use crate::config::{Account, Topic};
use crate::frame::SubscriptionId;
use crate::journal::Appender;
use crate::supervise::Panic;

#[derive(Debug)]
pub(super) struct Subscriptions {
    central: Arc<Central>,
    appender: Appender,
    /// By the names of their accounts.
    sources: BTreeMap<String, Arc<AccountClient>>,
    running: BTreeMap<SubscriptionId, Running>,
    tasks: JoinSet<Ended>,
    /// Which subscription each task is.
    ids: HashMap<Id, SubscriptionId>,
}

#[derive(Debug)]
struct Running {
    handle: Handle,
    topic: Topic,
}

pub(super) fn source(
    central: &Arc<Central>,
    name: &str,
    account: &Account,
) -> Result<Arc<AccountClient>, Error> {
    let source = AccountClient::new(central, name, account);
    source.map(Arc::new).map_err(|cause| Error::Account {
        account: name.to_owned(),
        cause,
    })
}

impl Subscriptions {
    pub(super) fn new(central: Arc<Central>, appender: Appender) -> Self {
        Self {
            central,
            appender,
            sources: BTreeMap::new(),
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            ids: HashMap::new(),
        }
    }

    /// What the subscriptions of an account share.
    pub(super) fn source(
        &self,
        name: &str,
        account: &Account,
    ) -> Result<Arc<AccountClient>, Error> {
        source(&self.central, name, account)
    }

    /// Subscribes to all topics of an account. Those that run already get a new connection, which
    /// is up before the old one is closed.
    pub(super) fn begin(&mut self, name: &str, account: &Account, source: Arc<AccountClient>) {
        for (id, running) in &self.running {
            if id.account() == name && account.topics.contains(&running.topic) {
                running.handle.replace_account(Arc::clone(&source));
            }
        }
        self.sources.insert(name.to_owned(), source);
        self.change_topics(name, account);
    }

    /// Subscribes to the topics that were added, and ends the subscriptions of those that were removed.
    pub(super) fn change_topics(&mut self, name: &str, account: &Account) {
        self.keep_only(name, &account.topics);
        for topic in &account.topics {
            let id = SubscriptionId::new(name, topic.stream.clone());
            if !self.running.contains_key(&id) {
                self.subscribe(name, id, topic.clone());
            }
        }
    }

    /// Ends all subscriptions of an account for good.
    pub(super) fn remove(&mut self, name: &str) {
        self.keep_only(name, &BTreeSet::new());
        self.sources.remove(name);
    }

    fn keep_only(&mut self, name: &str, wanted: &BTreeSet<Topic>) {
        self.running.retain(|id, running| {
            let keep = id.account() != name || wanted.contains(&running.topic);
            if !keep {
                let other_filter = wanted.iter().any(|topic| topic.stream == *id.stream());
                running.handle.stop(if other_filter {
                    StopMode::Pause
                } else {
                    StopMode::Unsubscribe
                });
            }
            keep
        });
    }

    fn subscribe(&mut self, name: &str, id: SubscriptionId, topic: Topic) {
        let Some(source) = self.sources.get(name).map(Arc::clone) else {
            return;
        };
        let appender = self.appender.clone();
        let (handle, task) = subscription::new(name, topic.clone(), source, appender);
        let task = self.tasks.spawn(task.run());
        self.ids.insert(task.id(), id.clone());
        self.running.insert(id, Running { handle, topic });
    }

    pub(super) fn handles(&self) -> Vec<Handle> {
        let running = self.running.values();
        running.map(|running| running.handle.clone()).collect()
    }

    /// Looks at the end of each task; never ready.
    pub(super) async fn watch(&mut self) -> std::convert::Infallible {
        while self.join_next().await {}
        pending().await
    }

    /// Lets all of them end, to be begun again at the next start, and waits until they have.
    pub(super) async fn end(&mut self) {
        for running in self.running.values() {
            running.handle.stop(StopMode::Pause);
        }
        while self.join_next().await {}
    }

    /// Ends all of them now.
    pub(super) async fn abort(&mut self) {
        self.tasks.abort_all();
        while self.join_next().await {}
    }

    /// Waits for the next task that ends; `false` if none is left.
    async fn join_next(&mut self) -> bool {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return false;
        };
        match ended {
            Ok((task, ended)) => {
                self.ids.remove(&task);
                tracing::debug!(?ended, "a subscription's task has ended");
            }
            // One that was aborted is no news.
            Err(error) if error.is_cancelled() => {
                self.ids.remove(&error.id());
            }
            Err(error) => {
                let subscription = self.ids.remove(&error.id()).map(|id| id.to_string());
                let panic = Panic::from(error);
                tracing::error!(subscription, "the subscription has ended: {panic}");
            }
        }
        true
    }
}
