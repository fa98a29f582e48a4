//! The task that renews a credential: one for each, however many subscriptions share it.
//!
//! It renews the credential when it is due, as long as a connection uses it, and when a subscription
//! asks for another one because Central refused it. Requests that wait while a renewal is under way
//! are all answered by it. A backoff keeps failed renewals apart.

use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::credential::{Credential, Renewed};
use super::credential_store::{BeforeUse, CredentialStore, Reason, Request, Snapshot};
use super::key::KeyRenewer;
use super::token::TokenRenewer;
use crate::central::backoff_policy::BackoffPolicy;
use crate::central::error::Error;
use crate::central::settings::Settings;
use crate::supervise::catch;

/// Requests that wait for the task; a subscription with another one waits until there is room.
const MAX_REQUESTS: usize = 64;

/// A clock that is set, or a machine that slept, is noticed at the latest after this.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// Where Central refuses a credential that the renewal then calls valid, subscriptions that ask
/// within this time get the same credential without another renewal.
const SHORTEST_PAUSE: Duration = Duration::from_secs(2);

/// How a credential is renewed.
#[derive(Debug)]
pub(super) enum Renewer {
    Key(Box<KeyRenewer>),
    Token(Box<TokenRenewer>),
}

impl Renewer {
    fn before_use(&self) -> BeforeUse {
        match self {
            Self::Key(_) => BeforeUse::Nothing,
            Self::Token(_) => BeforeUse::RenewIfDue,
        }
    }

    /// As messages name the credential.
    fn name(&self) -> &'static str {
        match self {
            Self::Key(_) => "the key",
            Self::Token(_) => "the access token",
        }
    }

    async fn renew(
        &self,
        current: Option<&Credential>,
        settings: &Settings,
    ) -> Result<Renewed, Error> {
        match self {
            Self::Key(key) => key.renew(current, settings).await,
            Self::Token(token) => token.renew(settings).await,
        }
    }
}

#[derive(Debug)]
pub(super) struct RefreshTask {
    renewer: Renewer,
    settings: Settings,
    snapshot: watch::Sender<Snapshot>,
    requests: mpsc::Receiver<Request>,
    /// How many connections use the credential.
    connections: watch::Receiver<usize>,
    backoff: BackoffPolicy,
    /// No request leads to a renewal before this.
    not_before: Option<Instant>,
}

/// A credential that begins with `first`; without it, it is requested when somebody needs it.
pub(super) fn new(
    renewer: Renewer,
    first: Option<Renewed>,
    settings: &Settings,
) -> (CredentialStore, RefreshTask) {
    let snapshot = watch::Sender::new(first.map_or_else(Snapshot::default, |first| Snapshot {
        due: Some(first.due),
        credential: Some(first.into_credential(1)),
        failure: None,
    }));
    let (sender, requests) = mpsc::channel(MAX_REQUESTS);
    let (connections, connected) = watch::channel(0);
    let before_use = renewer.before_use();
    let store = CredentialStore::new(before_use, snapshot.subscribe(), sender, connections);
    let task = RefreshTask {
        renewer,
        settings: *settings,
        snapshot,
        requests,
        connections: connected,
        backoff: BackoffPolicy::new(settings),
        not_before: None,
    };
    (store, task)
}

impl RefreshTask {
    /// Runs until nobody has a handle any more.
    pub(super) async fn run(mut self) {
        loop {
            let (until_due, is_in_use) = (self.until_due(), self.is_in_use());
            tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(request) => self.answer(request).await,
                    None => return,
                },
                changed = self.connections.changed() => if changed.is_err() { return },
                () = sleep(until_due), if is_in_use => self.renew_if_due().await,
            }
        }
    }

    fn is_in_use(&self) -> bool {
        *self.connections.borrow() > 0
    }

    fn until_due(&self) -> Duration {
        let due = self.snapshot.borrow().due;
        let Some(due) = due else {
            return LONGEST_SLEEP;
        };
        let left = due.duration_since(SystemTime::now()).unwrap_or_default();
        left.min(LONGEST_SLEEP)
    }

    async fn renew_if_due(&mut self) {
        if self.snapshot.borrow().is_due() {
            // A failure is logged, and stands in the snapshot.
            let _ = self.renew().await;
        }
    }

    async fn answer(&mut self, request: Request) {
        // Its subscription has stopped, or tries another account, meanwhile.
        if request.reply.is_closed() {
            return;
        }
        let outcome = match self.known(request.reason) {
            Some(known) => known,
            None => self.renew().await,
        };
        let _ = request.reply.send(outcome);
    }

    /// The answer to a request that an earlier renewal already gives, or that the backoff demands.
    fn known(&self, reason: Reason) -> Option<Result<Credential, Error>> {
        let snapshot = self.snapshot.borrow();
        let credential = snapshot.credential.clone();
        match reason {
            Reason::Due if snapshot.is_due() => None,
            Reason::Due => credential.map(Ok),
            Reason::Replace(serial) => match credential {
                Some(other) if other.serial != serial => Some(Ok(other)),
                credential => {
                    self.not_before.filter(|time| *time > Instant::now())?;
                    let failure = snapshot.failure.clone();
                    failure.map(Err).or(credential.map(Ok))
                }
            },
        }
    }

    async fn renew(&mut self) -> Result<Credential, Error> {
        let current = self.snapshot.borrow().credential.clone();
        let renewal = self.renewer.renew(current.as_ref(), &self.settings);
        let renewed = catch(renewal).await;
        match renewed.unwrap_or_else(|panic| Err(panic.into())) {
            Ok(renewed) => {
                self.backoff.succeeded();
                self.not_before = Some(Instant::now() + SHORTEST_PAUSE);
                Ok(self.publish(renewed, current))
            }
            Err(why) => {
                let pause = self.backoff.after(&why);
                self.not_before = Some(Instant::now() + pause);
                self.publish_failure(&why, pause);
                Err(why)
            }
        }
    }

    fn publish(&self, renewed: Renewed, before: Option<Credential>) -> Credential {
        let due = Some(renewed.due);
        let serial = before.as_ref().map_or(0, |before| before.serial);
        let credential = match before {
            Some(before) if before.expose() == renewed.secret.expose().trim() => before,
            _ => renewed.into_credential(serial + 1),
        };
        self.snapshot.send_replace(Snapshot {
            credential: Some(credential.clone()),
            due,
            failure: None,
        });
        credential
    }

    fn publish_failure(&self, why: &Error, pause: Duration) {
        let name = self.renewer.name();
        if matches!(why, Error::Refused { .. }) {
            tracing::error!(?pause, "{name} cannot be renewed: {why}");
        } else {
            tracing::warn!(?pause, "{name} is not renewed yet: {why}");
        }
        self.snapshot.send_modify(|snapshot| {
            snapshot.due = Some(SystemTime::now() + pause);
            snapshot.failure = Some(why.clone());
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::super::credential_store::Lease;
    use super::super::token::Client;
    use super::*;
    use crate::central::connect::transport::Transport;
    use crate::config::secret::Secret;
    use crate::config::{Proxy, Tls};
    use crate::net::oauth::OauthClient;

    const TIMEOUT: Duration = Duration::from_secs(20);
    const SUBSCRIPTIONS: usize = 1000;

    /// A token endpoint that gives another token to each request, and counts them.
    async fn token_endpoint(expires_in: &'static str) -> (Renewer, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
                let body =
                    format!("{{\"access_token\":\"t{number}\",\"expires_in\":{expires_in}}}");
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        let client = Client {
            oauth: OauthClient {
                url: url.parse().unwrap(),
                id: Secret::literal("id"),
                secret: Secret::literal("secret"),
            },
            transport: Transport {
                tls: Tls::default(),
                proxy: Proxy::None,
            },
        };
        let renewer = Renewer::Token(Box::new(TokenRenewer::Own(client)));
        (renewer, requests)
    }

    #[tokio::test]
    async fn a_refusal_leads_to_one_renewal_for_all_who_wait() {
        let (renewer, requests) = token_endpoint("3600").await;
        let first = Renewed {
            secret: Secret::literal("t0"),
            issued: None,
            expires: None,
            due: SystemTime::now() + Duration::from_secs(3600),
        };
        let (store, task) = new(renewer, Some(first), &Settings::default());
        let task = tokio::spawn(task.run());
        let refused = store.get().await.unwrap();
        assert_eq!(requests.load(Ordering::Relaxed), 0);
        let others = join_all((0..SUBSCRIPTIONS).map(|_| store.replace(&refused))).await;
        assert_eq!(requests.load(Ordering::Relaxed), 1);
        for other in others {
            assert_eq!(other.unwrap().expose(), "t1");
        }
        drop(store);
        let ended = timeout(TIMEOUT, task).await;
        ended.expect("the task ends with its last handle").unwrap();
    }

    #[tokio::test]
    async fn a_credential_that_is_due_is_renewed_once_for_all_connections() {
        let (renewer, requests) = token_endpoint("2").await;
        let (store, task) = new(renewer, None, &Settings::default());
        let (store, task) = (Arc::new(store), tokio::spawn(task.run()));
        let credential = store.get().await.unwrap();
        let lease = |_| Lease::new(Arc::clone(&store), &credential);
        let leases: Vec<Lease> = (0..SUBSCRIPTIONS).map(lease).collect();
        let replaced = join_all(leases.iter().map(Lease::replaced));
        timeout(TIMEOUT, replaced).await.expect("it is renewed");
        assert_eq!(requests.load(Ordering::Relaxed), 2);
        drop((leases, store));
        let ended = timeout(TIMEOUT, task).await;
        ended.expect("the task ends with its last lease").unwrap();
    }
}
