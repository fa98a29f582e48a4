//! The ways in which a connection ends.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_util::sync::CancellationToken;

pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How long a client may take to read what was written and to close its end.
pub(crate) const LINGER: Duration = Duration::from_millis(300);

/// Ends a connection without a close frame, after what was written has arrived.
pub(crate) async fn hang_up(mut socket: Socket) {
    let stream = socket.get_mut();
    let closing = async {
        if stream.shutdown().await.is_ok() {
            // If something were unread, the kernel would drop what it has not sent yet.
            drain(stream).await;
        }
    };
    // A client that does not close its end is not waited for any longer.
    let _ = timeout(LINGER, closing).await;
}

/// Ends a connection with a close frame.
pub(crate) async fn close(mut socket: Socket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code: code.into(),
        reason: reason.into(),
    };
    let closing = async {
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // A client that does not answer is not waited for any longer.
    let _ = timeout(LINGER, closing).await;
}

/// Writes an incomplete frame, and ends the connection.
pub(crate) async fn break_off(mut socket: Socket, bytes: &[u8]) {
    let write =
        async { socket.flush().await.is_ok() && socket.get_mut().write_all(bytes).await.is_ok() };
    if timeout(LINGER, write).await == Ok(true) {
        hang_up(socket).await;
    }
}

/// Sends nothing more, not even pongs, and waits for the client to close the connection.
pub(crate) async fn go_silent(mut socket: Socket, cut: &CancellationToken) {
    let _: Option<()> = cut.run_until_cancelled(drain(socket.get_mut())).await;
}

/// Reads until the other side closes the connection.
async fn drain(stream: &mut TokioIo<Upgraded>) {
    while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
}
