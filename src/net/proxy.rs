//! Which HTTP proxy stands before a host, and how it is asked for a tunnel (HTTP CONNECT).

use hyper::client::conn::http1;
use hyper::http::header::{self, HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::http::{Method, Request, StatusCode, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use super::USER_AGENT;
use super::address::HostPort;
use super::error::DialError;
use super::response::{ExchangeError, HttpResponse, NoBody, drive};
use crate::config::Proxy;

/// What an operator does where a proxy wants other credentials.
const WRITE_PROXY: &str = "write proxy = \"http://USER:PASSWORD@HOST:PORT\"";

/// Enough of a refusal to say why.
const MAX_REFUSAL_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct HttpProxy {
    host: HostPort,
    is_secure: bool,
    authorization: Option<HeaderValue>,
}

impl HttpProxy {
    /// The proxy for a URL, if there is one.
    ///
    /// # Errors
    /// The environment names one that is no HTTP proxy.
    pub(super) fn before(url: &Url, proxy: &Proxy) -> Result<Option<Self>, String> {
        let matcher = match proxy {
            Proxy::None => return Ok(None),
            Proxy::Environment => Matcher::from_env(),
            Proxy::Url(url) => Matcher::builder().all(url.expose().to_owned()).build(),
        };
        let Some(found) = plain(url).and_then(|uri| matcher.intercept(&uri)) else {
            return Ok(None);
        };
        Self::of(&found).map(Some)
    }

    fn of(found: &Intercept) -> Result<Self, String> {
        let uri = found.uri();
        let (is_secure, usual) = match uri.scheme_str().unwrap_or("http") {
            "http" => (false, 80),
            "https" => (true, 443),
            other => {
                return Err(format!(
                    "the proxy of the environment is of scheme {other}, and only http and https are \
                     known"
                ));
            }
        };
        let mut authorization = found.basic_auth().cloned();
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let host = uri.host().unwrap_or_default();
        Ok(Self {
            host: HostPort::new(host, uri.port_u16().unwrap_or(usual)),
            is_secure,
            authorization,
        })
    }

    pub(super) fn host(&self) -> &HostPort {
        &self.host
    }

    pub(super) fn is_secure(&self) -> bool {
        self.is_secure
    }

    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Makes a connection to the proxy one to `target`.
    pub(super) async fn open<S>(&self, proxy: S, target: &HostPort) -> Result<S, DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let target = target.to_string();
        let request = self.request(&target)?;
        let (mut sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(proxy))
            .await
            .map_err(|error| self.failed(&target, &error.to_string()))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            if response.status() != StatusCode::OK {
                let response = HttpResponse::read(response, MAX_REFUSAL_BYTES).await;
                return Err(ExchangeError::Rejected(response));
            }
            Ok(hyper::upgrade::on(response).await?)
        };
        let upgraded = match drive(exchange, connection.with_upgrades()).await {
            Ok(upgraded) => upgraded,
            Err(ExchangeError::Rejected(response)) => return Err(self.refusal(&target, &response)),
            Err(ExchangeError::Broken(why)) => return Err(self.failed(&target, &why)),
        };
        match upgraded.downcast::<TokioIo<S>>() {
            Ok(parts) if parts.read_buf.is_empty() => Ok(parts.io.into_inner()),
            _ => Err(self.failed(&target, "it spoke before it was asked")),
        }
    }

    fn request(&self, target: &str) -> Result<Request<NoBody>, DialError> {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(target)
            .header(HOST, target)
            .header(header::USER_AGENT, USER_AGENT);
        if let Some(value) = &self.authorization {
            request = request.header(PROXY_AUTHORIZATION, value);
        }
        let request = request.body(NoBody::default());
        request.map_err(|error| DialError::Refused(format!("{target}: {error}")))
    }

    /// What an answer of the proxy means that is not the server's.
    pub(super) fn refusal(&self, target: &str, response: &HttpResponse) -> DialError {
        let summary = response.summary(&[]);
        let proxy = &self.host;
        match response.status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => DialError::Refused(format!(
                "the proxy {proxy} refused our credentials ({summary}): {WRITE_PROXY}"
            )),
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                DialError::Refused(format!(
                    "the proxy {proxy} does not let us through to {target} ({summary})"
                ))
            }
            _ => self.failed(target, &summary),
        }
    }

    fn failed(&self, target: &str, why: &str) -> DialError {
        DialError::Unreachable(format!(
            "the proxy {} did not connect us to {target}: {why}",
            self.host
        ))
    }
}

/// The same place, by the scheme that proxies are chosen by.
fn plain(url: &Url) -> Option<Uri> {
    let scheme = match url.scheme() {
        "wss" | "https" => "https",
        _ => "http",
    };
    let port = url.port_or_known_default()?;
    format!("{scheme}://{}:{port}/", url.host_str()?)
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;

    #[test]
    fn user_and_password_go_to_the_proxy_and_are_not_shown() {
        let url = "wss://central.example/streaming/api".parse().unwrap();
        let proxy = Proxy::Url(Secret::literal("http://ops:hunter2@[::1]:3128"));
        let proxy = HttpProxy::before(&url, &proxy).unwrap().unwrap();
        assert_eq!(proxy.host.to_string(), "[::1]:3128");
        let request = proxy.request("central.example:443").unwrap();
        assert_eq!(
            request.headers()[PROXY_AUTHORIZATION],
            "Basic b3BzOmh1bnRlcjI="
        );
        assert!(!format!("{proxy:?} {request:?}").contains("b3BzOmh1bnRlcjI"));
    }

    #[test]
    fn none_is_none() {
        let url = "wss://central.example/streaming/api".parse().unwrap();
        assert!(HttpProxy::before(&url, &Proxy::None).unwrap().is_none());
    }
}
