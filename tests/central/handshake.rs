//! How a connection is opened: what is asked, whom it trusts, what a refusal means.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use central_forwarder::central::subscription::State;
use central_forwarder::central::{Cause, Central, Settings};
use central_forwarder::config::secret::Secret;
use central_forwarder::config::{Account, PemFile, Tls, Topic};
use central_forwarder::frame::Timestamp;
use central_forwarder::simulator::{Options, Simulator};
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{accept_async, accept_hdr_async};

use support::inbox::Inbox;
use support::servers::{answer_http, serve_bytes, serve_tcp};
use support::subscribe::{Running, settings};

use crate::accounts::{KEY, account, start, with_key};

#[tokio::test]
async fn the_handshake_says_what_central_wants() {
    let (requests, mut received) = mpsc::unbounded_channel();
    let endpoint = serve_tcp(move |mut stream| {
        let requests = requests.clone();
        async move {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let _ = requests.send(String::from_utf8_lossy(&request[..length]).into_owned());
        }
    })
    .await;
    let inbox = Inbox::new();
    let running = start(&account(&endpoint), "audit", &settings(), &inbox);
    let request = received.recv().await.unwrap();
    let host = endpoint.split('/').nth(2).unwrap();
    for line in [
        "GET /streaming/api HTTP/1.1",
        &format!("Host: {host}"),
        "Authorization: simulated-key",
        "Topic: audit",
        "Username: ops@acme.example",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-Websocket-Version: 13",
    ] {
        let times = request.lines().filter(|found| *found == line).count();
        assert_eq!(times, 1, "{line} in {request}");
    }
    let offered = request.to_ascii_lowercase();
    assert!(!offered.contains("sec-websocket-extensions"), "{request}");
    running.stop().await;
}

#[tokio::test]
async fn names_and_ipv6_addresses_are_dialled() {
    let inbox = Inbox::new();
    for (listen, host) in [("127.0.0.1:0", "localhost"), ("[::1]:0", "[::1]")] {
        let simulator = Simulator::start(Options {
            listen: listen.parse().unwrap(),
            ..Options::default()
        })
        .await
        .unwrap();
        let endpoint = format!("ws://{host}:{}/streaming/api", simulator.addr().port());
        let running = start(&account(&endpoint), "audit", &settings(), &inbox);
        running.connected().await;
        running.stop().await;
        simulator.stop().await;
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_not_shown() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let inbox = Inbox::new();
    let account = Account {
        access: with_key(Secret::literal("s3cret-of-acme")),
        ..account(&simulator.endpoint())
    };
    let running = start(&account, "audit", &settings(), &inbox);
    let why = running.failed(Cause::Refused).await;
    assert!(
        why.to_string().contains("401") && why.to_string().contains("expired"),
        "{why}"
    );
    let state = running.until(|state| state.refusal().is_some()).await;
    assert!(!format!("{state:?} {:?}", running.handle).contains("s3cret-of-acme"));
    running.stop().await;
    simulator.stop().await;
}

#[tokio::test]
async fn a_new_key_in_the_file_needs_no_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "old").unwrap();
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let inbox = Inbox::new();
    let account = Account {
        access: with_key(Secret::from_file(&path).unwrap()),
        ..account(&simulator.endpoint())
    };
    let running = start(&account, "audit", &settings(), &inbox);
    running.failed(Cause::Refused).await;
    std::fs::write(&path, KEY).unwrap();
    running.connected().await;
    running.stop().await;
    simulator.stop().await;
}

#[tokio::test]
async fn a_topic_that_is_switched_off_says_where_to_switch_it_on() {
    let simulator = Simulator::start(Options {
        topics: vec!["audit".to_owned()],
        ..Options::default()
    })
    .await
    .unwrap();
    let inbox = Inbox::new();
    let running = start(
        &account(&simulator.endpoint()),
        "presence",
        &settings(),
        &inbox,
    );
    let why = running.failed(Cause::Refused).await.to_string();
    assert!(
        why.contains("enable the topic on the Streaming API page"),
        "{why}"
    );
    assert!(running.handle.counts().failures[&Cause::Refused] >= 1);
    running.stop().await;
    simulator.stop().await;
}

#[tokio::test]
async fn a_body_that_comes_late_and_repeats_the_key_is_read_and_redacted() {
    let endpoint = serve_tcp(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let head = "HTTP/1.1 400 Bad Request\r\ncontent-length: 41\r\n\r\nUnsubscribed ";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
        stream
            .write_all(b"Topic for key simulated-key.")
            .await
            .unwrap();
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await;
    let inbox = Inbox::new();
    let running = start(&account(&endpoint), "audit", &settings(), &inbox);
    let why = running.failed(Cause::Refused).await.to_string();
    assert!(why.contains("Unsubscribed Topic for key ***."), "{why}");
    assert!(why.contains("enable the topic"), "{why}");
    running.stop().await;
}

#[tokio::test]
async fn a_server_that_says_later_is_believed() {
    let endpoint = serve_tcp(|stream| async move {
        answer_http(stream, "503 Service Unavailable\r\nretry-after: 900").await;
    })
    .await;
    let inbox = Inbox::new();
    let before = Timestamp::now();
    let running = start(&account(&endpoint), "audit", &settings(), &inbox);
    let state = running
        .until(|state| matches!(state, State::BackingOff { .. }))
        .await;
    let State::BackingOff { until, why } = state else {
        unreachable!("it was waited for")
    };
    assert_eq!(why.cause(), Cause::Later);
    assert!(until.0 >= before.0 + 900 * 1_000_000);
    running.stop().await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let endpoint = serve_tcp(|mut stream| async move {
        let mut request = Vec::new();
        let _ = stream.read_to_end(&mut request).await;
    })
    .await;
    let inbox = Inbox::new();
    let settings = Settings {
        handshake_timeout: Duration::from_millis(50),
        tls_timeout: Duration::from_millis(50),
        ..settings()
    };
    let running = start(&account(&endpoint), "audit", &settings, &inbox);
    running.failed(Cause::Handshake).await;
    running.stop().await;
    let running = start(
        &account(&endpoint.replace("ws:", "wss:")),
        "audit",
        &settings,
        &inbox,
    );
    running.failed(Cause::Tls).await;
    running.stop().await;
}

#[tokio::test]
async fn what_is_no_websocket_is_named() {
    let endpoint = serve_tcp(|stream| async move {
        answer_http(stream, "101 Switching Protocols\r\nupgrade: tea").await;
    })
    .await;
    let inbox = Inbox::new();
    let running = start(&account(&endpoint), "audit", &settings(), &inbox);
    running.failed(Cause::Handshake).await;
    running.stop().await;
}

#[expect(
    clippy::unnecessary_wraps,
    clippy::result_large_err,
    reason = "the library wants it so"
)]
fn compress(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let extension = HeaderValue::from_static("permessage-deflate");
    let headers = response.headers_mut();
    headers.insert("sec-websocket-extensions", extension);
    Ok(response)
}

#[tokio::test]
async fn compression_that_was_not_offered_is_named() {
    let endpoint = serve_tcp(|stream| async move {
        if let Ok(mut socket) = accept_hdr_async(stream, compress).await {
            while socket.next().await.is_some() {}
        }
    })
    .await;
    let inbox = Inbox::new();
    let running = start(&account(&endpoint), "audit", &settings(), &inbox);
    let why = running.failed(Cause::Handshake).await.to_string();
    assert!(why.contains("permessage-deflate"), "{why}");
    running.stop().await;

    // The bit of a compressed frame, where nothing was said of compression.
    let (pongs, _) = mpsc::unbounded_channel();
    let endpoint = serve_bytes(&[b"\xc2\x01x"], pongs).await;
    let running = start(&account(&endpoint), "audit", &settings(), &inbox);
    let why = running.failed(Cause::Protocol).await.to_string();
    assert!(why.contains("invalid WebSocket data"), "{why}");
    running.stop().await;
}

#[tokio::test]
async fn so_many_handshakes_are_under_way_with_a_host_and_hold_up_no_other() {
    const LIMIT: usize = 3;
    let (under_way, mut waiting) = watch::channel(0);
    let (under_way, most) = (Arc::new(under_way), Arc::new(AtomicUsize::new(0)));
    let (release, released) = watch::channel(false);
    let highest = Arc::clone(&most);
    let endpoint = serve_tcp(move |stream| {
        let (under_way, most) = (Arc::clone(&under_way), Arc::clone(&most));
        let mut released = released.clone();
        async move {
            under_way.send_modify(|under_way| *under_way += 1);
            most.fetch_max(*under_way.borrow(), Ordering::Relaxed);
            released.wait_for(|released| *released).await.unwrap();
            under_way.send_modify(|under_way| *under_way -= 1);
            if let Ok(mut socket) = accept_async(stream).await {
                while socket.next().await.is_some() {}
            }
        }
    })
    .await;
    let settings = Settings {
        handshakes: LIMIT,
        spread: Duration::from_millis(1),
        ..settings()
    };
    let central = Central::new(None, None, settings);
    let inbox = Inbox::new();
    let busy = account(&endpoint);
    let start = |account| Running::start(&central, account, Topic::classic("audit"), &inbox);
    let all: Vec<Running> = (0..20).map(|_| start(&busy)).collect();
    waiting
        .wait_for(|under_way| *under_way == LIMIT)
        .await
        .unwrap();
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let other = account(&simulator.endpoint());
    let other = start(&other);
    other.connected().await;
    release.send_replace(true);
    for running in &all {
        running.connected().await;
    }
    assert_eq!(highest.load(Ordering::Relaxed), LIMIT);
    for running in all.into_iter().chain([other]) {
        running.stop().await;
    }
    simulator.stop().await;
}

#[tokio::test]
async fn a_certificate_of_ones_own_needs_its_ca_file() {
    let simulator = Simulator::start(Options {
        tls: true,
        ..Options::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, simulator.certificate().unwrap()).unwrap();
    let inbox = Inbox::new();
    let with = |tls| Account {
        tls,
        ..account(&simulator.endpoint())
    };

    let running = start(&with(Tls::default()), "audit", &settings(), &inbox);
    let why = running.failed(Cause::Refused).await.to_string();
    assert!(
        why.contains("is not trusted") && why.contains("tls.ca_file"),
        "{why}"
    );
    running.stop().await;

    let trusting = Tls {
        ca_file: Some(PemFile::new(ca_file)),
        insecure: false,
    };
    let running = start(&with(trusting), "audit", &settings(), &inbox);
    running.connected().await;
    running.stop().await;

    let insecure = Tls {
        ca_file: None,
        insecure: true,
    };
    let running = start(&with(insecure), "audit", &settings(), &inbox);
    running.connected().await;
    running.stop().await;
    simulator.stop().await;
}
