//! A Kafka sink is ready once a broker has answered, and until then it says why none does; what gets no
//! answer later holds back nothing else.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::Value;

use support::brokers::Kafka;
use support::config::{Config, Route, Sink};
use support::forwarder::Forwarder;
use support::http::ask;
use support::order::different_in_order;
use support::read_back::sequences;
use support::stand::{SINK, Stand, drain};
use support::{eventually, fresh_name};

use super::route;

const A_WHILE: Duration = Duration::from_secs(120);
const TOPIC: &str = "audit";
const COUNT: u64 = 200;

/// A forwarder with an admin endpoint, and where that is.
fn start(stand: &Stand, sink: &Sink, routes: &[Route]) -> (Forwarder, SocketAddr) {
    let config = stand.base().admin("").sink(SINK, sink);
    stand.write(&routes.iter().fold(config, Config::route));
    let mut forwarder = stand.start();
    let at = forwarder.admin(A_WHILE);
    (forwarder, at)
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
    kafka.create_topic(&topic, &[]).await;
    kafka.stop();
    let stand = Stand::new(&[TOPIC], 0, COUNT).await;
    let lake = Sink::kafka(&kafka.address);
    let (forwarder, at) = start(&stand, &lake, &[route(TOPIC, &topic)]);
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
    stand.wait_until_sent(COUNT);

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
    let stand = Stand::new(&[TOPIC], 0, COUNT).await;
    let lake = Sink::kafka(&silent.local_addr().unwrap().to_string());
    let (mut forwarder, at) = start(&stand, &lake, &[route(TOPIC, "t")]);
    eventually(A_WHILE, "it is given up", || {
        in_the_way(at).is_some_and(|why| why.contains("waiting to retry: kafka: "))
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
    kafka.create_topic(&there, &[]).await;
    let options = "{ \"allow.auto.create.topics\" = false, \
                   \"topic.metadata.propagation.max.ms\" = 600000 }";
    let lake = Sink::kafka(&kafka.address).line(format!("options = {options}"));
    let routes = [route("monitoring", &missing), route(TOPIC, &there)];
    let stand = Stand::new(&["monitoring", TOPIC], 0, FRAMES).await;
    let (mut forwarder, at) = start(&stand, &lake, &routes);
    eventually(A_WHILE, "all of the other topic", || {
        sink(at)["confirmed"] == FRAMES
    });
    assert_eq!(sink(at)["refused"], serde_json::json!({}));
    forwarder.kill();
    let owed = (1..=FRAMES).collect();
    assert_eq!(different_in_order(&sequences(&kafka, &there)), owed);
}
