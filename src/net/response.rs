//! How an HTTP exchange ends: a response of bounded size, or none.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Body;
use hyper::http::header::RETRY_AFTER;
use hyper::http::{Response, StatusCode};

/// What of a refusal's body is shown.
const MAX_SHOWN_CHARS: usize = 200;

/// What stands in a message where a secret stood.
const REDACTED: &str = "***";

pub(crate) type NoBody = Empty<Bytes>;

/// A response, with as much of its body as was taken.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    received: Bytes,
    /// Why there is more of the body than was received.
    incomplete: Option<&'static str>,
}

impl HttpResponse {
    #[cfg(test)]
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("a status"),
            retry_after: None,
            received: body.into(),
            incomplete: None,
        }
    }

    /// Reads no more than `max_bytes` of the body; whoever drops the connection then is not sent the
    /// rest.
    pub(crate) async fn read<B>(response: Response<B>, max_bytes: usize) -> Self
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>>,
    {
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| parse_retry_after(value.to_str().ok()?, SystemTime::now()));
        let (received, incomplete) = read_body(response.into_body(), max_bytes).await;
        Self {
            status,
            retry_after,
            received,
            incomplete,
        }
    }

    /// # Errors
    /// The body is too long, or the connection ended before the body did.
    pub(crate) fn body(&self) -> Result<&[u8], &'static str> {
        match self.incomplete {
            None => Ok(&self.received),
            Some(why) => Err(why),
        }
    }

    /// What there is of the body.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Status and body on one line, without these secrets: some servers repeat them.
    pub(crate) fn summary(&self, secrets: &[&str]) -> String {
        self.summary_with(&String::from_utf8_lossy(&self.received), secrets)
    }

    /// The same with another text than the body.
    pub(crate) fn summary_with(&self, text: &str, secrets: &[&str]) -> String {
        if self.status.is_redirection() {
            // It would carry secrets to a place that nobody has written down.
            return one_line(self.status, "a redirect is not followed: correct the URL");
        }
        let mut text = text.to_owned();
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(*secret, REDACTED);
        }
        one_line(self.status, &text)
    }

    /// The server works, but does not serve us now.
    pub(crate) fn is_later(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error()
    }
}

async fn read_body<B>(body: B, max_bytes: usize) -> (Bytes, Option<&'static str>)
where
    B: Body<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    let mut received = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return (received.freeze(), Some("it ends in the middle"));
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let room = max_bytes - received.len();
        received.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return (received.freeze(), Some("it is too long"));
        }
    }
    (received.freeze(), None)
}

/// How an exchange ends if not as it should.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// Another response than the one that was wanted.
    Rejected(HttpResponse),
    Broken(String),
}

impl From<hyper::Error> for ExchangeError {
    fn from(error: hyper::Error) -> Self {
        let cause = error
            .source()
            .map_or(String::new(), |source| format!(": {source}"));
        Self::Broken(format!("{error}{cause}"))
    }
}

/// Waits for an exchange while the connection does the work for it.
pub(crate) async fn drive<T>(
    exchange: impl Future<Output = Result<T, ExchangeError>>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> Result<T, ExchangeError> {
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        outcome = &mut exchange => outcome,
        // What ended the connection is known to the exchange too, which knows more of it.
        _ = connection => exchange.await,
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
        .take(MAX_SHOWN_CHARS)
        .collect();
    let separator = if text.is_empty() { "" } else { ": " };
    format!("{status}{separator}{text}")
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http_body_util::Full;

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
        let response = HttpResponse::new(401, "bad key s3cret of id!");
        assert_eq!(
            response.summary(&["s3cret", "", "id"]),
            "401 Unauthorized: bad key *** of ***!"
        );
    }

    #[tokio::test]
    async fn of_a_long_body_the_beginning_is_kept() {
        let read = async |length| {
            let body = Full::new(Bytes::from(vec![b'x'; length]));
            HttpResponse::read(Response::new(body), 10).await
        };
        assert_eq!(read(10).await.body().map(<[u8]>::len), Ok(10));
        let long = read(11).await;
        assert_eq!(long.body(), Err("it is too long"));
        assert_eq!(long.received().len(), 10);
    }
}
