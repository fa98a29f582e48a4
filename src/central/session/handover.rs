//! How a connection is replaced: when there is another key for it, or the account's config changed.
//!
//! Central sends nothing twice, so the successor is up before the connection is closed. The session
//! takes the steps; this is where it waits for each of them.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::central::account_client::{AccountClient, Connection};
use crate::central::auth::credential_store::Lease;
use crate::central::backoff_policy::BackoffPolicy;
use crate::config::Topic;
use crate::frame::{Stream, SubscriptionId};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type Connect = Box<dyn FnOnce() -> BoxFuture<Box<Connection>> + Send>;

/// How far the replacement of a connection has come.
pub(crate) enum Handover {
    Waiting {
        /// Ready when the connection is to be replaced.
        trigger: BoxFuture<()>,
        /// Makes the future that connects only when it is needed: it is large, and every connection
        /// waits here.
        connect: Option<Connect>,
    },
    /// Ready when the successor is up.
    Connecting(BoxFuture<Box<Connection>>),
    /// Both are up, and this one is still read.
    Overlapping {
        successor: Option<Box<Connection>>,
        until: Instant,
    },
}

/// What the session does next for the replacement.
pub(crate) enum HandoverStep {
    Begin(Connect),
    Connected(Box<Connection>),
    Finish(Box<Connection>),
}

impl Handover {
    /// For a connection of `client` to `topic`. Its successor is of the newest of `clients`.
    pub(crate) fn new(
        lease: Lease,
        client: &Arc<AccountClient>,
        clients: &watch::Receiver<Arc<AccountClient>>,
        topic: &Topic,
        subscription: &SubscriptionId,
    ) -> Self {
        // A connection outlives its token, and New Central keeps its events while it is opened again.
        let ends_with_credential = matches!(topic.stream, Stream::Classic { .. });
        let other_config = changed(clients.clone(), Arc::clone(client));
        let trigger = async move {
            tokio::select! {
                () = lease.replaced(), if ends_with_credential => {}
                () = other_config => {}
            }
        };
        let (clients, topic, id) = (clients.clone(), topic.clone(), subscription.clone());
        let connect = move || -> BoxFuture<_> { Box::pin(open_successor(clients, topic, id)) };
        Self::Waiting {
            trigger: Box::pin(trigger),
            connect: Some(Box::new(connect)),
        }
    }

    /// Waits for the next step. Dropping the future loses nothing.
    pub(crate) async fn next_step(&mut self) -> HandoverStep {
        match self {
            Self::Waiting { trigger, connect } => {
                trigger.await;
                if let Some(connect) = connect.take() {
                    return HandoverStep::Begin(connect);
                }
            }
            Self::Connecting(connecting) => return HandoverStep::Connected(connecting.await),
            Self::Overlapping { successor, until } => {
                sleep_until(*until).await;
                if let Some(successor) = successor.take() {
                    return HandoverStep::Finish(successor);
                }
            }
        }
        pending().await
    }

    /// The successor, if it is up.
    pub(crate) fn into_successor(self) -> Option<Box<Connection>> {
        match self {
            Self::Overlapping { successor, .. } => successor,
            Self::Waiting { .. } | Self::Connecting(_) => None,
        }
    }
}

/// Ready when the newest of `clients` is another one than `known`.
pub(crate) async fn changed(
    mut clients: watch::Receiver<Arc<AccountClient>>,
    known: Arc<AccountClient>,
) {
    let changed = clients.wait_for(|newest| !Arc::ptr_eq(newest, &known));
    if changed.await.is_err() {
        // All handles are dropped: nobody can replace it any more.
        pending::<()>().await;
    }
}

/// Tries until there is a connection. The one that it replaces is read meanwhile.
async fn open_successor(
    clients: watch::Receiver<Arc<AccountClient>>,
    topic: Topic,
    subscription: SubscriptionId,
) -> Box<Connection> {
    tracing::info!(%subscription, "replacing the connection");
    let central = Arc::clone(clients.borrow().central());
    let mut backoff = BackoffPolicy::new(central.settings());
    loop {
        sleep(central.spread()).await;
        let client = Arc::clone(&clients.borrow());
        match client.connect(&topic).await {
            Ok(connection) => return Box::new(connection),
            Err(why) => {
                let wait = backoff.after(&why);
                tracing::warn!(%subscription, ?wait, "cannot replace the connection yet: {why}");
                sleep(wait).await;
            }
        }
    }
}
