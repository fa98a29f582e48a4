//! Servers that do one thing to every client.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// Serves every connection by `treat`, for as long as the test's runtime lives; gives the endpoint.
pub async fn serve_tcp<F, T>(treat: F) -> String
where
    F: Fn(TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("ws://{}/streaming/api", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    endpoint
}

pub async fn serve_websocket<F, T>(treat: F) -> String
where
    F: Fn(WebSocketStream<TcpStream>) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    serve_tcp(move |stream| {
        let treat = treat.clone();
        async move {
            if let Ok(socket) = accept_async(stream).await {
                treat(socket).await;
            }
        }
    })
    .await
}

/// Sends these bytes after the handshake, frame by frame, and passes on what the client says, read by
/// read.
pub async fn serve_bytes(
    frames: &'static [&'static [u8]],
    said: UnboundedSender<Vec<u8>>,
) -> String {
    serve_tcp(move |stream| {
        let said = said.clone();
        async move {
            let Ok(socket) = accept_async(stream).await else {
                return;
            };
            let mut stream = socket.into_inner();
            for frame in frames {
                if stream.write_all(frame).await.is_err() {
                    return;
                }
            }
            let mut answer = [0; 1024];
            while let Ok(length @ 1..) = stream.read(&mut answer).await {
                // Not every test wants to know.
                let _ = said.send(answer[..length].to_vec());
            }
        }
    })
    .await
}

/// Answers with a status line and headers, without a body.
pub async fn answer_http(mut stream: TcpStream, head: &str) {
    let _ = stream.read(&mut [0; 4096]).await;
    let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.read(&mut [0; 1]).await;
}

/// Sends one more frame when the client has said goodbye, and only then answers that: no library
/// does so, but frames that were on their way look like this.
pub async fn send_after_close(stream: TcpStream, payload: &[u8]) {
    let Ok(socket) = accept_async(stream).await else {
        return;
    };
    let mut stream = socket.into_inner();
    let mut goodbye = [0; 64];
    if stream.read(&mut goodbye).await.is_err() {
        return;
    }
    let length = u8::try_from(payload.len()).expect("a short payload");
    let mut frames = vec![0x82, length];
    frames.extend_from_slice(payload);
    frames.extend_from_slice(&[0x88, 0]);
    let _ = stream.write_all(&frames).await;
}
