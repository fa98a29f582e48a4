//! Tokens for OAUTHBEARER, by the grant `client_credentials`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::client::OAuthToken;
use serde::Deserialize;
use tokio::runtime::Handle;
use url::Url;

use crate::config::secret::{Secret, Unreadable};
use crate::config::{PemFile, Sasl};
use crate::http;

/// How long the endpoint may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where an endpoint does not say how long its token holds.
const DEFAULT_LIFE: u64 = 300;

/// Fetches tokens. librdkafka asks for the next one before the last one ends.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    endpoint: Url,
    client_id: Secret,
    client_secret: Secret,
    scope: Option<String>,
    ca_file: Option<PemFile>,
    runtime: Handle,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoToken {
    #[error("{0}")]
    Secret(#[from] Unreadable),
    #[error("cannot fetch a token from {host}: {why}")]
    Failed { host: String, why: String },
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u64>,
}

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
            endpoint: endpoint.clone(),
            client_id: client_id.clone(),
            client_secret: client_secret.clone(),
            scope: scope.clone(),
            ca_file: ca_file.clone(),
            runtime: Handle::current(),
        })
    }

    /// Blocks: it is called on a thread of librdkafka's.
    pub(super) fn fetch(&self) -> Result<OAuthToken, NoToken> {
        let client_id = self.client_id.read_again()?;
        let client_secret = self.client_secret.read_again()?;
        let mut form = vec![("grant_type", "client_credentials")];
        if let Some(scope) = &self.scope {
            form.push(("scope", scope));
        }
        let ca_file = self.ca_file.as_ref().map(PemFile::path);
        let answer = self.runtime.block_on(async {
            let client = http::client(ca_file, PATIENCE)?;
            let request = client
                .post(self.endpoint.clone())
                .basic_auth(client_id.expose(), Some(client_secret.expose()))
                .form(&form);
            let answer = request
                .send()
                .await
                .map_err(|error| http::explain(&error))?;
            match answer.status() {
                status if status.is_success() => answer
                    .json::<Answer>()
                    .await
                    .map_err(|error| http::explain(&error)),
                status => Err(format!("it answered {status}")),
            }
        });
        let answer = answer.map_err(|why| NoToken::Failed {
            host: self.endpoint.host_str().unwrap_or_default().to_owned(),
            why,
        })?;
        Ok(OAuthToken {
            token: answer.access_token,
            principal_name: client_id.expose().to_owned(),
            lifetime_ms: ends_at(answer.expires_in.unwrap_or(DEFAULT_LIFE)),
        })
    }
}

/// In milliseconds since the Unix epoch.
fn ends_at(seconds: u64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from((now + Duration::from_secs(seconds)).as_millis()).unwrap_or(i64::MAX)
}
