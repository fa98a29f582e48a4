//! Requests for keys and tokens. How an answer is read is also what the WebSocket handshake and
//! proxies need.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper::body::Body;
use hyper::http::header::RETRY_AFTER;
use hyper::http::{Response, StatusCode};
use reqwest::{Client, RequestBuilder};
use url::Url;

use super::dial::{authority, tls_failed};
use crate::central::error::{Cause, Error};
use crate::central::settings::Settings;
use crate::config::{Proxy, Tls};
use crate::http;

/// Enough for every token, and for a refusal to say why.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What of a refusal's body is shown.
const MAX_SAID_CHARS: usize = 200;

/// How the HTTP client says that a proxy answered 407; it has no type for that.
const PROXY_REFUSES: &str = "proxy authorization required";

/// What an operator does then.
pub(crate) const WRITE_PROXY: &str = "write proxy = \"http://USER:PASSWORD@HOST:PORT\"";

/// What stands in a message where a secret stood.
const REDACTED: &str = "***";

pub(crate) type NoBody = Empty<Bytes>;

/// An answer, with as much of its body as we take.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Status and body on one line, without these secrets: some servers repeat them.
    pub(crate) fn said(&self, secrets: &[&str]) -> String {
        let mut text = String::from_utf8_lossy(&self.body).into_owned();
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(*secret, REDACTED);
        }
        one_line(self.status, &text)
    }

    /// The server works, but not for us now.
    pub(crate) fn is_later(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error()
    }
}

/// How an exchange ends if not as it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another answer than the one that was wanted.
    Rejected(Answer),
    Broken(String),
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        let cause = error
            .source()
            .map_or(String::new(), |source| format!(": {source}"));
        Self::Broken(format!("{error}{cause}"))
    }
}

/// Whom the connections of an account believe, and through what they go.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) tls: Tls,
    pub(crate) proxy: Proxy,
}

impl Transport {
    /// Sends a request to `url`, over a connection of its own since tokens are asked for seldom, and
    /// reads the answer whatever its status is.
    ///
    /// # Errors
    /// There is no connection, or no answer in time.
    pub(crate) async fn send(
        &self,
        settings: &Settings,
        url: &Url,
        request: impl FnOnce(&Client) -> RequestBuilder,
    ) -> Result<Answer, Error> {
        let host = authority(url);
        let client = http::builder(&self.tls, &self.proxy).and_then(|builder| {
            let dialled = settings.connect_timeout + settings.tls_timeout;
            let builder = builder
                .connect_timeout(dialled)
                .timeout(dialled + settings.handshake_timeout);
            builder.build().map_err(|error| http::explain(&error))
        });
        let client = client.map_err(|why| Error::refused(format!("{host}: {why}")))?;
        let response = request(&client).send().await;
        let response = response.map_err(|error| failed(&host, &error))?;
        Ok(read_answer(response.into()).await)
    }
}

fn failed(host: &str, error: &reqwest::Error) -> Error {
    let why = http::explain(error);
    if let Some(error) = http::tls_error(error) {
        return tls_failed(host, Some(error), &why);
    }
    if why.contains(PROXY_REFUSES) {
        return Error::refused(format!(
            "{host}: the proxy refused our credentials (407): {WRITE_PROXY}"
        ));
    }
    if error.is_connect() {
        let text = format!("cannot connect to {host}: {why}");
        return Error::broken(Cause::Unreachable, text);
    }
    let text = format!("{host}: no answer to a request: {why}");
    Error::broken(Cause::Handshake, text)
}

///Waits for an exchange while the connection does the work for it.
pub(crate) async fn drive<T>(
    exchange: impl Future<Output = Result<T, Failure>>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> Result<T, Failure> {
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        outcome = &mut exchange => outcome,
        // What ended the connection is known to the exchange too, which knows more of it.
        _ = connection => exchange.await,
    }
}

pub(crate) async fn read_answer<B>(response: Response<B>) -> Answer
where
    B: Body<Error: Into<Box<dyn StdError + Send + Sync>>>,
{
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| parse_retry_after(value.to_str().ok()?, SystemTime::now()));
    let body = Limited::new(response.into_body(), MAX_BODY_BYTES)
        .collect()
        .await;
    Answer {
        status,
        retry_after,
        body: body.map_or_else(|_| Bytes::new(), Collected::to_bytes),
    }
}

/// Seconds, or an HTTP date (RFC 9110, section 10.2.3).
fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// What a server says is made harmless for a terminal and a log.
fn one_line(status: StatusCode, text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text: String = words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_SAID_CHARS)
        .collect();
    let separator = if text.is_empty() { "" } else { ": " };
    format!("{status}{separator}{text}")
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_000);
        let parse = |value| parse_retry_after(value, now);
        assert_eq!(parse("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            parse("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(777))
        );
        assert_eq!(parse("Tue, 06 Nov 1984 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("soon"), None);
        assert_eq!(parse("-1"), None);
    }

    #[test]
    fn what_a_server_says_is_one_short_line() {
        let said = one_line(
            StatusCode::BAD_REQUEST,
            "Unsubscribed\r\n\tTopic \u{1b}[31m",
        );
        assert_eq!(said, "400 Bad Request: Unsubscribed Topic [31m");
        assert_eq!(one_line(StatusCode::NOT_FOUND, " "), "404 Not Found");
        assert!(one_line(StatusCode::OK, &"x".repeat(10_000)).len() < 250);
    }

    #[test]
    fn a_secret_that_a_server_repeats_is_not_shown() {
        let answer = Answer {
            status: StatusCode::UNAUTHORIZED,
            retry_after: None,
            body: Bytes::from_static(b"bad key s3cret of id!"),
        };
        assert_eq!(
            answer.said(&["s3cret", "", "id"]),
            "401 Unauthorized: bad key *** of ***!"
        );
    }
}
