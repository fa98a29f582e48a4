//! What the subscriptions of one account share.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use url::Url;

use super::auth::credential::{Credential, CredentialStatus};
use super::auth::credential_store::{CredentialStore, Lease};
use super::connect::dial::{Endpoint, Stream, authority};
use super::connect::http::{Answer, Failure, Transport};
use super::connect::{classic, handshake, new};
use super::error::{Cause, Error};
use super::settings::{Settings, idle_timeout};
use super::shared::Central;
use super::state_files;
use crate::config::secret::Secret;
use crate::config::{self, Access, Account, NewAccess, Proxy, Topic};
use crate::tls::Unusable;

/// One account of Central: where it is, how it is entered, how long things may take.
pub struct Source {
    central: Arc<Central>,
    endpoint: Endpoint,
    generation: Generation,
    handshakes: Arc<Semaphore>,
    idle_timeout: Option<Duration>,
}

enum Generation {
    Classic(Box<Classic>),
    New {
        token: Arc<CredentialStore>,
        subscriber_id: String,
    },
}

struct Classic {
    /// Path and query.
    target: String,
    user_name: Option<String>,
    /// The config's key, and the current one.
    key: Mutex<(Secret, Arc<CredentialStore>)>,
    /// For another key in the file.
    endpoint: Url,
    transport: Transport,
}

/// A WebSocket of Central.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: WebSocketStream<Stream>,
    pub(crate) lease: Lease,
    pub(crate) source: Arc<Source>,
}

impl Source {
    /// `name` is the account's in the config.
    ///
    /// # Errors
    /// The CA file or the proxy cannot be used, or TLS as a whole.
    pub fn new(central: &Arc<Central>, name: &str, account: &Account) -> Result<Self, Unusable> {
        let endpoint = Endpoint::new(&account.endpoint, &account.tls, &account.proxy)?;
        if account.tls.insecure {
            tracing::warn!(
                host = endpoint.authority(),
                "tls.verify = false: whoever answers is taken for Central and gets the key"
            );
        }
        let transport = Transport {
            tls: account.tls.clone(),
            proxy: account.proxy.clone(),
        };
        let generation = match &account.access {
            Access::Classic(access) => Generation::Classic(Box::new(Classic {
                target: target(&account.endpoint),
                user_name: access.username.clone(),
                key: Mutex::new((
                    access.key.clone(),
                    key(central, &account.endpoint, &transport, &access.key),
                )),
                endpoint: account.endpoint.clone(),
                transport,
            })),
            Access::New(access) => Generation::New {
                token: central
                    .credentials()
                    .token(&transport, access, central.settings()),
                subscriber_id: subscriber_id(central, name, access),
            },
        };
        Ok(Self {
            central: Arc::clone(central),
            handshakes: central.handshakes(endpoint.authority()),
            endpoint,
            generation,
            idle_timeout: account.idle_timeout.or(central.settings().idle_timeout),
        })
    }

    pub(crate) fn central(&self) -> &Arc<Central> {
        &self.central
    }

    pub(crate) fn settings(&self) -> &Settings {
        self.central.settings()
    }

    pub(crate) fn idle_timeout(&self, topic: &str) -> Duration {
        self.idle_timeout.unwrap_or_else(|| idle_timeout(topic))
    }

    pub(crate) fn credential(&self) -> CredentialStatus {
        match &self.generation {
            Generation::Classic(classic) => lock(&classic.key).1.status(),
            Generation::New { token, .. } => token.status(),
        }
    }

    /// One try to subscribe to `topic`; a second one with another key or token if Central refuses the
    /// first.
    pub(crate) async fn connect(self: &Arc<Self>, topic: &Topic) -> Result<Connection, Error> {
        let credentials = self.credentials().await?;
        let credential = credentials.get().await?;
        let connection = |credential: &Credential, socket| Connection {
            socket,
            lease: Lease::new(Arc::clone(&credentials), credential),
            source: Arc::clone(self),
        };
        let refused = match self.upgrade(topic, &credential).await? {
            Ok(socket) => return Ok(connection(&credential, socket)),
            Err(answer) => answer,
        };
        let refusal = self.refusal(topic, &refused, &credential);
        if refused.status != StatusCode::UNAUTHORIZED {
            return Err(refusal);
        }
        let other = match credentials.replace(&credential).await {
            Ok(other) => other,
            Err(Error::Refused { reason }) => {
                return Err(Error::refused(format!("{refusal}; {reason}")));
            }
            Err(why) => return Err(why),
        };
        if other.serial == credential.serial {
            return Err(refusal);
        }
        match self.upgrade(topic, &other).await? {
            Ok(socket) => Ok(connection(&other, socket)),
            Err(answer) => Err(self.refusal(topic, &answer, &other)),
        }
    }

    async fn upgrade(
        &self,
        topic: &Topic,
        credential: &Credential,
    ) -> Result<Result<WebSocketStream<Stream>, Answer>, Error> {
        let (target, headers) = self.request(topic, credential)?;
        // Nobody closes it.
        let _permit = self.handshakes.acquire().await;
        let stream = self.endpoint.dial(self.settings()).await?;
        let upgrade = handshake::upgrade(
            stream,
            self.endpoint.authority(),
            &target,
            headers,
            self.settings().max_frame_bytes,
        );
        let broken = |why: &str| Error::broken(Cause::Handshake, why);
        match timeout(self.settings().handshake_timeout, upgrade).await {
            Ok(Ok(socket)) => Ok(Ok(socket)),
            Ok(Err(Failure::Rejected(answer))) => Ok(Err(answer)),
            Ok(Err(Failure::Broken(why))) => {
                Err(broken(&format!("the WebSocket handshake failed: {why}")))
            }
            Err(_) => Err(broken("no answer to the WebSocket handshake")),
        }
    }

    fn request(
        &self,
        topic: &Topic,
        credential: &Credential,
    ) -> Result<(String, HeaderMap), Error> {
        Ok(match &self.generation {
            Generation::Classic(account) => {
                let user_name = account.user_name.as_deref();
                let headers = classic::headers(credential, topic.name(), user_name)?;
                (account.target.clone(), headers)
            }
            Generation::New { subscriber_id, .. } => {
                (new::target(topic), new::headers(credential, subscriber_id)?)
            }
        })
    }

    fn refusal(&self, topic: &Topic, answer: &Answer, credential: &Credential) -> Error {
        let secrets = [credential.expose()];
        match &self.generation {
            Generation::Classic(_) => classic::refusal(topic.name(), answer, &secrets),
            Generation::New { .. } => new::refusal(topic, answer, &secrets),
        }
    }

    /// The key or token. A key that stands in a file is read again, so that a new one needs no restart.
    async fn credentials(&self) -> Result<Arc<CredentialStore>, Error> {
        let classic = match &self.generation {
            Generation::New { token, .. } => return Ok(Arc::clone(token)),
            Generation::Classic(classic) => classic,
        };
        let (known, store) = lock(&classic.key).clone();
        let before = known.clone();
        let seed = tokio::task::spawn_blocking(move || known.read_again())
            .await
            .map_err(|stopped| Error::refused(stopped.to_string()))?
            .map_err(|unreadable| Error::refused(format!("the key: {unreadable}")))?;
        if seed == before {
            return Ok(store);
        }
        // A renewed key that was written into the file it came from is no other key.
        let store = if store.holds(seed.expose().trim()) {
            store
        } else {
            key(&self.central, &classic.endpoint, &classic.transport, &seed)
        };
        *lock(&classic.key) = (seed, Arc::clone(&store));
        Ok(store)
    }
}

fn lock(
    key: &Mutex<(Secret, Arc<CredentialStore>)>,
) -> std::sync::MutexGuard<'_, (Secret, Arc<CredentialStore>)> {
    key.lock().unwrap_or_else(PoisonError::into_inner)
}

fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

fn key(
    central: &Central,
    endpoint: &Url,
    transport: &Transport,
    seed: &Secret,
) -> Arc<CredentialStore> {
    let (state_dir, settings) = (central.state_dir(), central.settings());
    let credentials = central.credentials();
    credentials.key(endpoint, transport, seed, state_dir, settings)
}

/// An id that cannot be kept would silently take part of the feed at each start.
fn subscriber_id(central: &Central, account: &str, access: &config::NewAccess) -> String {
    if let Some(id) = &access.subscriber_id {
        return id.clone();
    }
    if central.state_dir().is_none() {
        tracing::warn!(
            account,
            "there is no state_dir: Central takes each start of this program for a new subscriber, \
             unless subscriber_id is set"
        );
    }
    state_files::subscriber_id(central.state_dir(), account).unwrap_or_else(|error| {
        tracing::error!(account, %error, "the subscriber id cannot be kept");
        state_files::new_subscriber_id()
    })
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("endpoint", &self.endpoint)
            .field("credential", &self.credential())
            .finish_non_exhaustive()
    }
}
