//! A subscription for each topic of each account.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::sync::Arc;

use tokio::task::{Id, JoinSet};

use super::Error;
use crate::central::subscription::{self, Ended, Handle, Leave};
use crate::central::{Central, Source};
use crate::config::{Account, Topic};
use crate::frame::SubscriptionId;
use crate::journal::Appender;

#[derive(Debug)]
pub(super) struct Subscriptions {
    central: Arc<Central>,
    appender: Appender,
    /// By the names of their accounts.
    sources: BTreeMap<String, Arc<Source>>,
    running: BTreeMap<SubscriptionId, Running>,
    tasks: JoinSet<Ended>,
    /// Whose task it is.
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
) -> Result<Arc<Source>, Error> {
    let source = Source::new(central, name, account);
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
    pub(super) fn source(&self, name: &str, account: &Account) -> Result<Arc<Source>, Error> {
        source(&self.central, name, account)
    }

    /// Subscribes to all topics of an account. Those that it had under this name are entered anew,
    /// each by a connection that is up before the old one is closed.
    pub(super) fn begin(&mut self, name: &str, account: &Account, source: Arc<Source>) {
        for (id, running) in &self.running {
            if id.account() == name && account.topics.contains(&running.topic) {
                running.handle.replace(Arc::clone(&source));
            }
        }
        self.sources.insert(name.to_owned(), source);
        self.change_topics(name, account);
    }

    /// Subscribes to the topics that are new, and leaves those that are gone.
    pub(super) fn change_topics(&mut self, name: &str, account: &Account) {
        self.keep_only(name, &account.topics);
        for topic in &account.topics {
            let id = SubscriptionId::new(name, topic.stream.clone());
            if !self.running.contains_key(&id) {
                self.subscribe(name, id, topic.clone());
            }
        }
    }

    /// Leaves all topics of an account for good.
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
                    Leave::ForNow
                } else {
                    Leave::ForGood
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

    /// Looks at each task that ends; never ready.
    pub(super) async fn watch(&mut self) -> std::convert::Infallible {
        while self.look_at_next_end().await {}
        pending().await
    }

    /// Lets all of them end, to be begun again at the next start, and waits until they have.
    pub(super) async fn end(&mut self) {
        for running in self.running.values() {
            running.handle.stop(Leave::ForNow);
        }
        while self.look_at_next_end().await {}
    }

    /// They end now, whatever they are about.
    pub(super) async fn abort(&mut self) {
        self.tasks.abort_all();
        while self.look_at_next_end().await {}
    }

    /// `false` if none is left.
    async fn look_at_next_end(&mut self) -> bool {
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
