//! Which proxy leads to a host, and how it is asked for a tunnel (HTTP CONNECT).

use hyper::client::conn::http1;
use hyper::http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::http::{Method, Request, StatusCode, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::{Host, Url};

use super::http::{self, Failure, NoBody, WRITE_PROXY};
use crate::central::error::{Cause, Error};
use crate::config::Proxy;
use crate::http::OUR_NAME;

/// Where the tunnels of one host begin.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// As it is shown: without user and password.
    pub(crate) authority: String,
    authorization: Option<HeaderValue>,
}

impl Tunnel {
    /// The proxy for a URL, if there is one.
    ///
    /// # Errors
    /// The environment names one that is no HTTP proxy.
    pub(crate) fn to(url: &Url, proxy: &Proxy) -> Result<Option<Self>, String> {
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
        let scheme = uri.scheme_str().unwrap_or("http");
        if scheme != "http" {
            return Err(format!(
                "the proxy of the environment is of scheme {scheme}, and only http is known"
            ));
        }
        let host = uri.host().unwrap_or_default();
        let host = Host::parse(host).map_err(|error| format!("the proxy's name: {error}"))?;
        let port = uri.port_u16().unwrap_or(80);
        let mut authorization = found.basic_auth().cloned();
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Ok(Self {
            authority: format!("{host}:{port}"),
            host,
            port,
            authorization,
        })
    }

    /// Makes a connection to the proxy one to `target` (`host:port`).
    pub(crate) async fn open(&self, proxy: TcpStream, target: &str) -> Result<TcpStream, Error> {
        let request = self.request(target)?;
        let (mut sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(proxy))
            .await
            .map_err(|error| self.failed(target, &error.to_string()))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            if response.status() != StatusCode::OK {
                return Err(Failure::Rejected(http::read_answer(response).await));
            }
            Ok(hyper::upgrade::on(response).await?)
        };
        let upgraded = match http::drive(exchange, connection.with_upgrades()).await {
            Ok(upgraded) => upgraded,
            Err(Failure::Rejected(answer)) => return Err(self.refusal(target, &answer)),
            Err(Failure::Broken(why)) => return Err(self.failed(target, &why)),
        };
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) if parts.read_buf.is_empty() => Ok(parts.io.into_inner()),
            _ => Err(self.failed(target, "it spoke before it was asked")),
        }
    }

    fn request(&self, target: &str) -> Result<Request<NoBody>, Error> {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(target)
            .header(HOST, target)
            .header(USER_AGENT, OUR_NAME);
        if let Some(value) = &self.authorization {
            request = request.header(PROXY_AUTHORIZATION, value);
        }
        let request = request.body(NoBody::default());
        request.map_err(|error| Error::refused(format!("the endpoint: {error}")))
    }

    fn refusal(&self, target: &str, answer: &http::Answer) -> Error {
        let said = answer.said(&[]);
        let proxy = &self.authority;
        match answer.status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Error::refused(format!(
                "the proxy {proxy} refused our credentials ({said}): {WRITE_PROXY}"
            )),
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                Error::refused(format!(
                    "the proxy {proxy} does not let us through to {target} ({said})"
                ))
            }
            _ => self.failed(target, &said),
        }
    }

    fn failed(&self, target: &str, why: &str) -> Error {
        Error::broken(
            Cause::Unreachable,
            format!(
                "the proxy {} did not connect us to {target}: {why}",
                self.authority
            ),
        )
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
        let tunnel = Tunnel::to(&url, &proxy).unwrap().unwrap();
        assert_eq!(
            (tunnel.authority.as_str(), tunnel.port),
            ("[::1]:3128", 3128)
        );
        let request = tunnel.request("central.example:443").unwrap();
        assert_eq!(
            request.headers()[PROXY_AUTHORIZATION],
            "Basic b3BzOmh1bnRlcjI="
        );
        assert!(!format!("{tunnel:?} {request:?}").contains("b3BzOmh1bnRlcjI"));
    }

    #[test]
    fn none_is_none() {
        let url = "wss://central.example/streaming/api".parse().unwrap();
        assert!(Tunnel::to(&url, &Proxy::None).unwrap().is_none());
    }
}
