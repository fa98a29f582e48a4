//! From an endpoint to a connected stream, through a proxy where there is one.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::MaybeTlsStream;
use url::{Host, Url};

use super::proxy::Tunnel;
use crate::central::error::{Cause, Error};
use crate::central::settings::Settings;
use crate::config::{Proxy, Tls};
use crate::tls;

pub(crate) type Stream = MaybeTlsStream<TcpStream>;

/// TCP asks an idle peer whether it is there, for peers that do not answer pings.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long a sent byte, such as our ping's, may stay unacknowledged before the connection is dead.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// Where an account's connections go.
pub(crate) struct Endpoint {
    host: Host,
    port: u16,
    /// As the `Host` header has it: with the port where it is not the scheme's own.
    authority: String,
    proxy: Option<Tunnel>,
    connector: Option<(TlsConnector, ServerName<'static>)>,
}

impl Endpoint {
    /// For `ws` and `wss`.
    pub(crate) fn new(url: &Url, tls: &Tls, proxy: &Proxy) -> Result<Self, tls::Unusable> {
        let host = url
            .host()
            .map_or_else(|| Host::Domain(String::new()), |host| host.to_owned());
        let secure = url.scheme() == "wss";
        let connector = if secure {
            let connector = TlsConnector::from(tls::client_config(tls, None, &[b"http/1.1"])?);
            Some((connector, server_name(&host)?))
        } else {
            None
        };
        Ok(Self {
            host,
            port: url.port().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority(url),
            proxy: Tunnel::to(url, proxy).map_err(tls::Unusable::Proxy)?,
            connector,
        })
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) async fn dial(&self, settings: &Settings) -> Result<Stream, Error> {
        let tcp = match &self.proxy {
            None => self.connect(settings.connect_timeout).await?,
            Some(proxy) => self.connect_through(proxy, settings).await?,
        };
        let Some((connector, server_name)) = &self.connector else {
            return Ok(MaybeTlsStream::Plain(tcp));
        };
        let handshake = connector.connect(server_name.clone(), tcp);
        match timeout(settings.tls_timeout, handshake).await {
            Ok(Ok(stream)) => Ok(MaybeTlsStream::Rustls(stream)),
            Ok(Err(error)) => {
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
                Err(tls_failed(&self.authority, inner, &error.to_string()))
            }
            Err(_) => Err(Error::broken(
                Cause::Tls,
                format!("{}: no answer to the TLS handshake", self.authority),
            )),
        }
    }

    async fn connect(&self, limit: Duration) -> Result<TcpStream, Error> {
        let connected = connect(&self.host, self.port, limit).await;
        connected.map_err(|error| unreachable(&self.authority, &error))
    }

    async fn connect_through(
        &self,
        proxy: &Tunnel,
        settings: &Settings,
    ) -> Result<TcpStream, Error> {
        let connected = connect(&proxy.host, proxy.port, settings.connect_timeout).await;
        let tcp = connected
            .map_err(|error| unreachable(&format!("the proxy {}", proxy.authority), &error))?;
        let target = format!("{}:{}", self.host, self.port);
        let opened = timeout(settings.handshake_timeout, proxy.open(tcp, &target)).await;
        opened.unwrap_or_else(|_| {
            let text = format!("no answer from the proxy {}", proxy.authority);
            Err(Error::broken(Cause::Unreachable, text))
        })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("authority", &self.authority)
            .field("proxy", &self.proxy)
            .field("tls", &self.connector.is_some())
            .finish_non_exhaustive()
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

pub(crate) fn tls_failed(authority: &str, error: Option<&rustls::Error>, text: &str) -> Error {
    match error {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            let certificate = format!("the certificate of {authority}");
            Error::refused(tls::not_trusted(&certificate, reason, "tls.ca_file"))
        }
        _ => Error::broken(
            Cause::Tls,
            format!("{authority}: the TLS handshake failed: {text}"),
        ),
    }
}

fn unreachable(place: &str, error: &io::Error) -> Error {
    let text = format!("cannot connect to {place}: {error}");
    Error::broken(Cause::Unreachable, text)
}

/// Tries each address of the host: one that is dead must not hide the others.
async fn connect(host: &Host, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let mut failure = io::Error::other("the name has no address");
    for address in resolve(host, port, limit).await? {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return prepare(&stream).map(|()| stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::Error::other(format!("no answer from {address}")),
        }
    }
    Err(failure)
}

async fn resolve(host: &Host, port: u16, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    let name = match host {
        Host::Domain(name) => name,
        Host::Ipv4(ip) => return Ok(vec![SocketAddr::from((*ip, port))]),
        Host::Ipv6(ip) => return Ok(vec![SocketAddr::from((*ip, port))]),
    };
    let found = timeout(limit, lookup_host((name.as_str(), port)))
        .await
        .unwrap_or_else(|_| Err(io::Error::other("no answer from the name server")));
    found.map(Iterator::collect)
}

fn server_name(host: &Host) -> Result<ServerName<'static>, tls::Unusable> {
    Ok(match host {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| {
            tls::Unusable::Tls(rustls::Error::General(format!("{name} is no DNS name")))
        })?,
        Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::from(*ip)),
        Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::from(*ip)),
    })
}

fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}
