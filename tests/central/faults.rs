//! What goes wrong at Central, one after the other: what the forwarder does then, and that nothing
//! which reached the socket is missing in a file.
//!
//! | fault | what the forwarder does | test |
//! |---|---|---|
//! | `refuse=STATUS` | waits (429, 5xx), or says what an operator must do (403), and tries again | `a_server_that_*`, `new_central_wants_no_one_now`, `new_central_forbids_the_stream` |
//! | `unsubscribed-topic` | says where the topic is enabled, and tries again | `a_topic_that_is_not_enabled` |
//! | `refuse-renewal=STATUS` | tries again, with the key or token that there is | `a_key_that_cannot_*`, `a_token_that_cannot_*` |
//! | `expired-key` | renews the key or token, and connects | `a_key_that_expires`, `a_token_that_expires` |
//! | `drop`, `close=CODE`, `truncated-frame` | connects again, tells of the gap | `a_dropped_connection`, `a_close_frame`, `a_truncated_frame`, `new_central_*` |
//! | `half-open` | gives it up after `idle_timeout` | `a_connection_on_which_nothing_comes_any_more`, `new_central_falls_silent` |
//! | `half-open`, on which pings were answered | gives it up after the pong's time | `breaks.rs`: `a_peer_that_answered_a_ping_and_then_none_is_given_up` |
//! | `slow` | reads on | `bytes_that_come_slowly` |
//! | `text-frame` | counts it | `text_between_the_frames` |
//! | `garbage-frame`, `oversized-frame` | a dead letter | `frames_that_cannot_be_decoded` |
//! | `oversized-frame`, over 64 MiB; `unknown-frame` | connects again | `a_frame_that_is_larger_than_is_accepted`, `a_frame_of_a_kind_*` |
//! | `duplicate` | Classic: keeps each; New Central: once | `a_frame_that_comes_again`, `new_central_sends_an_event_again_*` |
//! | `burst` | keeps up | `many_frames_at_once`, `new_central_sends_many_*` |
//!
//! Besides: the forwarder is killed (`a_kill_is_told_*`); a mistake of its own (`tests/daemon/panics.rs`); a full
//! journal (`frames.rs`, `our_own_backpressure_*`); a server that restarts under a thousand
//! subscriptions, ten lifetimes of a key (`credentials.rs`).

use std::collections::BTreeSet;

use central_forwarder::event;
use central_forwarder::frame::Timestamp;
use central_forwarder::simulator::{Options, Simulator};
use serde_json::Value;

use support::eventually;
use support::forwarder::Forwarder;
use support::stand::number_of;

use crate::stand::Generation::{self, Classic, New};
use crate::stand::{PATIENCE, SOME, Stand, TOPIC};

/// A fault that ends the connection: the log says why, and a new one goes on where it was.
async fn a_connection_that_ends(generation: Generation, fault: &str, said: &str) {
    let mut stand = Stand::new(generation).await;
    stand.suffer(fault, said);
    eventually(PATIENCE, "it is connected again", || {
        stand.handshakes(101) == 2
    });
    if generation == Classic {
        eventually(PATIENCE, "the gap is told", || stand.gaps().len() == 1);
        let gap = stand.gaps().remove(0);
        assert!(gap["why"].as_str().unwrap().contains(said), "{gap}");
    }
    assert_eq!(stand.nothing_is_lost().await, 0);
}

/// A handshake that is refused: the log says what an operator must do, and it is tried again.
async fn a_refusal(generation: Generation, fault: &str, status: u16, said: &str) {
    let mut stand = Stand::new(generation).await;
    stand.order(fault);
    stand.suffer("drop", said);
    eventually(PATIENCE, "it is connected again", || {
        stand.handshakes(101) == 2
    });
    assert_eq!(stand.handshakes(status), 1);
    assert_eq!(stand.nothing_is_lost().await, 0);
}

/// A fault that the connection outlives.
async fn a_connection_that_lasts(generation: Generation, fault: &str) -> (Stand, usize) {
    let stand = Stand::new(generation).await;
    stand.order(fault);
    eventually(PATIENCE, "it happens", || {
        stand.simulator.orders()[0].happened == 1
    });
    let before = stand.numbers().len();
    stand.more_arrive();
    assert_eq!(stand.handshakes(101), 1);
    (stand, before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_connection() {
    let said = "the connection ended: without a close frame";
    a_connection_that_ends(Classic, "drop", said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_frame() {
    let said = "Central closed the connection with code 1012";
    a_connection_that_ends(Classic, "close=1012", said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_frame() {
    let said = "the connection ended: without a close frame";
    a_connection_that_ends(Classic, "truncated-frame", said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_a_kind_that_websocket_does_not_know() {
    for generation in [Classic, New] {
        a_connection_that_ends(
            generation,
            "unknown-frame",
            "Central sent invalid WebSocket data",
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_larger_than_is_accepted() {
    let said = "Central sent a frame that is too large";
    for generation in [Classic, New] {
        a_connection_that_ends(generation, "oversized-frame=67108865", said).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_nothing_comes_any_more() {
    let mut stand = Stand::with(Classic, "idle_timeout = \"2s\"").await;
    stand.suffer("half-open", "no data for 2s");
    eventually(PATIENCE, "it is connected again", || {
        stand.handshakes(101) == 2
    });
    assert_eq!(stand.nothing_is_lost().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_no_one_now() {
    a_refusal(Classic, "refuse=503", 503, "Central is not ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_too_many() {
    a_refusal(Classic, "refuse=429", 429, "Central is not ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses() {
    a_refusal(Classic, "refuse=403", 403, "Central refused the connection").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_enabled() {
    let said = "enable the topic on the Streaming API page";
    a_refusal(Classic, "unsubscribed-topic", 400, said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_come_slowly() {
    for generation in [Classic, New] {
        let (stand, _) = a_connection_that_lasts(generation, "slow=5").await;
        assert_eq!(stand.nothing_is_lost().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_between_the_frames() {
    for generation in [Classic, New] {
        let (stand, _) = a_connection_that_lasts(generation, "text-frame").await;
        assert_eq!(stand.nothing_is_lost().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_cannot_be_decoded() {
    for generation in [Classic, New] {
        let (stand, _) = a_connection_that_lasts(generation, "garbage-frame").await;
        stand.order("oversized-frame=1048576");
        eventually(PATIENCE, "both are dead letters", || {
            letters(&stand).lines().count() == 2
        });
        assert_eq!(stand.handshakes(101), 1);
        assert_eq!(stand.nothing_is_lost().await, 0);
    }
}

/// What `dead-letters list` says.
fn letters(stand: &Stand) -> String {
    let config = stand.folder.path().join("config.toml");
    let mut list = Forwarder::start(&["dead-letters", "list", "-c", config.to_str().unwrap()]);
    list.wait(PATIENCE);
    list.stdout()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_comes_again() {
    let (stand, _) = a_connection_that_lasts(Classic, "duplicate=2").await;
    assert_eq!(stand.nothing_is_lost().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_frames_at_once() {
    let (stand, before) = a_connection_that_lasts(Classic, "burst=20000").await;
    eventually(PATIENCE, "they arrive", || {
        stand.numbers().len() > before + 20_000
    });
    assert_eq!(stand.nothing_is_lost().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_expires() {
    let mut stand = Stand::new(Classic).await;
    stand.suffer("expired-key", "Central has renewed the key");
    eventually(PATIENCE, "it is connected again", || {
        stand.handshakes(101) == 2
    });
    assert_eq!(stand.handshakes(401), 1);
    assert_eq!(stand.nothing_is_lost().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_renewed_at_once() {
    let mut stand = Stand::new(Classic).await;
    stand.order("refuse-renewal=503");
    stand.suffer("expired-key", "is not renewed yet");
    eventually(PATIENCE, "it is connected again", || {
        stand.handshakes(101) == 2
    });
    assert_eq!(stand.nothing_is_lost().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires() {
    let said = "Central closed the connection with code 1008";
    a_connection_that_ends(New, "expired-key", said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_renewed_at_once() {
    let mut stand = Stand::new(New).await;
    stand.order("refuse-renewal=503,times=2");
    stand.suffer("expired-key", "503 Service Unavailable");
    eventually(PATIENCE, "it is connected again", || {
        stand.handshakes(101) == 2
    });
    assert_eq!(stand.nothing_is_lost().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_is_told_as_a_gap_and_nothing_is_missing_but_in_it() {
    let mut stand = Stand::new(Classic).await;
    stand.forwarder.kill();
    let killed = event::time(Timestamp::now());
    stand.order("refuse=503,times=2");
    stand.start();
    eventually(PATIENCE, "the gap is told", || stand.gaps().len() == 1);
    stand.more_arrive();

    let gap = stand.gaps().remove(0);
    let text = |name: &str| gap[name].as_str().unwrap().to_owned();
    assert_eq!(
        (text("account"), text("topic")),
        ("acme".into(), TOPIC.into())
    );
    assert_eq!(gap["attempts"], 3, "two were refused");
    assert!(text("why").contains("without a shutdown"), "{gap}");
    let (from, until) = (text("from"), text("until"));
    assert!(
        from <= killed && killed < until,
        "{gap}, killed at {killed}"
    );

    let records = stand.records("out");
    let received = |record: &Value| record["received_at"].as_str().unwrap().to_owned();
    let numbers = |in_it: &dyn Fn(&String) -> bool| -> BTreeSet<u64> {
        let records = records.iter().filter(|record| in_it(&received(record)));
        records.map(number_of).collect()
    };
    let before = numbers(&|at| *at <= from);
    let after = numbers(&|at| *at >= until);
    assert!(numbers(&|at| *at > from && *at < until).is_empty());
    assert_eq!(before, (1..=*before.last().unwrap()).collect());
    let range = *after.first().unwrap()..=*after.last().unwrap();
    assert_eq!(after, range.collect());
    assert!(before.len() >= SOME && after.len() >= SOME);
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_central_drops_the_connection() {
    let said = "the connection ended: without a close frame";
    a_connection_that_ends(New, "drop", said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_central_closes_the_connection() {
    let said = "Central closed the connection with code 1012";
    a_connection_that_ends(New, "close=1012", said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_central_breaks_off_in_a_frame() {
    let said = "the connection ended: without a close frame";
    a_connection_that_ends(New, "truncated-frame", said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_central_falls_silent() {
    let mut stand = Stand::with(New, "idle_timeout = \"2s\"").await;
    stand.suffer("half-open", "no data for 2s");
    eventually(PATIENCE, "it is connected again", || {
        stand.handshakes(101) == 2
    });
    assert_eq!(stand.nothing_is_lost().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_central_wants_no_one_now() {
    a_refusal(New, "refuse=503", 503, "Central is not ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_central_forbids_the_stream() {
    let said = "does not let this client stream";
    a_refusal(New, "refuse=403", 403, said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_central_sends_an_event_again_and_it_is_written_once() {
    let (stand, _) = a_connection_that_lasts(New, "duplicate=2").await;
    assert_eq!(stand.nothing_is_lost().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_central_sends_many_events_at_once_and_a_text() {
    let (stand, before) = a_connection_that_lasts(New, "burst=20000").await;
    stand.order("text-frame");
    eventually(PATIENCE, "they arrive", || {
        stand.numbers().len() > before + 20_000
    });
    assert_eq!(stand.handshakes(101), 1);
    assert_eq!(stand.nothing_is_lost().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_ordered_and_seen_by_http() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let ask = |method: &str, body: &str| {
        let head = format!(
            "{method} /simulator/faults HTTP/1.0\r\ncontent-length: {}",
            body.len()
        );
        exchange(simulator.addr(), format!("{head}\r\n\r\n{body}"))
    };
    let answer = ask("POST", "drop,topic=audit\nclose=1012\n").await;
    assert!(
        answer.contains(r#"{"fault":"drop,topic=audit","happened":0}"#),
        "{answer}"
    );
    let answer = ask("POST", "fire").await;
    assert!(answer.starts_with("HTTP/1.0 400"), "{answer}");
    assert!(answer.contains("there is no fault \"fire\""), "{answer}");
    assert!(ask("GET", "").await.contains("close=1012"));
    assert!(ask("DELETE", "").await.starts_with("HTTP/1.0 204"));
    assert!(ask("GET", "").await.ends_with("[]"));
    simulator.stop().await;
}

async fn exchange(addr: std::net::SocketAddr, request: String) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
