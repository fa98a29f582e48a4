//! Access tokens of New Central: by client credentials, and for a provider's tenant by the exchange of
//! its provider's token for one of the tenant's.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::credential::Renewed;
use super::credential_store::CredentialStore;
use crate::central::connect::transport::Transport;
use crate::central::error::{Cause, Error};
use crate::central::settings::Settings;
use crate::net::oauth::{AccessToken, Grant, OauthClient, OauthError};

/// Where an answer does not say how long its token lasts: the shorter of the two that were seen.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Of a token's lifetime, after this part it is renewed.
const RENEWED_AFTER: f64 = 0.8;

/// Where tokens are asked for, and by which client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) oauth: OauthClient,
    pub(crate) transport: Transport,
}

#[derive(Debug)]
pub(crate) enum TokenRenewer {
    /// For itself.
    Own(Client),
    /// For a tenant of the provider whose client it is.
    Tenant {
        client: Client,
        provider: Arc<CredentialStore>,
    },
}

impl TokenRenewer {
    pub(crate) async fn renew(&self, settings: &Settings) -> Result<Renewed, Error> {
        match self {
            Self::Own(client) => client.grant(settings).await,
            Self::Tenant { client, provider } => {
                let token = provider.get().await?;
                let asked = client.exchange(settings, token.expose()).await;
                if matches!(asked, Err(Error::Refused { .. })) {
                    // It may be the provider's token that is no good any more.
                    let other = provider.replace(&token).await?;
                    if other.serial != token.serial {
                        return client.exchange(settings, other.expose()).await;
                    }
                }
                asked
            }
        }
    }
}

impl Client {
    /// In the form, as HPE documents it.
    async fn grant(&self, settings: &Settings) -> Result<Renewed, Error> {
        let advice = "make a new id and secret under Personal API clients in HPE GreenLake";
        self.token(settings, Grant::InForm, advice).await
    }

    /// With the client in the header, as HPE's own client does it.
    async fn exchange(&self, settings: &Settings, token: &str) -> Result<Renewed, Error> {
        let advice =
            "is tenant the id of a workspace of this provider's, and the client the provider's?";
        self.token(settings, Grant::Exchange { token }, advice)
            .await
    }

    /// `advice` is what an operator does after a refusal.
    async fn token(
        &self,
        settings: &Settings,
        grant: Grant<'_>,
        advice: &str,
    ) -> Result<Renewed, Error> {
        let http = self.transport.client(settings);
        let token = self.oauth.token(&http, grant).await;
        let token = token.map_err(|why| explain(why, advice))?;
        Ok(renewed(token, SystemTime::now()))
    }
}

fn explain(why: OauthError, advice: &str) -> Error {
    let text = why.to_string();
    match why {
        OauthError::Http(why) => why.into(),
        OauthError::Secret(_) => Error::refused(text),
        OauthError::Refused { .. } => Error::refused(format!("{text}: {advice}")),
        OauthError::Later { retry_after, .. } => Error::Later {
            reason: text,
            retry_after,
        },
        OauthError::NoToken { .. } => Error::broken(Cause::Handshake, text),
    }
}

fn renewed(token: AccessToken, now: SystemTime) -> Renewed {
    let lifetime = token.lifetime.unwrap_or(DEFAULT_LIFETIME);
    Renewed {
        secret: token.secret,
        issued: Some(now),
        expires: Some(now + lifetime),
        due: now + lifetime.mul_f64(RENEWED_AFTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;

    #[test]
    fn a_token_is_renewed_when_four_fifths_of_its_life_are_over() {
        let now = SystemTime::now();
        for (lifetime, seconds) in [(Some(7200), 7200), (None, 900)] {
            let token = AccessToken {
                secret: Secret::given("t"),
                lifetime: lifetime.map(Duration::from_secs),
                client_id: Secret::literal("id"),
            };
            let renewed = renewed(token, now);
            let lifetime = Duration::from_secs(seconds);
            assert_eq!(renewed.expires, Some(now + lifetime));
            assert_eq!(renewed.due, now + lifetime * 4 / 5);
        }
    }

    #[test]
    fn refusals_say_what_to_do_and_what_may_heal_is_tried_again() {
        let authority = || "sso".to_owned();
        let explain = |why| explain(why, "make new ones");
        let error = explain(OauthError::Refused {
            authority: authority(),
            summary: "401 Unauthorized: invalid_client".to_owned(),
        });
        assert!(matches!(error, Error::Refused { .. }));
        let text = error.to_string();
        assert!(
            text.contains("invalid_client") && text.contains("make new ones"),
            "{text}"
        );
        let later = OauthError::Later {
            authority: authority(),
            summary: String::new(),
            retry_after: Some(Duration::from_secs(7)),
        };
        let Error::Later { retry_after, .. } = explain(later) else {
            panic!("it may heal");
        };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
        let error = explain(OauthError::NoToken {
            authority: authority(),
            why: "",
        });
        assert!(matches!(error, Error::Broken { .. }));
    }
}
