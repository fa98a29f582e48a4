//! A Kafka sink is ready once a broker has answered, and until then it says why none does; what gets no
//! answer later holds back nothing else.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::Value;

use support::brokers::Kafka;
use support::forwarder::Forwarder;
use support::http::ask;
use support::kafka_stand::{KafkaStand, create_topic, drain, route};
use support::order::different_in_order;
use support::read_back::sequences;
use support::{eventually, fresh_name};

const A_WHILE: Duration = Duration::from_secs(120);
const TOPIC: &str = "audit";
const COUNT: u64 = 200;

/// A forwarder with an admin endpoint, and where that is.
fn start(stand: &KafkaStand) -> (Forwarder, SocketAddr) {
    const ADMIN: &str = "admin endpoint: http://";
    let config = stand.folder.path().join("config.toml");
    let listen = ("CENTRAL_FORWARDER__ADMIN__LISTEN", "127.0.0.1:0");
    let mut forwarder = Forwarder::start_with(&["run", "-c", config.to_str().unwrap()], &[listen]);
    forwarder.wait_for_stderr(A_WHILE, ADMIN);
    let said = forwarder.stderr();
    let (_, rest) = said.split_once(ADMIN).unwrap();
    let (address, _) = rest.split_once('/').unwrap();
    (forwarder, address.parse().unwrap())
}

/// Why the sink is not ready; `None` if it is.
fn in_the_way(at: SocketAddr) -> Option<String> {
    let answer = ask(at, "GET", "/readyz", &[]);
    let said = answer.json();
    let mut found = said["not_ready"].as_array().unwrap().iter();
    let found = found.find(|it| it["what"] == "sink")?;
    assert_eq!(answer.code, 503, "{said}");
    Some(found["why"].as_str().unwrap().to_owned())
}

fn sink(at: SocketAddr) -> Value {
    ask(at, "GET", "/api/status", &[]).json()["sinks"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_at_the_start_is_waited_for() {
    let Some(kafka) = Kafka::own("kafka-readiness") else {
        return;
    };
    let topic = fresh_name("ready");
    create_topic(&kafka, &topic, &[]).await;
    kafka.stop();
    let lines = format!("brokers = [\"{}\"]", kafka.address);
    let stand = KafkaStand::new(&[TOPIC], (0, COUNT), &lines, &route(TOPIC, &topic)).await;
    let (forwarder, at) = start(&stand);
    eventually(A_WHILE, "it says why it is not ready", || {
        in_the_way(at).is_some_and(|why| why.contains("Connection refused"))
    });
    let told = sink(at);
    assert_eq!(told["reached"], false, "{told}");
    assert!(
        told["last_error"]
            .as_str()
            .unwrap()
            .contains(&kafka.address),
        "{told}"
    );
    assert!(told["retried"]["unreachable"].as_u64() >= Some(1), "{told}");
    eventually(A_WHILE, "the socket is read", || stand.sent(TOPIC) == COUNT);

    kafka.start();
    eventually(A_WHILE, "it is ready", || {
        ask(at, "GET", "/readyz", &[]).code == 200
    });
    assert_eq!(sink(at)["state"], "connected");
    drain(forwarder);
    let owed = (1..=COUNT).collect();
    assert_eq!(different_in_order(&sequences(&kafka, &topic)), owed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_never_answers_is_no_cluster() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let lines = format!("brokers = [\"{}\"]", silent.local_addr().unwrap());
    let stand = KafkaStand::new(&[TOPIC], (0, COUNT), &lines, &route(TOPIC, "t")).await;
    let (mut forwarder, at) = start(&stand);
    eventually(A_WHILE, "it is given up", || {
        in_the_way(at).is_some_and(|why| why.contains("waiting for the next try: kafka: "))
    });
    assert_eq!(sink(at)["reached"], false);
    forwarder.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_get_no_answer_hold_back_no_other_topic() {
    /// Of both: those of monitoring alone are several times what librdkafka is handed at a time.
    const FRAMES: u64 = 1000;
    let Some(kafka) = Kafka::real() else { return };
    let (there, missing) = (fresh_name("there"), fresh_name("missing"));
    create_topic(&kafka, &there, &[]).await;
    let options = "{ \"allow.auto.create.topics\" = false, \
                   \"topic.metadata.propagation.max.ms\" = 600000 }";
    let lines = format!("brokers = [\"{}\"]\noptions = {options}", kafka.address);
    let routes = route("monitoring", &missing) + &route(TOPIC, &there);
    let stand = KafkaStand::new(&["monitoring", TOPIC], (0, FRAMES), &lines, &routes).await;
    let (mut forwarder, at) = start(&stand);
    eventually(A_WHILE, "all of the other topic", || {
        sink(at)["confirmed"] == FRAMES
    });
    assert_eq!(sink(at)["refused"], serde_json::json!({}));
    forwarder.kill();
    let owed = (1..=FRAMES).collect();
    assert_eq!(different_in_order(&sequences(&kafka, &there)), owed);
}
