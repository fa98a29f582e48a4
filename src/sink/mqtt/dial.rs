//! From a URL to a stream of bytes: TCP, then TLS and WebSocket where the URL says so.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, future};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use crate::config::{Mqtt, Tls};
use crate::tls;

/// Time for each step: TCP, TLS, WebSocket.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Connects, and says in words of an operator what failed.
pub(super) async fn dial(mqtt: &Mqtt) -> Result<(Reader, Writer), String> {
    let host = mqtt.url.host_str().unwrap_or_default();
    let port = mqtt.url.port().unwrap_or(default_port(mqtt.url.scheme()));
    let authority = format!("{host}:{port}");
    let tcp = within(&authority, "connect to", TcpStream::connect(&authority)).await?;
    tcp.set_nodelay(true)
        .map_err(|error| format!("{authority}: {error}"))?;
    if !mqtt.is_encrypted() {
        return Box::pin(speak(mqtt, &authority, tcp)).await;
    }
    let alpn: &[&[u8]] = if is_websocket(mqtt) {
        &[b"http/1.1"]
    } else {
        &[]
    };
    let believed = Tls {
        ca_file: mqtt.tls.ca_file.clone(),
        insecure: false,
    };
    let config = tls::client_config(&believed, mqtt.tls.identity.as_ref(), alpn)
        .map_err(|error| error.to_string())?;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|_| format!("{host} is no DNS name"))?;
    let handshake = TlsConnector::from(config).connect(name, tcp);
    let stream = within(&authority, "agree on TLS with", handshake).await?;
    Box::pin(speak(mqtt, &authority, stream)).await
}

async fn speak<S>(mqtt: &Mqtt, authority: &str, stream: S) -> Result<(Reader, Writer), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if !is_websocket(mqtt) {
        let (reader, writer) = split(stream);
        return Ok((Box::new(reader), Box::new(writer)));
    }
    let mut request = mqtt
        .url
        .as_str()
        .into_client_request()
        .map_err(|error| format!("{authority}: {error}"))?;
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    let upgrade = async {
        client_async(request, stream)
            .await
            .map_err(io::Error::other)
    };
    let (socket, _response) = within(authority, "open a WebSocket at", upgrade).await?;
    let (sink, messages) = socket.split();
    let sink = sink
        .with(|bytes: Bytes| future::ok::<_, WebSocketError>(Message::Binary(bytes)))
        .sink_map_err(io::Error::other);
    let bytes = messages.filter_map(|message| {
        future::ready(match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        })
    });
    let reader = StreamReader::new(bytes);
    let writer = SinkWriter::new(CopyToBytes::new(sink));
    Ok((Box::new(reader), Box::new(writer)))
}

async fn within<T>(
    authority: &str,
    what: &str,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, String> {
    match timeout(PATIENCE, step).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("cannot {what} {authority}: {error}")),
        Err(_) => Err(format!(
            "cannot {what} {authority}: no answer in {PATIENCE:?}"
        )),
    }
}

fn is_websocket(mqtt: &Mqtt) -> bool {
    matches!(mqtt.url.scheme(), "ws" | "wss")
}

fn default_port(scheme: &str) -> u16 {
    match scheme {
        "mqtts" => 8883,
        "ws" => 80,
        "wss" => 443,
        _ => 1883,
    }
}
