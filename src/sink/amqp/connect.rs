//! From the config to a channel on which records can be published.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_compat::Compat;
use futures_util::Stream;
use lapin::options::{
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::tcp::RustlsConnector;
use lapin::types::FieldTable;
use lapin::uri::{
    AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism,
};
use lapin::{
    AsyncTcpStream, Channel, Connection, ConnectionProperties, Event, ExchangeKind, runtime,
};
use rustls::ClientConfig;
use socket2::{SockRef, Socket};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::ConnectionError;
use super::explain::explain;
use crate::config::{self, AmqpAuth, AmqpServer, Tls};
use crate::net::address::{HostPort, Peer};
use crate::net::dial::tls_failed;
use crate::net::{tcp, tls};
use crate::sink::{Cause, Failure};
use crate::sync::lock;

/// From the name of a server to a channel that is ready; the next server is tried then.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// For the name, and for each of its addresses.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// For the broker's answer when the connection is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

const CA_KEY: &str = "tls.ca_file";

/// A connection to a broker, with a channel.
pub(super) struct BrokerConnection {
    /// `host:port`
    pub(super) server: String,
    pub(super) channel: Channel,
    pub(super) events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    pub(super) connection: Connection,
    socket: SocketGuard,
}

/// Shuts the socket down when it is dropped: lapin's thread would wait for ever for a broker that keeps the
/// connection open and does not answer.
struct SocketGuard(Socket);

impl Drop for SocketGuard {
    fn drop(&mut self) {
        // It fails if the connection is closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl BrokerConnection {
    /// The broker's largest frame, in bytes.
    pub(super) fn max_frame_bytes(&self) -> usize {
        match self.connection.configuration().frame_max() {
            0 => usize::MAX,
            bytes => bytes.try_into().unwrap_or(usize::MAX),
        }
    }

    /// Closes it in good order, if the broker answers.
    pub(super) async fn close(self) {
        let closed = self.connection.close(200, "OK".into());
        // Without an answer the socket is shut down next.
        let _ = timeout(CLOSE_TIMEOUT, closed).await;
        drop(self.socket);
    }
}

/// Tries the servers in their order.
pub(super) async fn connect(config: &config::Amqp) -> Result<BrokerConnection, ConnectionError> {
    let tls = read_tls(config)
        .await
        .map_err(|why| ConnectionError(why.into()))?;
    let mut failures: Vec<String> = Vec::new();
    let mut cause = Cause::Unreachable;
    for server in &config.servers {
        let failure = match timeout(CONNECT_TIMEOUT, open(config, server, tls.clone())).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(why)) => why,
            Err(_) => Failure::new(
                Cause::Timeout,
                format!("no answer within {CONNECT_TIMEOUT:?}"),
            ),
        };
        // What one broker answers says more than that another is unreachable.
        if let (Cause::Unreachable, said) = (cause, failure.cause) {
            cause = Failure::new(said, "").or(Cause::Unreachable).cause;
        }
        failures.push(format!("{}: {failure}", address(server)));
    }
    Err(ConnectionError(Failure::new(cause, failures.join("; "))))
}

/// The TLS settings, if any server uses TLS.
pub(super) async fn read_tls(config: &config::Amqp) -> Result<Option<Arc<ClientConfig>>, String> {
    if !config.servers.iter().any(|server| server.tls) {
        return Ok(None);
    }
    let identity = config.tls.identity.clone();
    let trusted = Tls {
        ca_file: config.tls.ca_file.clone(),
        insecure: false,
    };
    let read = move || tls::client_config(&trusted, identity.as_ref(), &[]);
    match spawn_blocking(read).await {
        Ok(read) => read.map(Some).map_err(|error| error.to_string()),
        Err(panic) => Err(panic.to_string()),
    }
}

async fn open(
    config: &config::Amqp,
    server: &AmqpServer,
    tls: Option<Arc<ClientConfig>>,
) -> Result<BrokerConnection, Failure> {
    let connection = log_in(config, server, tls).await?;
    declare(&connection.channel, config)
        .await
        .map_err(|error| explain(&error))?;
    Ok(connection)
}

/// A connection with a new channel.
pub(super) async fn log_in(
    config: &config::Amqp,
    server: &AmqpServer,
    tls: Option<Arc<ClientConfig>>,
) -> Result<BrokerConnection, Failure> {
    let (connection, socket) = greet(config, server, tls.filter(|_| server.tls)).await?;
    let events = Box::pin(connection.events_listener());
    let channel = connection
        .create_channel()
        .await
        .map_err(|error| explain(&error))?;
    Ok(BrokerConnection {
        server: address(server),
        channel,
        events,
        connection,
        socket,
    })
}

/// Dials without lapin, so that each step has a timeout and the socket of a failed attempt can be shut down.
async fn greet(
    config: &config::Amqp,
    server: &AmqpServer,
    tls: Option<Arc<ClientConfig>>,
) -> Result<(Connection, SocketGuard), Failure> {
    let runtime = runtime::default_runtime().map_err(|error| explain(&error))?;
    let Dialed {
        stream,
        socket,
        peer,
    } = dial(server, tls).await?;
    // lapin may ask more than once, and there is one stream: the second try is delivery's to make.
    let stream = Mutex::new(Some(stream));
    let hand_over = async move |_, _| {
        let stream = lock(&stream).take();
        stream.ok_or_else(|| lapin::Error::from(io::Error::from(io::ErrorKind::ConnectionAborted)))
    };
    let properties = ConnectionProperties::default()
        .with_connection_name("central-forwarder".into())
        .with_client_property("product".into(), "central-forwarder".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
    let connection = Connection::connector(uri(config, server), runtime, hand_over, properties);
    let connection = connection.await.map_err(|error| explain(&error))?;
    peer.answered();
    Ok((connection, socket))
}

struct Dialed {
    stream: AsyncTcpStream<Compat<TcpStream>>,
    socket: SocketGuard,
    peer: Peer,
}

async fn dial(server: &AmqpServer, tls: Option<Arc<ClientConfig>>) -> Result<Dialed, Failure> {
    let host = HostPort::new(&server.host, server.port);
    // Heartbeats tell whether a broker lives that does not read: TCP sets it no time limit.
    let connected = tcp::connect(&host, DIAL_TIMEOUT, None).await;
    let (tcp, peer) =
        connected.map_err(|error| Failure::new(Cause::Unreachable, error.to_string()))?;
    let socket = SockRef::from(&tcp).try_clone();
    let socket = SocketGuard(socket.map_err(|error| error.to_string())?);
    let mut stream = AsyncTcpStream::Plain(Compat::new(tcp));
    if let Some(tls) = tls {
        stream = stream
            .into_rustls(&RustlsConnector::from(tls), &server.host)
            .await
            .map_err(|error| tls_failed(&error, &host.to_string(), CA_KEY).to_string())?;
    }
    Ok(Dialed {
        stream,
        socket,
        peer,
    })
}

fn uri(config: &config::Amqp, server: &AmqpServer) -> AMQPUri {
    AMQPUri {
        scheme: if server.tls {
            AMQPScheme::AMQPS
        } else {
            AMQPScheme::AMQP
        },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: server.login.user.clone(),
                password: server.login.password.expose().to_owned(),
            },
            host: server.host.clone(),
            port: server.port,
        },
        vhost: server.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: u16::try_from(config.heartbeat.as_secs()).ok(),
            auth_mechanism: Some(match config.auth {
                AmqpAuth::Plain => SASLMechanism::Plain,
                AmqpAuth::External => SASLMechanism::External,
            }),
            ..AMQPQueryString::default()
        },
    }
}

/// Turns confirms on, and declares or looks up the exchange and the queue.
async fn declare(channel: &Channel, config: &config::Amqp) -> lapin::Result<()> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let exchange = &config.exchange;
    if !exchange.name.is_empty() {
        let options = ExchangeDeclareOptions {
            passive: !exchange.declare,
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let (name, kind) = (exchange.name.as_str().into(), kind(exchange.kind));
        channel
            .exchange_declare(name, kind, options, FieldTable::default())
            .await?;
    }
    let Some(queue) = &config.queue else {
        return Ok(());
    };
    let options = QueueDeclareOptions {
        passive: !queue.declare,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.name.as_str().into(), options, FieldTable::default())
        .await?;
    if let Some(binding) = &queue.binding {
        channel
            .queue_bind(
                queue.name.as_str().into(),
                exchange.name.as_str().into(),
                binding.as_str().into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
    Ok(())
}

pub(super) fn kind(kind: config::ExchangeKind) -> ExchangeKind {
    match kind {
        config::ExchangeKind::Topic => ExchangeKind::Topic,
        config::ExchangeKind::Direct => ExchangeKind::Direct,
        config::ExchangeKind::Fanout => ExchangeKind::Fanout,
        config::ExchangeKind::Headers => ExchangeKind::Headers,
    }
}

/// `HOST:PORT`, as it is logged.
pub(super) fn address(server: &AmqpServer) -> String {
    let AmqpServer { host, port, .. } = server;
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::Login;
    use crate::config::secret::Secret;
    use crate::net::silent;

    #[tokio::test]
    async fn the_second_address_of_a_name_is_reached_within_a_second() {
        let name = silent::TwoAddresses::new("amqp.test");
        let server = AmqpServer {
            tls: false,
            host: name.host().host().to_owned(),
            port: name.answering().port(),
            vhost: "/".to_owned(),
            login: Login {
                user: "guest".to_owned(),
                password: Secret::literal("guest"),
            },
        };
        let start = Instant::now();
        let dialed = dial(&server, None).await;
        let peer = dialed.expect("the second one answers").socket.0.peer_addr();
        assert_eq!(peer.unwrap().as_socket(), Some(name.answering()));
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
