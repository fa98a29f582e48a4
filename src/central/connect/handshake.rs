//! From a connected stream to a WebSocket.
//!
//! The request goes through hyper, not through tungstenite's own client: that one writes the whole
//! request, key included, to the log at level trace, and has only those bytes of a refusal's body
//! that came along with its headers.

use hyper::client::conn::http1;
use hyper::http::header::{
    self, CONNECTION, HOST, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::net::USER_AGENT;
use crate::net::dial::Stream;
use crate::net::response::{ExchangeError, HttpResponse, NoBody, drive};

/// One read of the socket: larger buffers gain little, and each idle connection holds one.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Enough of a refusal to say why.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// Asks for `target` on `host`, with `headers` besides those of every WebSocket handshake.
pub(crate) async fn upgrade(
    stream: Stream,
    host: &str,
    target: &str,
    headers: HeaderMap,
    max_frame_bytes: usize,
) -> Result<WebSocketStream<Stream>, ExchangeError> {
    let nonce = generate_key();
    let request = request(host, target, headers, &nonce)?;
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ExchangeError::Rejected(
                HttpResponse::read(response, MAX_REFUSAL_BYTES).await,
            ));
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

fn request(
    host: &str,
    target: &str,
    headers: HeaderMap,
    nonce: &str,
) -> Result<Request<NoBody>, ExchangeError> {
    let mut request = Request::get(target)
        .header(HOST, host)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, nonce)
        .header(header::USER_AGENT, USER_AGENT)
        .body(NoBody::default())
        .map_err(|error| unfit(&format!("the endpoint: {error}")))?;
    request.headers_mut().extend(headers);
    Ok(request)
}

/// An extension changes what frames mean. We offer none, so none may be in use (RFC 6455, section
/// 4.1).
fn verify<B>(response: &Response<B>, nonce: &str) -> Result<(), ExchangeError> {
    let headers = response.headers();
    let accept = headers.get(SEC_WEBSOCKET_ACCEPT);
    if accept.map(HeaderValue::as_bytes) != Some(derive_accept_key(nonce.as_bytes()).as_bytes()) {
        return Err(unfit(
            "the server switched protocols, but not to this WebSocket",
        ));
    }
    if let Some(extensions) = headers.get(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(unfit(&format!(
            "the server uses extensions that were not offered: {extensions:?}"
        )));
    }
    Ok(())
}

fn unfit(reason: &str) -> ExchangeError {
    ExchangeError::Broken(reason.to_owned())
}
