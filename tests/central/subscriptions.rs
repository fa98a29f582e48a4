//! Subscriptions against real sockets: the simulator, and servers that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use central_forwarder::central::subscription::{Ended, Leave, State};
use central_forwarder::central::{Cause, Central, Settings};
use central_forwarder::config::secret::Secret;
use central_forwarder::config::{Access, Account, ClassicAccess, PemFile, Proxy, Tls, Topic};
use central_forwarder::frame::{Frame, Timestamp};
use central_forwarder::simulator::{Options, Simulator, TOPICS, sequence_of_frame};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{accept_async, accept_hdr_async};

use support::inbox::Inbox;
use support::servers::{answer_http, send_after_close, serve_bytes, serve_tcp, serve_websocket};
use support::subscribe::{PATIENCE, Running, settings};

const KEY: &str = "simulated-key";

fn account(endpoint: &str) -> Account {
    Account {
        endpoint: endpoint.parse().unwrap(),
        access: with_key(Secret::literal(KEY)),
        topics: TOPICS.map(Topic::classic).into(),
        tls: Tls::default(),
        proxy: Proxy::None,
        idle_timeout: None,
    }
}

fn with_key(key: Secret) -> Access {
    Access::Classic(ClassicAccess {
        key,
        username: Some("ops@acme.example".to_owned()),
    })
}

fn start(account: &Account, topic: &str, settings: &Settings, inbox: &Inbox) -> Running {
    let central = Central::new(None, None, *settings);
    Running::start(&central, account, Topic::classic(topic), inbox)
}

fn number(frame: &Frame) -> u64 {
    sequence_of_frame(&frame.payload).expect("a frame of the simulator")
}

#[tokio::test]
async fn every_topic_arrives_whole_and_in_order() {
    const FRAMES: u64 = 500;
    let simulator = Simulator::start(Options {
        rate: 0,
        count: Some(FRAMES),
        ..Options::default()
    })
    .await
    .unwrap();
    for topic in TOPICS {
        let mut inbox = Inbox::new();
        let before = Timestamp::now();
        let running = start(&account(&simulator.endpoint()), topic, &settings(), &inbox);
        for expected in 1..=FRAMES {
            let frame = inbox.next().await;
            assert_eq!(frame.subscription.to_string(), format!("acme/{topic}"));
            assert_eq!(number(&frame), expected);
            assert!(frame.received_at >= before);
        }
        running.stop().await;
    }
    simulator.stop().await;
}

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
async fn after_a_break_it_goes_on_with_the_next_frame() {
    let simulator = Simulator::start(Options {
        rate: 0,
        count: Some(10),
        ..Options::default()
    })
    .await
    .unwrap();
    let mut inbox = Inbox::new();
    let running = start(
        &account(&simulator.endpoint()),
        "monitoring",
        &settings(),
        &inbox,
    );
    for expected in 1..=50 {
        assert_eq!(number(&inbox.next().await), expected);
        if expected % 10 == 0 {
            simulator.drop_connections();
        }
    }
    assert!(running.handle.counts().failures[&Cause::Dropped] >= 4);
    let gap = inbox.next_gap().await;
    assert_eq!(
        (gap["account"].as_str(), gap["topic"].as_str()),
        (Some("acme"), Some("monitoring"))
    );
    assert!(
        gap["why"]
            .as_str()
            .unwrap()
            .contains("the connection ended"),
        "{gap}"
    );
    assert!(
        gap["from"].as_str() <= gap["until"].as_str() && gap["attempts"] == 1,
        "{gap}"
    );
    running.stop().await;
    simulator.stop().await;
}

#[tokio::test]
async fn a_gap_that_is_not_over_is_told_at_the_end() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut inbox = Inbox::new();
    let running = start(
        &account(&simulator.endpoint()),
        "audit",
        &settings(),
        &inbox,
    );
    running.connected().await;
    simulator.stop().await;
    running.failed(Cause::Unreachable).await;
    running.stop().await;
    let gap = inbox.next_gap().await;
    assert!(gap["attempts"].as_u64().unwrap() >= 1, "{gap}");
}

#[tokio::test]
async fn removed_for_good_is_said_with_code_1000() {
    let (codes, mut code) = mpsc::unbounded_channel();
    let endpoint = serve_websocket(move |mut socket| {
        let codes = codes.clone();
        async move {
            if let Some(Ok(Message::Close(Some(frame)))) = socket.next().await {
                let _ = codes.send(frame.code);
            }
        }
    })
    .await;
    let inbox = Inbox::new();
    for (leave, expected) in [
        (Leave::ForGood, CloseCode::Normal),
        (Leave::ForNow, CloseCode::Away),
    ] {
        let running = start(&account(&endpoint), "audit", &settings(), &inbox);
        running.connected().await;
        running.leave(leave).await;
        assert_eq!(code.recv().await, Some(expected));
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_tried_until_it_is_back() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let (endpoint, addr) = (simulator.endpoint(), simulator.addr());
    simulator.stop().await;
    let inbox = Inbox::new();
    let running = start(&account(&endpoint), "audit", &settings(), &inbox);
    let why = running.failed(Cause::Unreachable).await.to_string();
    assert!(why.contains(&addr.to_string()), "{why}");
    let simulator = Simulator::start(Options {
        listen: addr,
        ..Options::default()
    })
    .await
    .unwrap();
    running.connected().await;
    running.stop().await;
    simulator.stop().await;
}

#[tokio::test]
async fn a_close_frame_is_answered_and_named() {
    let endpoint = serve_websocket(|mut socket| async move {
        let close = CloseFrame {
            code: CloseCode::Restart,
            reason: "new\u{7} release".into(),
        };
        socket.close(Some(close)).await.unwrap();
        assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    })
    .await;
    let inbox = Inbox::new();
    let running = start(&account(&endpoint), "audit", &settings(), &inbox);
    let why = running.failed(Cause::Closed).await.to_string();
    assert_eq!(
        why,
        "Central closed the connection with code 1012 (new release)"
    );
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

#[tokio::test]
async fn silence_makes_it_connect_again() {
    let simulator = Simulator::start(Options {
        rate: 0,
        count: Some(1),
        ..Options::default()
    })
    .await
    .unwrap();
    let mut inbox = Inbox::new();
    let account = Account {
        idle_timeout: Some(Duration::from_millis(100)),
        ..account(&simulator.endpoint())
    };
    let running = start(&account, "monitoring", &settings(), &inbox);
    for expected in 1..=3 {
        assert_eq!(number(&inbox.next().await), expected);
    }
    assert!(running.handle.counts().failures[&Cause::Silent] >= 2);
    running.stop().await;
    simulator.stop().await;
}

#[tokio::test]
async fn a_peer_that_answered_a_ping_and_then_none_is_given_up() {
    let endpoint = serve_websocket(|mut socket| async move {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_ping() {
                break;
            }
        }
        let _ = socket.flush().await;
        std::future::pending::<()>().await;
    })
    .await;
    let inbox = Inbox::new();
    let settings = Settings {
        ping_interval: Duration::from_millis(20),
        pong_timeout: Duration::from_millis(100),
        ..settings()
    };
    let running = start(&account(&endpoint), "audit", &settings, &inbox);
    running.failed(Cause::Unanswered).await;
    running.stop().await;
}

#[tokio::test]
async fn text_frames_are_ignored_and_counted() {
    let endpoint = serve_websocket(|mut socket| async move {
        socket.send(Message::text("keep-alive")).await.unwrap();
        socket.send(Message::binary("an event")).await.unwrap();
        while socket.next().await.is_some() {}
    })
    .await;
    let mut inbox = Inbox::new();
    let running = start(&account(&endpoint), "audit", &settings(), &inbox);
    assert_eq!(inbox.next().await.payload, "an event");
    assert_eq!(running.handle.counts().text_frames, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_frame_of_40_mib_passes_and_a_larger_one_than_allowed_is_named() {
    const BYTES: usize = 40 << 20;
    let endpoint = serve_websocket(|mut socket| async move {
        socket.send(Message::binary(vec![7; BYTES])).await.unwrap();
        while socket.next().await.is_some() {}
    })
    .await;
    let mut inbox = Inbox::new();
    let running = start(&account(&endpoint), "audit", &settings(), &inbox);
    assert_eq!(inbox.next().await.payload.len(), BYTES);
    running.stop().await;

    let endpoint = serve_websocket(|mut socket| async move {
        let _ = socket.send(Message::binary(vec![7; 1025])).await;
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let settings = Settings {
        max_frame_bytes: 1024,
        ..settings()
    };
    let running = start(&account(&endpoint), "audit", &settings, &inbox);
    let why = running.failed(Cause::Protocol).await.to_string();
    assert!(why.contains("too large"), "{why}");
    running.stop().await;
}

#[tokio::test]
async fn a_message_in_fragments_is_stored_whole_whatever_comes_between_them() {
    let (pongs, mut pong) = mpsc::unbounded_channel();
    let endpoint = serve_bytes(
        &[
            b"\x02\x03one",
            b"\x89\x02hi",
            b"\x00\x00",
            b"\x00\x03two",
            b"\x8a\x00",
            b"\x80\x05three",
            b"\x82\x04next",
        ],
        pongs,
    )
    .await;
    let mut inbox = Inbox::new();
    let running = start(&account(&endpoint), "audit", &settings(), &inbox);
    assert_eq!(inbox.next().await.payload, "onetwothree");
    assert_eq!(inbox.next().await.payload, "next");
    assert_eq!(running.handle.counts().frames, 2);
    let answer = pong.recv().await.unwrap();
    let (mask, masked) = (&answer[2..6], &answer[6..]);
    let said: Vec<u8> = masked.iter().zip(mask).map(|(a, b)| a ^ b).collect();
    assert_eq!((answer[0], said.as_slice()), (0x8a, &b"hi"[..]));
    running.stop().await;
}

#[tokio::test]
async fn fragments_that_are_too_large_together_are_named() {
    let (pongs, _) = mpsc::unbounded_channel();
    let endpoint = serve_bytes(&[b"\x02\x04four", b"\x00\x04four", b"\x80\x04four"], pongs).await;
    let inbox = Inbox::new();
    let settings = Settings {
        max_frame_bytes: 11,
        ..settings()
    };
    let running = start(&account(&endpoint), "audit", &settings, &inbox);
    let why = running.failed(Cause::Protocol).await.to_string();
    assert!(why.contains("too large"), "{why}");
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
async fn our_own_backpressure_is_not_taken_for_a_dead_peer() {
    const FRAMES: u64 = 60_000;
    const IDLE: Duration = Duration::from_millis(200);
    let simulator = Simulator::start(Options {
        rate: 0,
        ..Options::default()
    })
    .await
    .unwrap();
    let mut inbox = Inbox::holding(1 << 20);
    let settings = Settings {
        ping_interval: IDLE / 10,
        pong_timeout: IDLE / 2,
        idle_timeout: Some(IDLE),
        close_timeout: Duration::from_millis(50),
        ..settings()
    };
    let running = start(
        &account(&simulator.endpoint()),
        "monitoring",
        &settings,
        &inbox,
    );
    let mut frames = 0;
    let mut quiet_since = Instant::now();
    // As long as every limit together, and that several times: what is waited for is that nothing
    // happens.
    while quiet_since.elapsed() < 5 * IDLE {
        tokio::time::sleep(IDLE / 20).await;
        let counts = running.handle.counts();
        if counts.frames > frames {
            (frames, quiet_since) = (counts.frames, Instant::now());
        }
    }
    assert!(frames > 0 && frames < FRAMES, "{frames} found room");
    assert_eq!(running.handle.turns(), None, "it waits for the journal");
    for expected in 1..=FRAMES {
        assert_eq!(number(&inbox.next().await), expected);
    }
    let counts = running.handle.counts();
    assert_eq!((counts.connections, counts.failures.len()), (1, 0));
    assert_eq!(inbox.gaps(), 0);
    running.stop().await;
    simulator.stop().await;
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

#[tokio::test]
async fn it_stops_while_connecting_and_while_waiting() {
    let silent = serve_tcp(|mut stream| async move {
        let mut request = Vec::new();
        let _ = stream.read_to_end(&mut request).await;
    })
    .await;
    let inbox = Inbox::new();
    start(&account(&silent), "audit", &settings(), &inbox)
        .stop()
        .await;

    let busy = serve_tcp(|stream| async move {
        answer_http(stream, "429 Too Many Requests\r\nretry-after: 3600").await;
    })
    .await;
    let running = start(&account(&busy), "audit", &settings(), &inbox);
    running.failed(Cause::Later).await;
    running.stop().await;
}

#[tokio::test]
async fn a_goodbye_is_said_and_what_still_comes_is_kept() {
    let endpoint = serve_websocket(|mut socket| async move {
        let goodbye = socket.next().await;
        let Some(Ok(Message::Close(Some(frame)))) = goodbye else {
            panic!("{goodbye:?}");
        };
        assert_eq!(frame.code, CloseCode::Away);
    })
    .await;
    let mut inbox = Inbox::new();
    let running = start(&account(&endpoint), "audit", &settings(), &inbox);
    running.connected().await;
    running.stop().await;

    let late = serve_tcp(|stream| send_after_close(stream, b"late")).await;
    let running = start(&account(&late), "audit", &settings(), &inbox);
    running.connected().await;
    running.stop().await;
    assert_eq!(inbox.next().await.payload, "late");
}

#[tokio::test]
async fn without_a_journal_it_ends() {
    let simulator = Simulator::start(Options {
        rate: 1000,
        ..Options::default()
    })
    .await
    .unwrap();
    let inbox = Inbox::new();
    let running = start(
        &account(&simulator.endpoint()),
        "audit",
        &settings(),
        &inbox,
    );
    running.connected().await;
    inbox.close().await;
    let ended = timeout(PATIENCE, running.task).await.unwrap().unwrap();
    assert_eq!(ended, Ended::JournalClosed);
    simulator.stop().await;
}
