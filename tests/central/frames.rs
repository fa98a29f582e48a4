//! Frames as the socket has them: order, size, fragments, text, and a journal that is full.

use std::time::{Duration, Instant};

use central_forwarder::central::subscription::Ended;
use central_forwarder::central::{Cause, Settings};
use central_forwarder::frame::Timestamp;
use central_forwarder::simulator::{Options, Simulator, TOPICS};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use support::inbox::Inbox;
use support::servers::{serve_bytes, serve_websocket};
use support::subscribe::{PATIENCE, settings};

use crate::accounts::{account, number, start};

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

#[tokio::test]
async fn our_own_backpressure_is_not_taken_for_a_dead_peer() {
    const FRAMES: u64 = 60_000;
    const IDLE: Duration = Duration::from_millis(500);
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
    assert_eq!(running.handle.progress(), None, "it waits for the journal");
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
