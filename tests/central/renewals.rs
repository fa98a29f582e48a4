//! Renewed keys, against a Central that shows both connections of a replacement.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use central_forwarder::central::Settings;
use central_forwarder::config::{Access, Account, ClassicAccess, Topic};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::interval;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use support::inbox::Inbox;
use support::subscribe::{Running, settings};

use crate::tokens::{central, classic};

/// A Classic Central that sends the same frames to all its connections, and has a new key from the
/// first question on.
struct Broadcast {
    endpoint: String,
    asked: Arc<AtomicUsize>,
}

const NEW_KEY: &str = "the.new.key";

impl Broadcast {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("ws://{}/streaming/api", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let (frames, _) = broadcast::channel(4096);
        let (questions, sender) = (Arc::clone(&asked), frames.clone());
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(2));
            for number in 0_u64.. {
                ticks.tick().await;
                // Nobody may be there yet.
                let _ = sender.send(number);
            }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, frames.subscribe(), Arc::clone(&questions)));
            }
        });
        Self { endpoint, asked }
    }
}

async fn serve(
    mut stream: TcpStream,
    mut frames: broadcast::Receiver<u64>,
    asked: Arc<AtomicUsize>,
) {
    let mut begin = [0; 24];
    while stream.peek(&mut begin).await.unwrap_or(24) < 24 {
        tokio::task::yield_now().await;
    }
    if begin.starts_with(b"GET /streaming/token") {
        let _ = stream.read(&mut [0; 4096]).await;
        asked.fetch_add(1, Ordering::Relaxed);
        let body = format!("{{\"token\": \"{NEW_KEY}\"}}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
        return;
    }
    let Ok(socket) = accept_hdr_async(stream, admit).await else {
        return;
    };
    let (mut sink, mut source) = socket.split();
    while let Ok(number) = frames.recv().await {
        let frame = Message::binary(number.to_be_bytes().to_vec());
        tokio::select! {
            biased;
            // Any message of the client is its goodbye.
            _ = source.next() => break,
            sent = sink.send(frame) => if sent.is_err() { return },
        }
    }
    // What is under way while the client leaves.
    let _ = sink.close().await;
}

#[expect(clippy::result_large_err, reason = "the library wants it so")]
fn admit(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    let key = request.headers()["authorization"].as_bytes();
    if key == NEW_KEY.as_bytes() || key.starts_with(b"e30.") {
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(None);
    *refusal.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::UNAUTHORIZED;
    Err(refusal)
}

/// A key that was made so long ago.
fn key_of_age(age: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = format!(
        "{{\"creation_date\":{}}}",
        now.saturating_sub(age).as_secs()
    );
    format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims))
}

#[tokio::test]
async fn a_connection_is_replaced_without_a_gap_and_what_both_deliver_is_stored_once() {
    let server = Broadcast::start().await;
    let settings = Settings {
        key_lifetime: Duration::from_secs(7),
        overlap: Duration::from_millis(100),
        ..settings()
    };
    let key = key_of_age(Duration::from_secs(6));
    let mut inbox = Inbox::new();
    let central = central(None, &settings);
    let audit = Topic::classic("audit");
    let account = classic(&server.endpoint, &key);
    let running = Running::start(&central, &account, audit, &inbox);
    let number = |payload: &[u8]| u64::from_be_bytes(payload.try_into().unwrap());
    let first = number(&inbox.next().await.payload);
    let mut expected = first;
    while running.handle.counts().connections < 2 || expected < first + 1500 {
        expected += 1;
        assert_eq!(number(&inbox.next().await.payload), expected);
    }
    let counts = running.handle.counts();
    assert!(
        counts.duplicates > 0 && counts.failures.is_empty(),
        "{counts:?}"
    );
    assert_eq!((counts.connections, inbox.gaps()), (2, 0));
    assert_eq!(server.asked.load(Ordering::Relaxed), 1);
    running.stop().await;
}

#[tokio::test]
async fn accounts_that_share_a_key_share_its_renewal() {
    let server = Broadcast::start().await;
    let account = classic(&server.endpoint, "an-old-key");
    let inbox = Inbox::new();
    let central = central(None, &settings());
    let start = |_| Running::start(&central, &account, Topic::classic("audit"), &inbox);
    let all: Vec<Running> = (0..20).map(start).collect();
    for running in &all {
        running.connected().await;
    }
    assert_eq!(server.asked.load(Ordering::Relaxed), 1);
    for running in all {
        running.stop().await;
    }
}

#[tokio::test]
async fn a_renewed_key_is_written_into_the_input_json() {
    let server = Broadcast::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.json");
    let input = r#"{"customers": {"acme": {"wsskey": "an-old-key",  "topic": "audit"}}, "x": 1}"#;
    std::fs::write(&path, input).unwrap();
    let customers = central_forwarder::config::input_json::Customer::all(&path).unwrap();
    let account = Account {
        access: Access::Classic(ClassicAccess {
            key: customers[0].key.clone(),
            username: None,
        }),
        ..classic(&server.endpoint, "unused")
    };
    let inbox = Inbox::new();
    let central = central(None, &settings());
    let running = Running::start(&central, &account, Topic::classic("audit"), &inbox);
    running.connected().await;
    running.stop().await;
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, input.replace("an-old-key", NEW_KEY));
}
