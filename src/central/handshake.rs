//! From a connected stream to a WebSocket.
//!
//! The request goes through hyper, not through tungstenite's own client: that one writes the whole
//! request, key included, to the log at level trace, and has only those bytes of a refusal's body
//! that came along with its headers.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::header::{
    CONNECTION, HOST, HeaderMap, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::credentials::Key;
use super::dial::Stream;
use super::error::{Cause, Error};

/// Enough of a refusal's body to say why.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// What of a refusal's body is shown.
const MAX_SAID_CHARS: usize = 200;

/// One read of the socket: larger buffers gain little, and each idle connection holds one.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// An answer that is not an upgrade.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    /// Status and body on one line, without secrets.
    pub(crate) said: String,
}

/// How a handshake ends if not with a WebSocket.
#[derive(Debug)]
pub(crate) enum Failure {
    Rejected(Rejection),
    Broken(Error),
}

/// Asks for `target` on `host`, with `headers` besides those of every WebSocket handshake.
pub(crate) async fn upgrade(
    stream: Stream,
    host: &str,
    target: &str,
    headers: HeaderMap,
    key: &Key,
    max_frame_bytes: usize,
) -> Result<WebSocketStream<Stream>, Failure> {
    let nonce = generate_key();
    let request = request(host, target, headers, &nonce)?;
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure::Rejected(read_rejection(response, key).await));
        }
        verify(&response, &nonce)?;
        Ok(hyper::upgrade::on(response).await?)
    };
    let upgraded = drive(exchange, connection.with_upgrades()).await?;
    let parts = upgraded
        .downcast::<TokioIo<Stream>>()
        .map_err(|_| unfit("the stream was lost in the upgrade"))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(max_frame_bytes))
        .max_frame_size(Some(max_frame_bytes));
    let socket = WebSocketStream::from_partially_read(
        parts.io.into_inner(),
        parts.read_buf.to_vec(),
        Role::Client,
        Some(config),
    );
    Ok(socket.await)
}

/// Waits for the exchange while the connection does the work for it.
async fn drive<T>(
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

fn request(
    host: &str,
    target: &str,
    headers: HeaderMap,
    nonce: &str,
) -> Result<Request<Empty<Bytes>>, Failure> {
    let mut request = Request::get(target)
        .header(HOST, host)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, nonce)
        .header(
            USER_AGENT,
            concat!("central-forwarder/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::new())
        .map_err(|error| Failure::Broken(Error::refused(format!("the endpoint: {error}"))))?;
    request.headers_mut().extend(headers);
    Ok(request)
}

fn verify<B>(response: &Response<B>, nonce: &str) -> Result<(), Failure> {
    let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT);
    if accept.map(HeaderValue::as_bytes) == Some(derive_accept_key(nonce.as_bytes()).as_bytes()) {
        Ok(())
    } else {
        Err(unfit(
            "the server switched protocols, but not to this WebSocket",
        ))
    }
}

async fn read_rejection(response: Response<Incoming>, key: &Key) -> Rejection {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| parse_retry_after(value.to_str().ok()?, SystemTime::now()));
    let body = match Limited::new(response.into_body(), MAX_BODY_BYTES)
        .collect()
        .await
    {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let text = key.redact(&String::from_utf8_lossy(&body));
    Rejection {
        status,
        retry_after,
        said: one_line(status, &text),
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

fn unfit(reason: &str) -> Failure {
    Failure::Broken(Error::broken(Cause::Handshake, reason))
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        let cause =
            std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
        unfit(&format!("the WebSocket handshake failed: {error}{cause}"))
    }
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
}
