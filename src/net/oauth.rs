//! Access tokens by OAuth 2.0: client credentials (RFC 6749, section 4.4), and the exchange of one
//! token for another (RFC 8693).

use std::time::Duration;

use hyper::http::StatusCode;
use hyper::http::header::{ACCEPT, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::spawn_blocking;
use url::Url;

use super::dial::authority;
use super::http::{self, HttpError, Request};
use super::response::HttpResponse;
use crate::config::secret::{Secret, Unreadable};

/// No token lasts longer.
const MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A client that is registered with an authorization server.
#[derive(Clone, Debug)]
pub(crate) struct OauthClient {
    pub(crate) url: Url,
    pub(crate) id: Secret,
    pub(crate) secret: Secret,
}

/// What a token is asked for with.
#[derive(Clone, Copy)]
pub(crate) enum Grant<'a> {
    /// Id and secret of the client in the form.
    InForm,
    /// Id and secret of the client by HTTP Basic.
    Basic { scope: Option<&'a str> },
    /// Another token, and the client by HTTP Basic.
    Exchange { token: &'a str },
}

/// A token as the server gave it.
#[derive(Debug)]
pub(crate) struct AccessToken {
    pub(crate) secret: Secret,
    /// `None`: the server does not say.
    pub(crate) lifetime: Option<Duration>,
    /// To whom it was given.
    pub(crate) client_id: Secret,
}

/// Why there is no token. No message holds a secret, and of the server's answer no more than `error`
/// and `error_description`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OauthError {
    #[error("the client's id or secret: {0}")]
    Secret(#[from] Unreadable),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{authority} gives no tokens now ({summary})")]
    Later {
        authority: String,
        summary: String,
        retry_after: Option<Duration>,
    },
    #[error("{authority} refused the client id and secret ({summary})")]
    Refused { authority: String, summary: String },
    #[error("the answer of {authority} holds no access token: {why}")]
    NoToken {
        authority: String,
        why: &'static str,
    },
}

impl OauthClient {
    /// Asks for a token. Id and secret that stand in files are read anew.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn token(
        &self,
        http: &http::Client,
        grant: Grant<'_>,
    ) -> Result<AccessToken, OauthError> {
        let (id, secret) = self.read_again().await?;
        let request = request(&self.url, grant, id.expose().trim(), secret.expose().trim());
        let response = http.send(request).await?;
        let mut secrets = vec![secret.expose().trim()];
        if let Grant::Exchange { token } = grant {
            secrets.push(token);
        }
        let (token, lifetime) = read(&response, &authority(&self.url), &secrets)?;
        Ok(AccessToken {
            secret: token,
            lifetime,
            client_id: id,
        })
    }

    async fn read_again(&self) -> Result<(Secret, Secret), Unreadable> {
        let (id, secret) = (self.id.clone(), self.secret.clone());
        let read = spawn_blocking(move || Ok((id.read_again()?, secret.read_again()?)));
        read.await.expect("reading a file does not panic")
    }
}

fn request<'a>(url: &'a Url, grant: Grant<'_>, id: &str, secret: &str) -> Request<'a> {
    let request = Request::post(url).header(ACCEPT, HeaderValue::from_static("application/json"));
    match grant {
        Grant::InForm => request.form(&[
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret),
        ]),
        Grant::Basic { scope } => {
            let mut form = vec![("grant_type", "client_credentials")];
            form.extend(scope.map(|scope| ("scope", scope)));
            request.basic(id, secret).form(&form)
        }
        Grant::Exchange { token } => request.basic(id, secret).form(&[
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("subject_token", token),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
        ]),
    }
}

fn read(
    response: &HttpResponse,
    authority: &str,
    secrets: &[&str],
) -> Result<(Secret, Option<Duration>), OauthError> {
    #[derive(Deserialize)]
    struct Granted {
        access_token: String,
        expires_in: Option<Value>,
    }
    let authority = authority.to_owned();
    if response.is_later() {
        return Err(OauthError::Later {
            authority,
            summary: summary(response, secrets),
            retry_after: response.retry_after,
        });
    }
    if response.status != StatusCode::OK {
        return Err(OauthError::Refused {
            authority,
            summary: summary(response, secrets),
        });
    }
    let no_token = |why| OauthError::NoToken {
        authority: authority.clone(),
        why,
    };
    let body = response.body().map_err(no_token)?;
    // What serde says may show the token.
    let granted: Granted =
        serde_json::from_slice(body).map_err(|_| no_token("it is not what OAuth 2.0 says"))?;
    let token = granted.access_token;
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(no_token("the token is empty, or no header may hold it"));
    }
    let lifetime = granted.expires_in.as_ref().and_then(seconds);
    Ok((Secret::given(token), lifetime))
}

/// The error that the server names (RFC 6749, section 5.2). Nothing else of its answer is shown: it
/// may hold a token.
fn summary(response: &HttpResponse, secrets: &[&str]) -> String {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Refusal {
        error: String,
        error_description: String,
    }
    let Refusal {
        error,
        error_description,
    } = serde_json::from_slice(response.received()).unwrap_or_default();
    let separator = if error.is_empty() || error_description.is_empty() {
        ""
    } else {
        ": "
    };
    let text = format!("{error}{separator}{error_description}");
    response.summary_with(&text, secrets)
}

/// RFC 6749 says a number; servers also send it as a string or with a fraction.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::String(text) => text.trim().parse().ok()?,
        number => number.as_f64()?,
    };
    let lifetime = Duration::try_from_secs_f64(seconds).unwrap_or(MAX_LIFETIME);
    (seconds > 0.0).then_some(lifetime.min(MAX_LIFETIME))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::dial::Timeouts;
    use super::super::http::MAX_TOKEN_BYTES;
    use super::*;
    use crate::config::{Proxy, Tls};

    fn read_at(status: u16, body: &str) -> Result<(Secret, Option<Duration>), OauthError> {
        let response = HttpResponse::new(status, body.to_owned());
        read(&response, "sso.example", &["hunter2"])
    }

    #[test]
    fn a_lifetime_is_a_number_a_string_or_has_a_fraction() {
        let day = Duration::from_secs(24 * 60 * 60);
        for (expires_in, lifetime) in [
            ("3600", Some(Duration::from_secs(3600))),
            ("\"3600\"", Some(Duration::from_secs(3600))),
            ("3600.0", Some(Duration::from_secs(3600))),
            ("\"3600.5\"", Some(Duration::from_millis(3_600_500))),
            ("1e300", Some(366 * day)),
            ("null", None),
            ("-1", None),
            ("0", None),
            ("\"soon\"", None),
            ("\"NaN\"", None),
            ("[]", None),
        ] {
            let body = format!("{{\"access_token\":\"t\",\"expires_in\":{expires_in}}}");
            let (token, found) = read_at(200, &body).unwrap();
            assert_eq!((token.expose(), found), ("t", lifetime), "{expires_in}");
        }
        assert_eq!(read_at(200, r#"{"access_token":"t"}"#).unwrap().1, None);
    }

    #[test]
    fn of_an_answer_only_the_errors_name_and_description_are_shown() {
        let text = |status, body: &str| read_at(status, body).unwrap_err().to_string();
        assert_eq!(
            text(
                401,
                r#"{"error":"invalid_client","error_description":"no hunter2","access_token":"t0p"}"#
            ),
            "sso.example refused the client id and secret (401 Unauthorized: invalid_client: no ***)"
        );
        assert_eq!(
            text(400, "<html>t0p</html>"),
            "sso.example refused the client id and secret (400 Bad Request)"
        );
        assert_eq!(
            text(503, "t0p"),
            "sso.example gives no tokens now (503 Service Unavailable)"
        );
        assert_eq!(
            text(200, r#"{"token":"t0p"}"#),
            "the answer of sso.example holds no access token: it is not what OAuth 2.0 says"
        );
        assert_eq!(
            text(200, r#"{"access_token":"t 0p"}"#),
            "the answer of sso.example holds no access token: the token is empty, or no header may \
             hold it"
        );
    }

    /// Sends a token that never ends, and counts what of it goes out.
    async fn endless_token() -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 629145600\r\n\r\n{\"access_token\":\"";
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(&vec![b'x'; 64 * 1024]).await.is_ok() {
                counter.fetch_add(64 * 1024, Ordering::Relaxed);
            }
        });
        (address, sent)
    }

    #[tokio::test]
    async fn of_an_answer_of_600_mib_64_kib_are_read() {
        let (address, sent) = endless_token().await;
        let client = OauthClient {
            url: format!("http://{address}/token").parse().unwrap(),
            id: Secret::literal("id"),
            secret: Secret::literal("secret"),
        };
        let http = http::Client {
            tls: Tls::default(),
            proxy: Proxy::None,
            ca_key: "sasl.ca_file",
            dial: Timeouts::each(Duration::from_secs(10)),
            timeout: Duration::from_secs(60),
            max_body_bytes: MAX_TOKEN_BYTES,
        };
        let error = client.token(&http, Grant::InForm).await.unwrap_err();
        assert!(error.to_string().ends_with("it is too long"), "{error}");
        // The rest of what went out is in the system's buffers.
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 64 << 20, "{sent} bytes were taken");
    }
}
