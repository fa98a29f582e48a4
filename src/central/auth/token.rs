//! Access tokens of New Central: OAuth 2.0 client credentials (RFC 6749, section 4.4), and for a
//! provider's tenant the exchange of its provider's token for one of the tenant's (RFC 8693).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::http::StatusCode;
use hyper::http::header::ACCEPT;
use reqwest::RequestBuilder;
use url::Url;

use super::credential::Renewed;
use super::credential_store::CredentialStore;
use crate::central::connect::dial::authority;
use crate::central::connect::http::{Answer, Transport};
use crate::central::error::{Cause, Error};
use crate::central::settings::Settings;
use crate::config::secret::{Secret, Unreadable};

/// Where an answer does not say how long its token lasts: the shorter of the two that were seen.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Of a token's lifetime, after this part it is renewed.
const RENEWED_AFTER: f64 = 0.8;

/// Where tokens are asked for, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) url: Url,
    pub(crate) transport: Transport,
    pub(crate) id: Secret,
    pub(crate) secret: Secret,
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
        let (id, secret) = self.fresh().await?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id.expose().trim()),
            ("client_secret", secret.expose().trim()),
        ];
        let advice = "make a new id and secret under Personal API clients in HPE GreenLake";
        self.ask(settings, advice, &[secret.expose().trim()], |request| {
            request.form(&form)
        })
        .await
    }

    /// With the client in the header, as HPE's own client does it.
    async fn exchange(&self, settings: &Settings, token: &str) -> Result<Renewed, Error> {
        let (id, secret) = self.fresh().await?;
        let form = [
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("subject_token", token),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
        ];
        let secrets = [secret.expose().trim(), token];
        let advice =
            "is tenant the id of a workspace of this provider's, and the client the provider's?";
        self.ask(settings, advice, &secrets, |request| {
            let request = request.basic_auth(id.expose().trim(), Some(secret.expose().trim()));
            request.form(&form)
        })
        .await
    }

    async fn ask(
        &self,
        settings: &Settings,
        advice: &str,
        secrets: &[&str],
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Renewed, Error> {
        let sent = self.transport.send(settings, &self.url, |client| {
            let request = client.post(self.url.clone());
            fill(request.header(ACCEPT, "application/json"))
        });
        let host = authority(&self.url);
        read(&sent.await?, &host, advice, secrets, SystemTime::now())
    }

    /// What stands in a file may have changed.
    async fn fresh(&self) -> Result<(Secret, Secret), Error> {
        let (id, secret) = (self.id.clone(), self.secret.clone());
        let read = tokio::task::spawn_blocking(move || {
            Ok::<_, Unreadable>((id.read_again()?, secret.read_again()?))
        });
        match read.await {
            Ok(Ok(fresh)) => Ok(fresh),
            Ok(Err(unreadable)) => {
                let text = format!("the client's id or secret: {unreadable}");
                Err(Error::refused(text))
            }
            Err(stopped) => Err(Error::refused(stopped.to_string())),
        }
    }
}

/// `advice` is what an operator does after a refusal.
fn read(
    answer: &Answer,
    host: &str,
    advice: &str,
    secrets: &[&str],
    now: SystemTime,
) -> Result<Renewed, Error> {
    #[derive(serde::Deserialize)]
    struct Granted {
        access_token: String,
        expires_in: Option<serde_json::Value>,
    }
    let said = || answer.said(secrets);
    if answer.is_later() {
        return Err(Error::Later {
            reason: format!("{host} gives no tokens now ({})", said()),
            retry_after: answer.retry_after,
        });
    }
    if answer.status != StatusCode::OK {
        return Err(Error::refused(format!(
            "{host} refused the client id and secret ({}): {advice}",
            said()
        )));
    }
    // What serde says, and the body, may show the token.
    let granted: Option<Granted> = serde_json::from_slice(&answer.body).ok();
    let fits = |token: &str| token.bytes().all(|byte| byte.is_ascii_graphic());
    let Some(granted) =
        granted.filter(|granted| !granted.access_token.is_empty() && fits(&granted.access_token))
    else {
        let text = format!("the answer of {host} holds no access token");
        return Err(Error::broken(Cause::Handshake, text));
    };
    let lifetime = granted.expires_in.as_ref().and_then(seconds);
    let lifetime = lifetime.unwrap_or(DEFAULT_LIFETIME);
    Ok(Renewed {
        secret: Secret::given(granted.access_token),
        issued: Some(now),
        expires: Some(now + lifetime),
        due: now + lifetime.mul_f64(RENEWED_AFTER),
    })
}

/// A number, or one in a string. No token lasts longer than a year.
fn seconds(value: &serde_json::Value) -> Option<Duration> {
    const YEAR: f64 = 366.0 * 24.0 * 3600.0;
    let seconds = match value {
        serde_json::Value::String(text) => text.parse().ok()?,
        number => number.as_f64()?,
    };
    (seconds > 0.0).then(|| Duration::from_secs_f64(f64::min(seconds, YEAR)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            body: body.into(),
        }
    }

    #[test]
    fn a_token_is_renewed_when_four_fifths_of_its_life_are_over() {
        let now = SystemTime::now();
        for (expires_in, seconds) in [("7200", 7200), ("\"900\"", 900), ("null", 900), ("-1", 900)]
        {
            let body = format!("{{\"access_token\":\"t\",\"expires_in\":{expires_in}}}");
            let answer = Answer {
                body: body.into(),
                ..answer(200, "")
            };
            let renewed = read(&answer, "sso", "", &[], now).unwrap();
            let lifetime = Duration::from_secs(seconds);
            assert_eq!(renewed.expires, Some(now + lifetime));
            assert_eq!(renewed.due, now + lifetime * 4 / 5);
        }
    }

    #[test]
    fn refusals_say_what_to_do_and_hide_the_secret() {
        let read = |status, body| {
            read(
                &answer(status, body),
                "sso",
                "make new ones",
                &["hunter2"],
                SystemTime::now(),
            )
            .unwrap_err()
        };
        let error = read(401, "invalid_client hunter2");
        assert!(matches!(error, Error::Refused { .. }));
        let text = error.to_string();
        assert!(
            text.contains("invalid_client ***") && text.contains("make new ones"),
            "{text}"
        );
        assert!(matches!(read(503, ""), Error::Later { .. }));
        assert!(matches!(read(200, "{}"), Error::Broken { .. }));
        assert!(matches!(
            read(200, r#"{"access_token":"a b"}"#),
            Error::Broken { .. }
        ));
    }
}
