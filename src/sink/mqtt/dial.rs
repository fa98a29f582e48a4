//! From a URL to a stream of bytes: a connection, and a WebSocket where the URL says so.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, future};
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use crate::config::{Mqtt, Proxy, Tls};
use crate::net::address::Peer;
use crate::net::dial::{Dialed, Dialer, Timeouts, TlsOptions};

/// Time for each step: an address, TLS, WebSocket.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection, on which the broker has said nothing yet.
pub(crate) struct Connected {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) peer: Peer,
}

/// Connects, and says in words of an operator what failed.
pub(crate) async fn dial(mqtt: &Mqtt) -> Result<Connected, String> {
    let trusted = Tls {
        ca_file: mqtt.tls.ca_file.clone(),
        insecure: false,
    };
    let options = TlsOptions {
        trusted: &trusted,
        identity: mqtt.tls.identity.as_ref(),
        alpn: if is_websocket(mqtt) {
            &[b"http/1.1"]
        } else {
            &[]
        },
        ca_key: "tls.ca_file",
    };
    let dialer = Dialer::new(&mqtt.url, options, &Proxy::None).map_err(|why| why.to_string())?;
    let connected = dialer.dial(Timeouts::each(STEP_TIMEOUT)).await;
    let Dialed { stream, peer } = connected.map_err(|why| why.to_string())?;
    let (reader, writer) = Box::pin(speak(mqtt, dialer.authority(), stream)).await?;
    Ok(Connected {
        reader,
        writer,
        peer,
    })
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
    let failed = |why: &str| format!("cannot open a WebSocket at {authority}: {why}");
    let opened = match timeout(STEP_TIMEOUT, client_async(request, stream)).await {
        Ok(opened) => opened.map_err(|error| failed(&error.to_string())),
        Err(_) => Err(failed(&format!("no answer in {STEP_TIMEOUT:?}"))),
    };
    let (socket, _response) = opened?;
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

fn is_websocket(mqtt: &Mqtt) -> bool {
    matches!(mqtt.url.scheme(), "ws" | "wss")
}
