//! One HTTP request over a connection of its own: for tokens, which are asked for seldom. The parts
//! that the WebSocket handshake and proxies need too are here.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::header::{CONNECTION, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::dial::Endpoint;
use super::error::{Cause, Error};
use super::settings::Settings;

pub(crate) const OUR_NAME: &str = concat!("central-forwarder/", env!("CARGO_PKG_VERSION"));

/// Enough for every token, and for a refusal to say why.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What of a refusal's body is shown.
const MAX_SAID_CHARS: usize = 200;

/// What stands in a message where a secret stood.
const REDACTED: &str = "***";

pub(crate) type Body = Full<Bytes>;

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
        let cause =
            std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
        Self::Broken(format!("{error}{cause}"))
    }
}

/// Sends a request, whose target is a path, and reads the answer whatever its status is. `Host` and
/// the like are added.
///
/// # Errors
/// There is no connection, or no answer in time.
pub(crate) async fn exchange(
    endpoint: &Endpoint,
    settings: &Settings,
    mut request: Request<Body>,
) -> Result<Answer, Error> {
    let broken = |why: &str| {
        let text = format!("{}: no answer to a request: {why}", endpoint.authority());
        Error::broken(Cause::Handshake, text)
    };
    let host = HeaderValue::from_str(endpoint.authority());
    let host = host.map_err(|error| Error::refused(format!("the endpoint: {error}")))?;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(OUR_NAME));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let stream = endpoint.dial(settings).await?;
    let answer = async {
        let io = TokioIo::new(stream);
        let (mut sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .handshake(io)
            .await?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            Ok(read_answer(response).await)
        };
        drive(exchange, connection).await
    };
    match timeout(settings.handshake_timeout, answer).await {
        Ok(Ok(answer) | Err(Failure::Rejected(answer))) => Ok(answer),
        Ok(Err(Failure::Broken(why))) => Err(broken(&why)),
        Err(_) => Err(broken("it took too long")),
    }
}

/// Waits for an exchange while the connection does the work for it.
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

pub(crate) async fn read_answer(response: Response<Incoming>) -> Answer {
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
