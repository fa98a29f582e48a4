//! What the subscriptions of one account share.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;

use super::classic;
use super::credentials::Credentials;
use super::dial::{Endpoint, Stream};
use super::error::{Cause, Error};
use super::handshake::{self, Failure};
use super::settings::{Settings, idle_timeout};
use crate::config::Account;
use crate::tls::Unusable;

/// One account of Central: where it is, how it is entered, how long things may take.
pub struct Source {
    endpoint: Endpoint,
    credentials: Credentials,
    user_name: Option<String>,
    idle_timeout: Option<Duration>,
    settings: Settings,
}

impl Source {
    /// # Errors
    /// The CA file cannot be used, or TLS as a whole.
    pub fn new(account: &Account, settings: Settings) -> Result<Self, Unusable> {
        let endpoint = Endpoint::new(&account.endpoint, &account.tls)?;
        if account.tls.insecure {
            tracing::warn!(
                host = endpoint.authority(),
                "tls.verify = false: whoever answers is taken for Central and gets the key"
            );
        }
        Ok(Self {
            endpoint,
            credentials: Credentials::new(account.key.clone()),
            user_name: account.username.clone(),
            idle_timeout: account.idle_timeout.or(settings.idle_timeout),
            settings,
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn idle_timeout(&self, topic: &str) -> Duration {
        self.idle_timeout.unwrap_or_else(|| idle_timeout(topic))
    }

    /// One try to subscribe to `topic`.
    pub(crate) async fn connect(&self, topic: &str) -> Result<WebSocketStream<Stream>, Error> {
        let key = self.credentials.take().await?;
        let headers = classic::headers(&key, topic, self.user_name.as_deref())?;
        let stream = self.endpoint.dial(&self.settings).await?;
        let upgrade = handshake::upgrade(
            stream,
            self.endpoint.authority(),
            self.endpoint.target(),
            headers,
            &key,
            self.settings.max_frame_bytes,
        );
        match timeout(self.settings.handshake_timeout, upgrade).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(Failure::Rejected(rejection))) => Err(classic::refusal(topic, &rejection)),
            Ok(Err(Failure::Broken(error))) => Err(error),
            Err(_) => Err(Error::broken(
                Cause::Handshake,
                "no answer to the WebSocket handshake",
            )),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("authority", &self.endpoint.authority())
            .field("target", &self.endpoint.target())
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}
