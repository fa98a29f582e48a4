//! How a connection ends.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_util::sync::CancellationToken;

pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How long a client may take to read what was written, and to hang up, when a connection ends.
pub(super) const LINGER: Duration = Duration::from_millis(300);

/// Ends a connection without a close frame. What was written gets there first.
pub(super) async fn hang_up(mut socket: Socket) {
    let stream = socket.get_mut();
    let goodbye = async {
        if stream.shutdown().await.is_ok() {
            // The kernel would throw away what it has not sent yet if it had something unread.
            drain(stream).await;
        }
    };
    // A client that goes on is cut off.
    let _ = timeout(LINGER, goodbye).await;
}

pub(super) async fn close(mut socket: Socket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code: code.into(),
        reason: reason.into(),
    };
    let goodbye = async {
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // The client does not have to answer, and is not waited for any longer.
    let _ = timeout(LINGER, goodbye).await;
}

/// Writes bytes that are no whole frame, and ends the connection.
pub(super) async fn break_off(mut socket: Socket, bytes: &[u8]) {
    let write =
        async { socket.flush().await.is_ok() && socket.get_mut().write_all(bytes).await.is_ok() };
    if timeout(LINGER, write).await == Ok(true) {
        hang_up(socket).await;
    }
}

/// Says nothing more, and waits for the client to hang up. What it says meanwhile is not answered.
pub(super) async fn go_silent(mut socket: Socket, cut: &CancellationToken) {
    // Whichever comes first ends it.
    let _: Option<()> = cut.run_until_cancelled(drain(socket.get_mut())).await;
}

/// Reads until the other side hangs up.
async fn drain(stream: &mut TokioIo<Upgraded>) {
    while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
}
