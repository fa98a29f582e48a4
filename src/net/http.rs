//! One HTTP client for token endpoints, keys and schema registries. Each request has a connection of
//! its own, since they are seldom; bodies are bounded; redirects are not followed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::http::header::{
    self, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION,
};
use hyper::http::{self, Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use url::{Url, form_urlencoded};

use super::USER_AGENT;
use super::dial::{Dialed, Dialer, Timeouts, TlsOptions};
use super::error::DialError;
use super::response::{ExchangeError, HttpResponse, drive};
use super::tls::InvalidConfig;
use crate::config::{Proxy, Tls};

/// Enough for every token and key.
pub(crate) const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// Enough for every schema and what a registry says of it.
pub(crate) const MAX_SCHEMA_BYTES: usize = 4 << 20;

/// How requests are sent.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) tls: Tls,
    pub(crate) proxy: Proxy,
    /// The key of the config that names further authorities, for messages.
    pub(crate) ca_key: &'static str,
    pub(crate) dial: Timeouts,
    /// From the name of the server to the end of the body.
    pub(crate) timeout: Duration,
    /// More of a body is not read.
    pub(crate) max_body_bytes: usize,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    /// The CA file or the proxy cannot be used, or the request not be written.
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{authority}: no answer in {limit:?}")]
    TimedOut { authority: String, limit: Duration },
    #[error("{authority}: no answer to a request: {why}")]
    Broken { authority: String, why: String },
}

/// A request to the server that a URL names.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    method: Method,
    url: &'a Url,
    headers: HeaderMap,
    body: Bytes,
}

impl<'a> Request<'a> {
    pub(crate) fn get(url: &'a Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn post(url: &'a Url) -> Self {
        Self {
            method: Method::POST,
            ..Self::get(url)
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// User and password by HTTP Basic.
    pub(crate) fn basic(self, user: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        let value = HeaderValue::from_str(&format!("Basic {encoded}"));
        let mut value = value.expect("base64 fits into a header");
        value.set_sensitive(true);
        self.header(AUTHORIZATION, value)
    }

    pub(crate) fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        self.body = form.finish().into();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        self.header(CONTENT_TYPE, kind)
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl Client {
    /// Sends a request and reads the response, whatever its status is.
    ///
    /// # Errors
    /// There is no connection, or no response in time.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<HttpResponse, HttpError> {
        let options = TlsOptions {
            trusted: &self.tls,
            identity: None,
            alpn: &[b"http/1.1"],
            ca_key: self.ca_key,
        };
        let dialer = Dialer::new(request.url, options, &self.proxy);
        let dialer = dialer.map_err(|why| invalid(request.url, &why))?;
        let authority = dialer.authority().to_owned();
        let limit = self.timeout;
        // Large, and seldom.
        timeout(limit, Box::pin(self.exchange(&dialer, request)))
            .await
            .unwrap_or(Err(HttpError::TimedOut { authority, limit }))
    }

    async fn exchange(
        &self,
        dialer: &Dialer,
        request: Request<'_>,
    ) -> Result<HttpResponse, HttpError> {
        let request = write(dialer, request)?;
        let Dialed { stream, peer } = dialer.dial(self.dial).await?;
        let broken = |why: String| HttpError::Broken {
            authority: dialer.authority().to_owned(),
            why,
        };
        let (mut sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(error.to_string()))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            Ok(HttpResponse::read(response, self.max_body_bytes).await)
        };
        let response = match drive(exchange, connection).await {
            Ok(response) | Err(ExchangeError::Rejected(response)) => response,
            Err(ExchangeError::Broken(why)) => return Err(broken(why)),
        };
        // Another address may have a server that is not overloaded.
        if !response.is_later() {
            peer.answered();
        }
        match dialer.forwarder() {
            Some(proxy) if response.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(proxy.refusal(dialer.authority(), &response).into())
            }
            _ => Ok(response),
        }
    }
}

/// A proxy that answers in the server's place is told the whole URL (RFC 9112, section 3.2.2).
fn write(dialer: &Dialer, request: Request<'_>) -> Result<http::Request<Full<Bytes>>, HttpError> {
    let url = request.url;
    let origin = match dialer.forwarder() {
        Some(_) => format!("http://{}", dialer.authority()),
        None => String::new(),
    };
    let query = url
        .query()
        .map_or(String::new(), |query| format!("?{query}"));
    let target = format!("{origin}{}{query}", url.path());
    let mut written = http::Request::builder()
        .method(request.method)
        .uri(target)
        .header(HOST, dialer.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close");
    if let Some(value) = dialer.forwarder().and_then(|proxy| proxy.authorization()) {
        written = written.header(PROXY_AUTHORIZATION, value);
    }
    let mut written = written
        .body(Full::new(request.body))
        .map_err(|error| invalid(url, &error))?;
    written.headers_mut().extend(request.headers);
    Ok(written)
}

/// Only the host of a URL is shown: the rest may hold a secret.
fn invalid(url: &Url, why: &dyn std::fmt::Display) -> HttpError {
    HttpError::Config(format!("{}: {why}", url.host_str().unwrap_or_default()))
}

impl From<InvalidConfig> for HttpError {
    fn from(why: InvalidConfig) -> Self {
        Self::Config(why.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::silent;
    use super::*;
    use crate::config::secret::Secret;

    fn client() -> Client {
        Client {
            tls: Tls::default(),
            proxy: Proxy::None,
            ca_key: "tls.ca_file",
            dial: Timeouts::each(Duration::from_secs(5)),
            timeout: Duration::from_secs(20),
            max_body_bytes: MAX_TOKEN_BYTES,
        }
    }

    /// Answers one request, and gives what it was.
    async fn serve(answer: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(answer).await.unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (address, served)
    }

    #[tokio::test]
    async fn the_second_address_of_a_name_is_reached_within_a_second() {
        let (address, _served) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let name = silent::TwoAddresses::before("http.test", address);
        let url = format!("http://{}/", name.host()).parse().unwrap();
        let start = Instant::now();
        let response = client().send(Request::get(&url)).await.unwrap();
        assert_eq!(response.body(), Ok(&b"ok"[..]));
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_form_is_posted_with_user_and_password() {
        let (address, served) = serve(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        let url: Url = format!("http://{address}/token?x=1").parse().unwrap();
        let request = Request::post(&url)
            .basic("forwarder", "secret")
            .form(&[("grant_type", "client credentials"), ("scope", "a&b")]);
        assert!(!format!("{request:?}").contains("Zm9yd2FyZGVyOnNlY3JldA"));
        let response = client().send(request).await.unwrap();
        assert_eq!(response.status, StatusCode::NO_CONTENT);
        let request = served.await.unwrap();
        for line in [
            "POST /token?x=1 HTTP/1.1",
            &format!("Host: {address}"),
            "Authorization: Basic Zm9yd2FyZGVyOnNlY3JldA==",
            "Content-Type: application/x-www-form-urlencoded",
            "Content-Length: 41",
            "grant_type=client+credentials&scope=a%26b",
        ] {
            assert!(
                request.lines().any(|found| found == line),
                "{line} in {request}"
            );
        }
    }

    #[tokio::test]
    async fn plain_http_is_asked_of_the_proxy_itself() {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        let (proxy, served) = serve(refusal).await;
        let through = Client {
            proxy: Proxy::Url(Secret::literal(format!("http://ops:pw@{proxy}"))),
            ..client()
        };
        let url = "http://registry.example:8081/subjects".parse().unwrap();
        let error = through.send(Request::get(&url)).await.unwrap_err();
        assert!(matches!(error, HttpError::Dial(DialError::Refused(_))));
        assert!(error.to_string().contains("407"), "{error}");
        let request = served.await.unwrap();
        let first = "GET http://registry.example:8081/subjects HTTP/1.1\r\n";
        assert!(request.starts_with(first), "{request}");
        assert!(request.contains("Proxy-Authorization: Basic b3BzOnB3\r\n"));
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_says_what_to_do() {
        let answer =
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        let (address, _served) = serve(answer).await;
        let url = format!("http://{address}/").parse().unwrap();
        let response = client().send(Request::get(&url)).await.unwrap();
        let summary = response.summary(&[]);
        assert_eq!(
            summary,
            "302 Found: a redirect is not followed: correct the URL"
        );
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let hasty = Client {
            timeout: Duration::from_millis(50),
            ..client()
        };
        let error = hasty.send(Request::get(&url.parse().unwrap())).await;
        assert!(
            matches!(error, Err(HttpError::TimedOut { .. })),
            "{error:?}"
        );
    }
}
