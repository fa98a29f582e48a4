//! A subscription for each topic of each account.

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::sync::Arc;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::central::subscription::{self, Ended, Handle};
use crate::central::{Settings, Source};
use crate::config::Account;
use crate::frame::{Stream, SubscriptionId};
use crate::journal::Appender;

#[derive(Debug)]
pub(super) struct Subscriptions {
    appender: Appender,
    stop: CancellationToken,
    running: BTreeMap<SubscriptionId, Handle>,
    tasks: JoinSet<Ended>,
    /// Whose task it is.
    ids: HashMap<Id, SubscriptionId>,
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
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            ids: HashMap::new(),
        }
    }

    /// Subscribes to all topics of an account.
    pub(super) fn begin(&mut self, name: &str, account: &Account, source: &Arc<Source>) {
        for stream in streams(account) {
            self.subscribe(SubscriptionId::new(name, stream), Arc::clone(source));
        }
    }

    fn subscribe(&mut self, id: SubscriptionId, source: Arc<Source>) {
        let stop = self.stop.child_token();
        let (handle, task) = subscription::new(id.clone(), source, self.appender.clone(), stop);
        let task = self.tasks.spawn(task.run());
        self.ids.insert(task.id(), id.clone());
        self.running.insert(id, handle);
    }

    pub(super) fn handles(&self) -> Vec<Handle> {
        self.running.values().cloned().collect()
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
