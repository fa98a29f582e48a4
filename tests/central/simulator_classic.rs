//! The simulator, seen by a WebSocket client that is not ours.

use std::collections::BTreeSet;

use central_forwarder::proto::stream_message::MsgProto;
use central_forwarder::simulator::{Options, Simulator, TOPICS};
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn subscribe(
    simulator: &Simulator,
    headers: &[(&'static str, &str)],
) -> Result<Socket, Error> {
    let mut request = simulator.endpoint().into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let (socket, _) = connect_async(request).await?;
    Ok(socket)
}

async fn refused(simulator: &Simulator, headers: &[(&'static str, &str)]) -> (u16, String) {
    match subscribe(simulator, headers).await {
        Err(Error::Http(response)) => {
            let status = response.status().as_u16();
            let body = response.into_body().unwrap_or_default();
            (status, String::from_utf8(body).unwrap())
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it should have been refused"),
    }
}

async fn envelope(socket: &mut Socket) -> MsgProto {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(frame) => return MsgProto::decode(frame).unwrap(),
            Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn every_topic_streams_its_own_events() {
    let simulator = Simulator::start(Options {
        count: Some(3),
        rate: 0,
        ..Options::default()
    })
    .await
    .unwrap();
    for topic in TOPICS {
        let headers = [("Authorization", "simulated-key"), ("Topic", topic)];
        let mut socket = subscribe(&simulator, &headers).await.unwrap();
        for _ in 0..3 {
            assert_eq!(envelope(&mut socket).await.subject, topic);
        }
    }
    let sent = simulator.sent();
    assert!(
        TOPICS.iter().all(|topic| sent[topic].last_sequence == 3),
        "{sent:?}"
    );
    simulator.stop().await;
}

#[tokio::test]
async fn a_handshake_is_checked_as_central_does() {
    let simulator = Simulator::start(Options {
        topics: vec!["audit".to_owned()],
        ..Options::default()
    })
    .await
    .unwrap();
    let key = ("Authorization", "simulated-key");
    let (status, _) = refused(&simulator, &[("Topic", "audit")]).await;
    assert_eq!(status, 401);
    let (status, _) = refused(
        &simulator,
        &[("Authorization", "other"), ("Topic", "audit")],
    )
    .await;
    assert_eq!(status, 401);
    let (status, body) = refused(&simulator, &[key, ("Topic", "presence")]).await;
    assert_eq!((status, body.as_str()), (400, "Unsubscribed Topic"));
    let (status, body) = refused(&simulator, &[key]).await;
    assert_eq!((status, body.as_str()), (400, "Unsubscribed Topic"));
    simulator.stop().await;
}

#[tokio::test]
async fn numbers_go_on_over_connections() {
    let simulator = Simulator::start(Options {
        count: Some(10),
        rate: 0,
        ..Options::default()
    })
    .await
    .unwrap();
    let headers = [("Authorization", "simulated-key"), ("Topic", "audit")];
    let mut frames = BTreeSet::new();
    for _ in 0..3 {
        let mut socket = subscribe(&simulator, &headers).await.unwrap();
        for _ in 0..10 {
            let data = envelope(&mut socket).await.data;
            assert!(frames.insert(data), "a number was sent twice");
        }
        socket.close(None).await.unwrap();
    }
    assert_eq!(simulator.sent()["audit"].last_sequence, 30);
    simulator.stop().await;
}

#[tokio::test]
async fn a_client_that_pings_gets_its_answer_while_frames_flow() {
    let simulator = Simulator::start(Options {
        rate: 1000,
        ..Options::default()
    })
    .await
    .unwrap();
    let headers = [("Authorization", "simulated-key"), ("Topic", "presence")];
    let mut socket = subscribe(&simulator, &headers).await.unwrap();
    socket
        .send(Message::Ping("are you there".into()))
        .await
        .unwrap();
    let answer = loop {
        if let Message::Pong(answer) = socket.next().await.unwrap().unwrap() {
            break answer;
        }
    };
    assert_eq!(answer, "are you there");
    simulator.stop().await;
}
