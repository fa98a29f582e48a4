//! The simulated New Central, seen by a client that is not ours: keys and tokens that end,
//! subscribers that share, mirror, leave and come back.

use std::collections::BTreeSet;
use std::time::Duration;

use central_forwarder::config::secret::Secret;
use central_forwarder::proto::cloudevents::v1::CloudEvent;
use central_forwarder::simulator::{EVENTS, Options, Simulator, sequence_of_frame};
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::http::Request;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const GRANT: &str =
    "grant_type=client_credentials&client_id=simulated-id&client_secret=simulated-secret";
const AP_EVENTS: &str = "network-monitoring/v1alpha1/ap-events";
const ONE: &str = "6a1f0c7e-9f4b-4d53-8a77-1f2e3d4c5b6a";
const OTHER: &str = "0b7d3c11-52c6-4e0f-9d11-aa00bb11cc22";

async fn request(simulator: &Simulator, request: Request<Full<Bytes>>) -> (u16, Value) {
    let stream = TcpStream::connect(simulator.addr()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    drop(sender);
    connection.await.unwrap().unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn token(simulator: &Simulator) -> String {
    let grant = Request::post("/as/token.oauth2")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(GRANT.into())
        .unwrap();
    let (status, answer) = request(simulator, grant).await;
    assert_eq!(status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

async fn subscribe(
    simulator: &Simulator,
    path: &str,
    token: &str,
    subscriber: Option<&str>,
) -> Result<Socket, Error> {
    let mut request = format!("{}/{path}", simulator.new_endpoint()).into_client_request()?;
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    if let Some(subscriber) = subscriber {
        headers.insert("subscriber-id", subscriber.parse().unwrap());
    }
    connect_async(request).await.map(|(socket, _)| socket)
}

fn status(refused: Result<Socket, Error>) -> u16 {
    match refused {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it should have been refused"),
    }
}

async fn event(socket: &mut Socket) -> (u64, CloudEvent) {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(frame) => {
                let number = sequence_of_frame(&frame).unwrap();
                return (number, CloudEvent::decode(frame).unwrap());
            }
            Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn numbers(socket: &mut Socket, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(event(socket).await.0);
    }
    numbers
}

async fn simulator(options: Options) -> Simulator {
    Simulator::start(options).await.unwrap()
}

#[tokio::test]
async fn every_event_streams_on_its_own_path() {
    let simulator = simulator(Options {
        rate: 0,
        count: Some(3),
        ..Options::default()
    })
    .await;
    let token = token(&simulator).await;
    for path in EVENTS {
        let mut socket = subscribe(&simulator, path, &token, Some(ONE))
            .await
            .unwrap();
        for expected in 1..=3 {
            let (number, event) = event(&mut socket).await;
            assert_eq!(number, expected);
            let name = path.rsplit('/').next().unwrap();
            assert!(event.r#type.contains(name), "{path}: {}", event.r#type);
        }
    }
    simulator.stop().await;
}

#[tokio::test]
async fn a_handshake_is_checked() {
    let simulator = simulator(Options::default()).await;
    let token = token(&simulator).await;
    let wrong = subscribe(&simulator, AP_EVENTS, "wrong", None).await;
    assert_eq!(status(wrong), 401);
    for (path, subscriber, expected) in [
        ("network-monitoring/v1/ap-events", None, 404),
        (AP_EVENTS, Some("no uuid"), 400),
        (AP_EVENTS, Some("6a1f0c7e-9f4b-1d53-8a77-1f2e3d4c5b6a"), 400),
        (
            "network-monitoring/v1alpha1/ap-events?event-types=weather",
            None,
            400,
        ),
    ] {
        let refused = subscribe(&simulator, path, &token, subscriber).await;
        assert_eq!(status(refused), expected, "{path} {subscriber:?}");
    }
    simulator.stop().await;
}

#[tokio::test]
async fn a_filter_leaves_the_events_that_it_names() {
    let simulator = simulator(Options {
        rate: 0,
        ..Options::default()
    })
    .await;
    let token = token(&simulator).await;
    let path = format!("{AP_EVENTS}?event-types=radio-stat,vap-stat");
    let mut socket = subscribe(&simulator, &path, &token, None).await.unwrap();
    for expected in 1..=20 {
        let (number, event) = event(&mut socket).await;
        assert_eq!(number, expected);
        assert!(event.r#type.ends_with("-stat"), "{}", event.r#type);
    }
    simulator.stop().await;
}

#[tokio::test]
async fn one_id_shares_and_another_mirrors() {
    let simulator = simulator(Options {
        rate: 500,
        count: Some(100),
        ..Options::default()
    })
    .await;
    let token = token(&simulator).await;
    let mut one = subscribe(&simulator, AP_EVENTS, &token, Some(ONE))
        .await
        .unwrap();
    let mut twin = subscribe(&simulator, AP_EVENTS, &token, Some(ONE))
        .await
        .unwrap();
    let mut mirror = subscribe(&simulator, AP_EVENTS, &token, Some(OTHER))
        .await
        .unwrap();
    let mut shared = BTreeSet::new();
    let mut by_twin = 0;
    while shared.len() < 100 {
        let (number, from_twin) = tokio::select! {
            (number, _) = event(&mut one) => (number, false),
            (number, _) = event(&mut twin) => (number, true),
        };
        assert!(shared.insert(number), "{number} was sent twice");
        by_twin += u32::from(from_twin);
    }
    assert!((20..=80).contains(&by_twin), "{by_twin} of 100");
    assert_eq!(
        numbers(&mut mirror, 100).await,
        (1..=100).collect::<Vec<_>>()
    );
    simulator.stop().await;
}

#[tokio::test]
async fn what_comes_while_a_subscriber_is_away_is_kept_for_it() {
    let simulator = simulator(Options {
        rate: 200,
        ..Options::default()
    })
    .await;
    let token = token(&simulator).await;
    let mut socket = subscribe(&simulator, AP_EVENTS, &token, Some(ONE))
        .await
        .unwrap();
    let mut got: BTreeSet<u64> = numbers(&mut socket, 10).await.into_iter().collect();
    simulator.drop_connections();
    while let Some(Ok(message)) = socket.next().await {
        got.extend(sequence_of_frame(&message.into_data()));
    }
    let mut socket = subscribe(&simulator, AP_EVENTS, &token, Some(ONE))
        .await
        .unwrap();
    got.extend(numbers(&mut socket, 50).await);
    let last = *got.last().unwrap();
    assert_eq!(got, (1..=last).collect(), "none is missing");

    // Another one leaves for good: nothing is kept.
    let goodbye = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    socket.close(Some(goodbye)).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        got.extend(sequence_of_frame(&message.into_data()));
    }
    let before = *got.last().unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut socket = subscribe(&simulator, AP_EVENTS, &token, Some(ONE))
        .await
        .unwrap();
    let next = numbers(&mut socket, 1).await[0];
    assert!(next > before + 10, "{next} after {before}");
    simulator.stop().await;
}

#[tokio::test]
async fn tokens_end() {
    let simulator = simulator(Options {
        token_lifetime: Duration::from_secs(7200),
        rate: 100,
        ..Options::default()
    })
    .await;
    let old = token(&simulator).await;
    let mut open = subscribe(&simulator, AP_EVENTS, &old, None).await.unwrap();
    simulator.expire_credentials();
    assert_eq!(
        status(subscribe(&simulator, AP_EVENTS, &old, None).await),
        401
    );
    numbers(&mut open, 5).await;
    let new = token(&simulator).await;
    subscribe(&simulator, AP_EVENTS, &new, None).await.unwrap();
    simulator.stop().await;
}

#[tokio::test]
async fn classic_keys_end_and_the_next_one_can_be_asked_for() {
    let simulator = simulator(Options {
        key: Secret::literal("a secret"),
        key_lifetime: Some(Duration::from_secs(1)),
        rate: 100,
        ..Options::default()
    })
    .await;
    let first = simulator.key().expose().to_owned();
    let classic = |key: &str| {
        let mut request = simulator.endpoint().into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("authorization", key.parse().unwrap());
        headers.insert("topic", "audit".parse().unwrap());
        connect_async(request)
    };
    let (mut socket, _) = classic(&first).await.unwrap();
    let mut last = 0;
    let code = loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(frame) => last = sequence_of_frame(&frame).unwrap(),
            Message::Close(frame) => break frame.unwrap().code,
            _ => {}
        }
    };
    assert_eq!(code, CloseCode::Policy);
    assert_eq!(simulator.sent()["audit"].last_sequence, last);
    assert_eq!(status(classic(&first).await.map(|(socket, _)| socket)), 401);
    let ask = Request::get("/streaming/token/validate")
        .header("authorization", &first)
        .body(Full::default())
        .unwrap();
    let (status, answer) = request(&simulator, ask).await;
    assert_eq!(status, 200);
    let next = answer["token"].as_str().unwrap();
    assert_ne!(next, first);
    classic(next).await.unwrap();
    simulator.stop().await;
}
