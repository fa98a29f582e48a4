//! Connections that end, fall silent or are left, and the gaps that are told.

use std::time::Duration;

use central_forwarder::central::subscription::StopMode;
use central_forwarder::central::{Cause, Settings};
use central_forwarder::config::Account;
use central_forwarder::simulator::{Options, Simulator};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use support::inbox::Inbox;
use support::servers::{answer_http, send_after_close, serve_tcp, serve_websocket};
use support::subscribe::settings;

use crate::accounts::{account, number, start};

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
        (StopMode::Unsubscribe, CloseCode::Normal),
        (StopMode::Pause, CloseCode::Away),
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
