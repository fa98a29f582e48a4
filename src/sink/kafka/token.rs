//! Tokens for OAUTHBEARER, by the grant `client_credentials`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::client::OAuthToken;
use tokio::runtime::Handle;

use crate::config::{Proxy, Sasl, Tls};
use crate::net::dial::Timeouts;
use crate::net::http::{self, MAX_TOKEN_BYTES};
use crate::net::oauth::{AccessToken, Grant, OauthClient, OauthError};

/// How long the endpoint may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// For each step on the way to the endpoint.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Where an endpoint does not say how long its token is valid.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);

/// Fetches tokens. librdkafka asks for the next one before the last one ends.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    client: OauthClient,
    scope: Option<String>,
    http: http::Client,
    runtime: Handle,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch a token: {0}")]
pub(super) struct NoToken(#[from] OauthError);

impl Tokens {
    /// `None`: this sink needs none. Must be called within a tokio runtime.
    pub(super) fn of(sasl: Option<&Sasl>) -> Option<Self> {
        let Some(Sasl::Token {
            endpoint,
            client_id,
            client_secret,
            scope,
            ca_file,
        }) = sasl
        else {
            return None;
        };
        Some(Self {
            client: OauthClient {
                url: endpoint.clone(),
                id: client_id.clone(),
                secret: client_secret.clone(),
            },
            scope: scope.clone(),
            http: http::Client {
                tls: Tls {
                    ca_file: ca_file.clone(),
                    insecure: false,
                },
                proxy: Proxy::Environment,
                ca_key: "sasl.ca_file",
                dial: Timeouts {
                    unacknowledged: Some(Timeouts::UNACKNOWLEDGED),
                    ..Timeouts::each(STEP_TIMEOUT)
                },
                timeout: TIMEOUT,
                max_body_bytes: MAX_TOKEN_BYTES,
            },
            runtime: Handle::current(),
        })
    }

    /// Blocks: it is called on a thread of librdkafka's.
    pub(super) fn fetch(&self) -> Result<OAuthToken, NoToken> {
        let scope = self.scope.as_deref();
        let asked = self.client.token(&self.http, Grant::Basic { scope });
        let AccessToken {
            secret,
            lifetime,
            client_id,
        } = self.runtime.block_on(asked)?;
        Ok(OAuthToken {
            token: secret.expose().to_owned(),
            principal_name: client_id.expose().to_owned(),
            lifetime_ms: ends_at(lifetime.unwrap_or(DEFAULT_LIFETIME)),
        })
    }
}

/// In milliseconds since the Unix epoch.
fn ends_at(lifetime: Duration) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from((now + lifetime).as_millis()).unwrap_or(i64::MAX)
}
