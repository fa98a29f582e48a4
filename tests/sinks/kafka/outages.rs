//! Nothing is lost on the way to a Kafka that is killed, stopped, paused or cut off.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;

use support::brokers::Kafka;
use support::forwarder::Forwarder;
use support::kafka_stand::{KafkaStand, create_topic, drain, route};
use support::order::different_in_order;
use support::proxy::Proxy;
use support::read_back::sequences;
use support::{eventually, fresh_name};

const A_WHILE: Duration = Duration::from_secs(180);
const A_MOMENT: Duration = Duration::from_secs(30);
const TOPIC: &str = "audit";

/// A second sink, to see that the broker's trouble holds back nothing else.
const FILE: &str = r#"[sinks.file]
type = "file"
path = "PATH"
[[routes]]
topics = "*"
sink = "file"
"#;

/// Waits until the simulator has sent everything, and tells how often the sink was given up.
async fn finish(forwarder: Forwarder, stand: &KafkaStand, kafka: &Kafka, topic: &str) -> usize {
    eventually(A_WHILE, "all frames are read", || {
        stand.sent(TOPIC) == stand.count
    });
    let said = tokio::task::spawn_blocking(move || drain(forwarder))
        .await
        .unwrap();
    assert!(said.contains("refused=0"), "{said}");
    let arrived = sequences(kafka, topic);
    let different = different_in_order(&arrived);
    let owed: BTreeSet<u64> = (1..=stand.count).collect();
    assert_eq!(owed.difference(&different).count(), 0, "lost");
    let given_up = said.matches("next try in").count();
    println!(
        "{} records, {} repeats, the producer was built anew {given_up} times, lost 0",
        stand.count,
        arrived.len() - different.len()
    );
    given_up
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_paused_restarted_and_killed_gets_everything_in_order() {
    const COUNT: u64 = 40_000;
    const RATE: u32 = 800;
    let Some(kafka) = Kafka::own("kafka-outages") else {
        return;
    };
    let topic = fresh_name("outages");
    create_topic(&kafka, &topic, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("lines");
    let sink = format!("brokers = [\"{}\"]", kafka.address);
    let file = FILE.replace("PATH", lines.to_str().unwrap());
    let routes = route(TOPIC, &topic) + &file;
    let stand = KafkaStand::new(&[TOPIC], (RATE, COUNT), &sink, &routes).await;
    let forwarder = stand.start();
    let some = |more: u64| {
        let before = stand.sent(TOPIC);
        eventually(A_WHILE, "frames are read", || {
            stand.sent(TOPIC) >= COUNT.min(before + more)
        });
    };
    let written = || std::fs::read_to_string(&lines).map_or(0, |text| text.lines().count());
    // First, while there are frames for more than twice as long.
    some(1000);
    kafka.pause();
    let before = written();
    // What is tried here is time: twenty seconds without a word from the broker.
    sleep(Duration::from_secs(20)).await;
    assert!(written() > before + 1000, "the other sink was held back");
    kafka.resume();
    some(1000);
    kafka.stop();
    some(1000);
    kafka.start();
    some(1000);
    kafka.kill();
    some(1000);
    kafka.start();
    finish(forwarder, &stand, &kafka, &topic).await;
    assert_eq!(written() as u64, COUNT);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_in_few_lines_what_is_wrong_and_that_nothing_is_dropped() {
    const TOPICS: [&str; 3] = [TOPIC, "monitoring", "security"];
    /// The summary, why, and what librdkafka says while the broker hands over its partitions.
    const FEW: usize = 4;
    let Some(kafka) = Kafka::own("kafka-words") else {
        return;
    };
    let prefix = fresh_name("words");
    let sink = format!("brokers = [\"{}\"]\ncreate = {{}}", kafka.address);
    let routes = route("*", &format!("{prefix}.{{topic}}"));
    let stand = KafkaStand::new(&TOPICS, (20, u64::MAX), &sink, &routes).await;
    let mut forwarder = stand.start();
    eventually(A_WHILE, "each topic is written to", || {
        forwarder.stderr().matches("topic created").count() == TOPICS.len()
    });
    kafka.stop();
    forwarder.wait_for_stderr(A_MOMENT, "no broker of the cluster can be reached");
    kafka.start();
    forwarder.wait_for_stderr(A_WHILE, "the brokers are back after ");
    forwarder.terminate();
    forwarder.wait(A_WHILE);

    let said = forwarder.stderr();
    let times = |words: &str| said.matches(words).count();
    assert_eq!(
        times("no broker of the cluster can be reached"),
        1,
        "{said}"
    );
    assert_eq!(times("the brokers are back"), 1, "{said}");
    assert_eq!(times("Connection refused"), 1, "{said}");
    let (outage, _) = said.split_once("the brokers are back").unwrap();
    assert!(outage.matches(" WARN ").count() <= FEW, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_records_with_a_cut_every_second_all_arrive_in_order() {
    const COUNT: u64 = 100_000;
    let Some(kafka) = Kafka::own("kafka-cuts") else {
        return;
    };
    let proxy = Proxy::at(&kafka.variable("PROXY"), &kafka.variable("BEHIND")).await;
    let topic = fresh_name("cuts");
    create_topic(&kafka, &topic, &[]).await;
    let sink = format!("brokers = [\"{}\"]", proxy.address);
    let stand = KafkaStand::new(&[TOPIC], (5000, COUNT), &sink, &route(TOPIC, &topic)).await;
    let forwarder = stand.start();
    let mut cuts = 0;
    while stand.sent(TOPIC) < COUNT || cuts < 5 {
        // A cut every second is what is tried here.
        sleep(Duration::from_secs(1)).await;
        cuts += usize::from(proxy.cut() > 0);
    }
    finish(forwarder, &stand, &kafka, &topic).await;
    assert!(cuts >= 5, "{cuts} cuts met a connection");
    println!("{cuts} cuts met a connection");
}
