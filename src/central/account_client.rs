//! Opens the connections of one account, for all its subscriptions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use url::Url;

use super::auth::account_credential::AccountCredential;
use super::auth::credential::{Credential, CredentialStatus};
use super::auth::credential_store::Lease;
use super::connect::transport::{CA_KEY, Transport, timeouts};
use super::connect::{classic, handshake, new};
use super::error::{Cause, Error};
use super::settings::{Settings, idle_timeout};
use super::shared::Central;
use super::state_files;
use crate::config::{Access, Account, NewAccess, Topic};
use crate::net::dial::{Dialed, Dialer, Stream, TlsOptions};
use crate::net::response::{ExchangeError, HttpResponse};
use crate::net::tls::InvalidConfig;

/// One account of Central: its endpoint, its credential, its deadlines.
pub struct AccountClient {
    central: Arc<Central>,
    endpoint: Dialer,
    generation: Generation,
    credential: AccountCredential,
    handshakes: Arc<Semaphore>,
    idle_timeout: Option<Duration>,
}

enum Generation {
    Classic {
        /// Path and query.
        target: String,
        user_name: Option<String>,
    },
    New {
        subscriber_id: String,
    },
}

/// A WebSocket of Central.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: WebSocketStream<Stream>,
    pub(crate) lease: Lease,
    pub(crate) client: Arc<AccountClient>,
}

impl AccountClient {
    /// `name` is the account's in the config. Must be called within a runtime.
    ///
    /// # Errors
    /// The CA file or the proxy cannot be used, or TLS as a whole.
    pub fn new(
        central: &Arc<Central>,
        name: &str,
        account: &Account,
    ) -> Result<Self, InvalidConfig> {
        let options = TlsOptions {
            trusted: &account.tls,
            identity: None,
            alpn: &[b"http/1.1"],
            ca_key: CA_KEY,
        };
        let endpoint = Dialer::new(&account.endpoint, options, &account.proxy)?;
        if account.tls.insecure {
            tracing::warn!(
                host = endpoint.authority(),
                "tls.verify = false: the certificate is not checked, so that any server that answers in Central's \
                 place gets the key or token"
            );
        }
        let transport = Transport {
            tls: account.tls.clone(),
            proxy: account.proxy.clone(),
        };
        let generation = match &account.access {
            Access::Classic(access) => Generation::Classic {
                target: path_and_query(&account.endpoint),
                user_name: access.username.clone(),
            },
            Access::New(access) => Generation::New {
                subscriber_id: subscriber_id(central, name, access),
            },
        };
        Ok(Self {
            central: Arc::clone(central),
            handshakes: central.handshakes(endpoint.authority()),
            endpoint,
            generation,
            credential: AccountCredential::new(central.credentials(), account, transport),
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
        self.credential.status()
    }

    /// One try to subscribe to `topic`; a second one with another key or token if Central refuses the
    /// first.
    pub(crate) async fn connect(self: &Arc<Self>, topic: &Topic) -> Result<Connection, Error> {
        let credentials = self.credential.store().await?;
        let credential = credentials.get().await?;
        let connection = |credential: &Credential, socket| Connection {
            socket,
            lease: Lease::new(Arc::clone(&credentials), credential),
            client: Arc::clone(self),
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
    ) -> Result<Result<WebSocketStream<Stream>, HttpResponse>, Error> {
        let (target, headers) = self.request(topic, credential)?;
        // Nobody closes it.
        let _permit = self.handshakes.acquire().await;
        let dialed = self.endpoint.dial(timeouts(self.settings())).await?;
        let Dialed { stream, peer } = dialed;
        // Large, and seldom.
        let upgrade = Box::pin(handshake::upgrade(
            stream,
            self.endpoint.authority(),
            &target,
            headers,
            self.settings().max_frame_bytes,
        ));
        let broken = |why: &str| Error::broken(Cause::Handshake, why);
        match timeout(self.settings().handshake_timeout, upgrade).await {
            Ok(Ok(socket)) => {
                peer.answered();
                Ok(Ok(socket))
            }
            Ok(Err(ExchangeError::Rejected(response))) => {
                // Another address may have a server that is not overloaded.
                if !response.is_later() {
                    peer.answered();
                }
                Ok(Err(response))
            }
            Ok(Err(ExchangeError::Broken(why))) => {
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
            Generation::Classic { target, user_name } => {
                let headers = classic::headers(credential, topic.name(), user_name.as_deref())?;
                (target.clone(), headers)
            }
            Generation::New { subscriber_id } => {
                (new::target(topic), new::headers(credential, subscriber_id)?)
            }
        })
    }

    fn refusal(&self, topic: &Topic, response: &HttpResponse, credential: &Credential) -> Error {
        let secrets = [credential.expose()];
        match &self.generation {
            Generation::Classic { .. } => classic::refusal(topic.name(), response, &secrets),
            Generation::New { .. } => new::refusal(topic, response, &secrets),
        }
    }
}

fn path_and_query(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// The subscriber id of an account. An id that changes at each start would miss the events that Central
/// keeps for the one before.
fn subscriber_id(central: &Central, account: &str, access: &NewAccess) -> String {
    if let Some(id) = &access.subscriber_id {
        return id.clone();
    }
    if central.state_dir().is_none() {
        tracing::warn!(
            account,
            "without state_dir or subscriber_id, Central takes each start of this program for a new \
             subscriber"
        );
    }
    state_files::subscriber_id(central.state_dir(), account).unwrap_or_else(|error| {
        tracing::error!(account, %error, "cannot save the subscriber id: Central takes the next start for a new subscriber");
        state_files::new_subscriber_id()
    })
}

impl fmt::Debug for AccountClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountClient")
            .field("endpoint", &self.endpoint)
            .field("credential", &self.credential())
            .finish_non_exhaustive()
    }
}
