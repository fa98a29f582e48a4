//! How a connection is replaced on purpose: when there is another key for it, or another config.
//!
//! Central sends nothing twice, so the successor is up before the connection is closed. The session
//! goes from step to step; what waits for them is here.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::central::auth::credential_store::Lease;
use crate::central::backoff_policy::BackoffPolicy;
use crate::central::source::{Connection, Source};
use crate::config::Topic;
use crate::frame::{Stream, SubscriptionId};

pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type Connect = Box<dyn FnOnce() -> Boxed<Box<Connection>> + Send>;

/// How far the replacement of a connection has come.
pub(crate) enum Succession {
    Waiting {
        /// Ready when the connection should be replaced.
        wanted: Boxed<()>,
        /// The next one is large, and every connection waits here: it is made when it is wanted.
        connect: Option<Connect>,
    },
    Connecting(Boxed<Box<Connection>>),
    /// This one is read on for a while.
    Lingering {
        next: Option<Box<Connection>>,
        until: Instant,
    },
}

/// What the next step of a replacement is.
pub(crate) enum Step {
    Wanted(Connect),
    Connected(Box<Connection>),
    Over(Box<Connection>),
}

impl Succession {
    /// For a connection of `source` to `topic`, which the newest of `sources` replaces.
    pub(crate) fn of(
        lease: Lease,
        source: &Arc<Source>,
        sources: &watch::Receiver<Arc<Source>>,
        topic: &Topic,
        subscription: &SubscriptionId,
    ) -> Self {
        // A token is renewed every few minutes, and outlives its connection: New Central keeps its
        // events while we reconnect.
        let is_token = matches!(topic.stream, Stream::New { .. });
        let another_config = changed(sources.clone(), Arc::clone(source));
        let wanted = async move {
            tokio::select! {
                () = lease.replaced(), if !is_token => {}
                () = another_config => {}
            }
        };
        let (sources, topic, id) = (sources.clone(), topic.clone(), subscription.clone());
        let connect = Box::new(move || -> Boxed<_> { Box::pin(reach(sources, topic, id)) });
        Self::Waiting {
            wanted: Box::pin(wanted),
            connect: Some(connect),
        }
    }

    /// BackoffPolicy for the next step, which the caller then takes. Nothing is lost if it does not wait to
    /// the end.
    pub(crate) async fn step(&mut self) -> Step {
        match self {
            Self::Waiting { wanted, connect } => {
                wanted.await;
                if let Some(connect) = connect.take() {
                    return Step::Wanted(connect);
                }
            }
            Self::Connecting(connecting) => return Step::Connected(connecting.await),
            Self::Lingering { next, until } => {
                sleep_until(*until).await;
                if let Some(next) = next.take() {
                    return Step::Over(next);
                }
            }
        }
        pending().await
    }

    /// The connection that has taken over already.
    pub(crate) fn into_next(self) -> Option<Box<Connection>> {
        match self {
            Self::Lingering { next, .. } => next,
            Self::Waiting { .. } | Self::Connecting(_) => None,
        }
    }
}

/// Ready when there is another source than this one; never, when nobody can bring one any more.
pub(crate) async fn changed(mut sources: watch::Receiver<Arc<Source>>, known: Arc<Source>) {
    while Arc::ptr_eq(&sources.borrow_and_update(), &known) {
        if sources.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

/// Tries until there is a connection, while the one before goes on.
async fn reach(
    sources: watch::Receiver<Arc<Source>>,
    topic: Topic,
    subscription: SubscriptionId,
) -> Box<Connection> {
    tracing::info!(%subscription, "the connection is being replaced");
    let central = Arc::clone(sources.borrow().central());
    let mut waits = BackoffPolicy::new(central.settings());
    loop {
        sleep(central.spread()).await;
        let source = Arc::clone(&sources.borrow());
        match source.connect(&topic).await {
            Ok(connection) => return Box::new(connection),
            Err(why) => {
                let wait = waits.after(&why);
                tracing::warn!(%subscription, ?wait, "the connection is not replaced yet: {why}");
                sleep(wait).await;
            }
        }
    }
}
