//! Access tokens of New Central: OAuth 2.0 client credentials (RFC 6749, section 4.4), and for a
//! provider's tenant the exchange of its provider's token for one of the tenant's (RFC 8693).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::http::header::{ACCEPT, CONTENT_TYPE};
use hyper::http::{Request, StatusCode};
use url::Url;
use url::form_urlencoded::Serializer;

use super::dial::Endpoint;
use super::error::{Cause, Error};
use super::http::{self, Answer};
use super::keeper::{Keeper, Renewed};
use super::settings::Settings;
use crate::config::secret::Secret;

/// Where an answer does not say how long its token lasts: the shorter of the two that were seen.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Of a token's lifetime, after this part it is renewed.
const RENEWED_AFTER: f64 = 0.8;

/// Where tokens are asked for.
#[derive(Debug)]
pub(super) struct TokenEndpoint {
    pub(super) endpoint: Endpoint,
    pub(super) target: String,
}

impl TokenEndpoint {
    pub(super) fn new(endpoint: Endpoint, url: &Url) -> Self {
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Self { endpoint, target }
    }
}

#[derive(Debug)]
pub(super) enum TokenRenewer {
    Client {
        at: TokenEndpoint,
        id: Secret,
        secret: Secret,
    },
    Tenant {
        at: TokenEndpoint,
        provider: Arc<Keeper>,
    },
}

impl TokenRenewer {
    pub(super) async fn renew(&self, settings: &Settings) -> Result<Renewed, Error> {
        match self {
            Self::Client { at, id, secret } => {
                let (id, secret) = (fresh(id).await?, fresh(secret).await?);
                let form = [
                    ("grant_type", "client_credentials"),
                    ("client_id", id.expose().trim()),
                    ("client_secret", secret.expose().trim()),
                ];
                ask(at, settings, &form, &[secret.expose().trim()]).await
            }
            Self::Tenant { at, provider } => {
                let token = provider.take().await?;
                let form = [
                    (
                        "grant_type",
                        "urn:ietf:params:oauth:grant-type:token-exchange",
                    ),
                    ("subject_token", token.expose()),
                    (
                        "subject_token_type",
                        "urn:ietf:params:oauth:token-type:access_token",
                    ),
                ];
                let asked = ask(at, settings, &form, &[token.expose()]).await;
                if matches!(asked, Err(Error::Refused { .. })) {
                    // It may be the provider's token that is no good any more.
                    let other = provider.in_place_of(&token).await?;
                    if other.serial != token.serial {
                        return Err(Error::broken(
                            Cause::Handshake,
                            "the provider's token was no good any more, and is renewed",
                        ));
                    }
                }
                asked
            }
        }
    }
}

/// What stands in a file may have changed.
async fn fresh(secret: &Secret) -> Result<Secret, Error> {
    let secret = secret.clone();
    let read = tokio::task::spawn_blocking(move || secret.read_again()).await;
    match read {
        Ok(Ok(secret)) => Ok(secret),
        Ok(Err(unreadable)) => Err(Error::refused(format!("the client's secret: {unreadable}"))),
        Err(stopped) => Err(Error::refused(stopped.to_string())),
    }
}

async fn ask(
    at: &TokenEndpoint,
    settings: &Settings,
    form: &[(&str, &str)],
    secrets: &[&str],
) -> Result<Renewed, Error> {
    let form = Serializer::new(String::new()).extend_pairs(form).finish();
    let request = Request::post(&at.target)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .body(http::Body::from(form))
        .map_err(|error| Error::refused(format!("the token endpoint: {error}")))?;
    let answer = http::exchange(&at.endpoint, settings, request).await?;
    read(&answer, at.endpoint.authority(), secrets, SystemTime::now())
}

fn read(answer: &Answer, host: &str, secrets: &[&str], now: SystemTime) -> Result<Renewed, Error> {
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
            "{host} refused the client id and secret ({}): make new ones under Personal API clients \
             in HPE GreenLake",
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
            let renewed = read(&answer, "sso", &[], now).unwrap();
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
                &["hunter2"],
                SystemTime::now(),
            )
            .unwrap_err()
        };
        let error = read(401, "invalid_client hunter2");
        assert!(matches!(error, Error::Refused { .. }));
        let text = error.to_string();
        assert!(
            text.contains("invalid_client ***") && text.contains("GreenLake"),
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
