//! From a URL to a connected stream: TCP, through a proxy where there is one, then TLS.

use std::fmt;
use std::io;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::MaybeTlsStream;
use tokio_util::either::Either;
use url::Url;

use super::address::{HostPort, Peer};
use super::certificate;
use super::error::DialError;
use super::proxy::HttpProxy;
use super::tcp;
use super::tls::{self, InvalidConfig};
use crate::config::{PemFile, Proxy, Tls};

/// To the server, or to the proxy before it, which may speak TLS of its own. That is seldom, and large.
pub(crate) type Leg = Either<TcpStream, Box<TlsStream<TcpStream>>>;

pub(crate) type Stream = MaybeTlsStream<Leg>;

/// How TLS is spoken with a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsOptions<'a> {
    pub(crate) trusted: &'a Tls,
    /// The client's own certificate and its key.
    pub(crate) identity: Option<&'a (PemFile, PemFile)>,
    pub(crate) alpn: &'a [&'a [u8]],
    /// The key of the config that `trusted` is from, for messages.
    pub(crate) ca_key: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For the name, and for each of its addresses; all together take no longer than twice that.
    pub(crate) connect: Duration,
    pub(crate) tls: Duration,
    /// For a proxy's answer.
    pub(crate) proxy: Duration,
    /// How long a sent byte may stay unacknowledged, on a connection that has been made. `None` for
    /// brokers: one that pushes back does not read for minutes, and heartbeats tell whether it lives.
    pub(crate) unacknowledged: Option<Duration>,
}

impl Timeouts {
    pub(crate) const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

    /// The same for each step, and no limit for what is unacknowledged.
    pub(crate) fn each(step: Duration) -> Self {
        Self {
            connect: step,
            tls: step,
            proxy: step,
            unacknowledged: None,
        }
    }
}

/// A connection, and the address that it was made to.
pub(crate) struct Dialed {
    pub(crate) stream: Stream,
    pub(crate) peer: Peer,
}

/// Where connections go, and how.
pub(crate) struct Dialer {
    host: HostPort,
    /// As the `Host` header has it: with the port where it is not the scheme's own.
    authority: String,
    proxy: Option<HttpProxy>,
    /// Requests of plain HTTP are not tunnelled: the proxy itself answers them.
    is_forwarded: bool,
    tls: Option<Encryption>,
    /// For a proxy that is spoken to by TLS.
    proxy_tls: Option<Encryption>,
}

struct Encryption {
    connector: TlsConnector,
    name: ServerName<'static>,
    ca_key: &'static str,
}

impl Dialer {
    /// TLS is spoken where the scheme is `https`, `wss` or `mqtts`.
    ///
    /// # Errors
    /// The CA file, the client certificate or the proxy cannot be used.
    pub(crate) fn new(
        url: &Url,
        options: TlsOptions<'_>,
        proxy: &Proxy,
    ) -> Result<Self, InvalidConfig> {
        let host = HostPort::of_url(url)
            .ok_or_else(|| InvalidConfig::Proxy("the URL names no host".to_owned()))?;
        let proxy = HttpProxy::before(url, proxy).map_err(InvalidConfig::Proxy)?;
        let is_secure = matches!(url.scheme(), "https" | "wss" | "mqtts");
        let tls = is_secure
            .then(|| Encryption::new(options, &host))
            .transpose()?;
        let proxy_tls = match &proxy {
            Some(proxy) if proxy.is_secure() => Some(Encryption::new(options, proxy.host())?),
            _ => None,
        };
        Ok(Self {
            host,
            authority: authority(url),
            is_forwarded: url.scheme() == "http",
            proxy,
            tls,
            proxy_tls,
        })
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The proxy that answers in the server's place, where the connection leads to it and no further.
    pub(super) fn forwarder(&self) -> Option<&HttpProxy> {
        self.proxy.as_ref().filter(|_| self.is_forwarded)
    }

    /// # Errors
    /// There is no connection.
    pub(crate) async fn dial(&self, timeouts: Timeouts) -> Result<Dialed, DialError> {
        // Large, and seldom.
        Box::pin(self.connect(timeouts)).await
    }

    async fn connect(&self, timeouts: Timeouts) -> Result<Dialed, DialError> {
        let (leg, peer) = self.leg(timeouts).await?;
        let stream = match &self.tls {
            None => MaybeTlsStream::Plain(leg),
            Some(tls) => {
                let server = self.host.to_string();
                MaybeTlsStream::Rustls(tls.handshake(leg, &server, timeouts.tls).await?)
            }
        };
        Ok(Dialed { stream, peer })
    }

    async fn leg(&self, timeouts: Timeouts) -> Result<(Leg, Peer), DialError> {
        let Some(proxy) = &self.proxy else {
            let (tcp, peer) = connect(&self.host, "", timeouts).await?;
            return Ok((Either::Left(tcp), peer));
        };
        let (tcp, peer) = connect(proxy.host(), "the proxy ", timeouts).await?;
        let leg = match &self.proxy_tls {
            None => Either::Left(tcp),
            Some(tls) => {
                let server = format!("the proxy {}", proxy.host());
                Either::Right(Box::new(tls.handshake(tcp, &server, timeouts.tls).await?))
            }
        };
        if self.is_forwarded {
            return Ok((leg, peer));
        }
        let opened = timeout(timeouts.proxy, proxy.open(leg, &self.host)).await;
        let opened = opened.unwrap_or_else(|_| {
            let text = format!("no answer from the proxy {}", proxy.host());
            Err(DialError::Unreachable(text))
        });
        Ok((opened?, peer))
    }
}

async fn connect(
    host: &HostPort,
    what: &str,
    timeouts: Timeouts,
) -> Result<(TcpStream, Peer), DialError> {
    let connected = tcp::connect(host, timeouts.connect, timeouts.unacknowledged).await;
    connected
        .map_err(|error| DialError::Unreachable(format!("cannot connect to {what}{host}: {error}")))
}

impl Encryption {
    fn new(options: TlsOptions<'_>, host: &HostPort) -> Result<Self, InvalidConfig> {
        let config = tls::client_config(options.trusted, options.identity, options.alpn)?;
        let name = ServerName::try_from(host.host().to_owned()).map_err(|_| {
            let text = format!("{} is no DNS name", host.host());
            InvalidConfig::Tls(rustls::Error::General(text))
        })?;
        Ok(Self {
            connector: TlsConnector::from(config),
            name,
            ca_key: options.ca_key,
        })
    }

    async fn handshake<S>(
        &self,
        stream: S,
        server: &str,
        limit: Duration,
    ) -> Result<TlsStream<S>, DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = self.connector.connect(self.name.clone(), stream);
        match timeout(limit, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(tls_failed(&error, server, self.ca_key)),
            Err(_) => Err(DialError::Tls(format!(
                "cannot agree on TLS with {server}: no answer in {limit:?}"
            ))),
        }
    }
}

/// What a failed TLS handshake means.
pub(crate) fn tls_failed(error: &io::Error, server: &str, ca_key: &str) -> DialError {
    match certificate::explain(error, server, ca_key) {
        Some(text) => DialError::Refused(text),
        None => DialError::Tls(format!("cannot agree on TLS with {server}: {error}")),
    }
}

/// Host and port of a URL, as the `Host` header has them: without the port that is the scheme's own.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("authority", &self.authority)
            .field("proxy", &self.proxy)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Dialed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialed")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
