//! Nothing is lost on the way to a Kafka that is killed, stopped, paused or cut off.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;

use support::brokers::Kafka;
use support::config::{Route, Sink};
use support::forwarder::Forwarder;
use support::order::different_in_order;
use support::proxy::Proxy;
use support::read_back::sequences;
use support::stand::{SINK, Stand, drain};
use support::{eventually, fresh_name};

use super::route;

const A_WHILE: Duration = Duration::from_secs(180);
const A_MOMENT: Duration = Duration::from_secs(30);
const TOPIC: &str = "audit";

/// Waits until the simulator has sent everything, and tells how often the sink was given up.
async fn finish(forwarder: Forwarder, stand: &Stand, kafka: &Kafka, topic: &str) -> usize {
    stand.wait_until_all_sent();
    let said = tokio::task::spawn_blocking(move || drain(forwarder))
        .await
        .unwrap();
    assert!(said.contains("refused=0"), "{said}");
    let arrived = sequences(kafka, topic);
    let different = different_in_order(&arrived);
    let owed: BTreeSet<u64> = (1..=stand.count()).collect();
    assert_eq!(owed.difference(&different).count(), 0, "lost");
    let given_up = said.matches("next try in").count();
    println!(
        "{} records, {} repeats, the producer was built anew {given_up} times, lost 0",
        stand.count(),
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
    kafka.create_topic(&topic, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("lines");
    let stand = Stand::new(&[TOPIC], RATE, COUNT).await;
    // The second sink shows that the broker's trouble holds back nothing else.
    let config = stand
        .base()
        .sink(SINK, &Sink::kafka(&kafka.address))
        .route(&route(TOPIC, &topic))
        .sink("file", &Sink::file(&lines))
        .route(&Route::all("file"));
    stand.write(&config);
    let forwarder = stand.start();
    let some = |more: u64| {
        stand.wait_until_sent(COUNT.min(stand.sent() + more));
    };
    let written = || std::fs::read_to_string(&lines).map_or(0, |text| text.lines().count());
    // First, while there are frames for more than twice as long.
    some(1000);
    kafka.pause();
    let before = written();
    // What is tried here is time: twenty seconds without a word from the broker.
    sleep(Duration::from_secs(20)).await;
    eventually(A_WHILE, "the other sink is not held back", || {
        written() > before + 1000
    });
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
    let sink = Sink::kafka(&kafka.address).line("create = {}");
    let routes = Route::all(SINK).destination(&format!("{prefix}.{{topic}}"));
    let stand = Stand::new(&TOPICS, 20, u64::MAX).await;
    stand.configure(&sink, &[routes]);
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
    kafka.create_topic(&topic, &[]).await;
    let stand = Stand::new(&[TOPIC], 5000, COUNT).await;
    stand.configure(&Sink::kafka(&proxy.address), &[route(TOPIC, &topic)]);
    let forwarder = stand.start();
    let mut cuts = 0;
    while stand.sent() < COUNT || cuts < 5 {
        // A cut every second is what is tried here.
        sleep(Duration::from_secs(1)).await;
        cuts += usize::from(proxy.cut() > 0);
    }
    finish(forwarder, &stand, &kafka, &topic).await;
    assert!(cuts >= 5, "{cuts} cuts met a connection");
    println!("{cuts} cuts met a connection");
}
