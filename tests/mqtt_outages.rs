//! Nothing is lost on the way to a Mosquitto that is stopped, killed, paused or cut off.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;

use support::eventually;
use support::mosquitto::{Message, Mosquitto, Subscriber};
use support::mqtt_stand::{MqttStand, drain, numbers};
use support::order::different_in_order;
use support::proxy::Proxy;

const A_WHILE: Duration = Duration::from_secs(120);
const TOPIC: &str = "monitoring";

/// Whether each of the simulator's numbers has come at least once.
fn all(messages: &[Message], count: u64) -> bool {
    messages.len() as u64 >= count && different(messages) == (1..=count).collect()
}

fn different(messages: &[Message]) -> BTreeSet<u64> {
    numbers(messages).into_iter().collect()
}

/// Gives the number of repeats.
fn assert_in_order(messages: &[Message]) -> usize {
    messages.len() - different_in_order(&numbers(messages)).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_gets_what_came_while_it_was_away() {
    const COUNT: u64 = 3000;
    // It has to remember the subscription.
    let settings = "allow_anonymous true\nautosave_on_changes true\nautosave_interval 1";
    let Some(mut broker) = Mosquitto::start(settings) else {
        return;
    };
    let subscriber = Subscriber::start(&broker.address(), "central/#");
    let url = format!("url = \"mqtt://{}\"", broker.address());
    let stand = MqttStand::new(&[TOPIC], 1000, COUNT, &url).await;
    broker.kill();
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "cannot connect to");
    eventually(A_WHILE, "the socket is read meanwhile", || {
        stand.simulator.sent()[TOPIC].frames == COUNT
    });
    broker.start_again();
    let messages = subscriber.wait_for(A_WHILE, "all records", |messages| all(messages, COUNT));
    let repeats = assert_in_order(&messages);
    drain(forwarder);
    println!("{COUNT} records, {repeats} repeats, lost 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_restarted_under_load_loses_nothing() {
    const COUNT: u64 = 6000;
    let Some(mut broker) = Mosquitto::open() else {
        return;
    };
    let subscriber = Subscriber::start(&broker.address(), "central/#");
    let url = format!("url = \"mqtt://{}\"", broker.address());
    let stand = MqttStand::new(&[TOPIC], 1500, COUNT, &url).await;
    let forwarder = stand.start();
    subscriber.wait_for(A_WHILE, "some records", |messages| messages.len() > 1000);
    broker.stop();
    broker.start_again();
    let messages = subscriber.wait_for(A_WHILE, "all records", |messages| all(messages, COUNT));
    let repeats = assert_in_order(&messages);
    let said = drain(forwarder);
    assert!(said.contains("next try in"), "it noticed nothing: {said}");
    println!("{COUNT} records, {repeats} repeats, lost 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_paused_for_some_seconds_is_waited_for() {
    const COUNT: u64 = 6000;
    let Some(broker) = Mosquitto::open() else {
        return;
    };
    let subscriber = Subscriber::start(&broker.address(), "central/#");
    let url = format!("url = \"mqtt://{}\"", broker.address());
    let stand = MqttStand::new(&[TOPIC], 1500, COUNT, &url).await;
    let forwarder = stand.start();
    subscriber.wait_for(A_WHILE, "some records", |messages| messages.len() > 1000);
    broker.signal("STOP");
    // What is tried here is time: eight seconds without a word from the broker.
    sleep(Duration::from_secs(8)).await;
    broker.signal("CONT");
    let messages = subscriber.wait_for(A_WHILE, "all records", |messages| all(messages, COUNT));
    assert_eq!(numbers(&messages), (1..=COUNT).collect::<Vec<_>>());
    let said = drain(forwarder);
    assert!(
        !said.contains("next try in"),
        "it gave the broker up: {said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_records_with_a_cut_every_second_all_arrive_in_order() {
    const COUNT: u64 = 20_000;
    for qos in [1, 2] {
        let Some(broker) = Mosquitto::open() else {
            return;
        };
        let proxy = Proxy::before(&broker.address()).await;
        let subscriber = Subscriber::start(&broker.address(), "central/#");
        let sink = format!("url = \"mqtt://{}\"\nqos = {qos}", proxy.address);
        let stand = MqttStand::new(&[TOPIC], 4000, COUNT, &sink).await;
        let forwarder = stand.start();
        let mut cuts = 0;
        while stand.simulator.sent()[TOPIC].frames < COUNT || cuts < 5 {
            // A cut every second is what is tried here.
            sleep(Duration::from_secs(1)).await;
            proxy.cut();
            cuts += 1;
        }
        let messages = subscriber.wait_for(A_WHILE, "all records", |messages| all(messages, COUNT));
        let repeats = assert_in_order(&messages);
        let said = drain(forwarder);
        let noticed = said.matches("next try in").count();
        assert!(noticed > 0, "it noticed nothing: {said}");
        println!(
            "QoS {qos}: {COUNT} records, {cuts} cuts, {noticed} of them at a connection, \
             {repeats} repeats, lost 0"
        );
    }
}
