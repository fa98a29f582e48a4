//! Nothing is lost on the way to a Mosquitto that is stopped, killed, paused or cut off.

use std::time::Duration;

use tokio::time::sleep;

use support::eventually;
use support::mosquitto::{Message, Mosquitto, Subscriber, numbers};
use support::order::different_in_order;
use support::proxy::Proxy;
use support::stand::{Stand, drain};

const A_WHILE: Duration = Duration::from_secs(120);
const TOPIC: &str = "monitoring";

/// Versions, each with a `QoS`.
const KINDS: [(u64, u64); 3] = [(5, 1), (5, 2), (3, 2)];

/// When such a part of the records has come, the connection is cut.
const PARTS: u64 = 15;

fn lines(version: u64, qos: u64) -> String {
    format!("version = {version}\nqos = {qos}")
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
    for (version, qos) in KINDS {
        let Some(mut broker) = Mosquitto::start(settings) else {
            return;
        };
        let subscriber = Subscriber::start(&broker.address(), "central/#");
        let stand = Stand::new(&[TOPIC], 1000, COUNT).await;
        stand.to_mqtt(&broker.url(), &lines(version, qos));
        broker.kill();
        let mut forwarder = stand.start();
        forwarder.wait_for_stderr(A_WHILE, "cannot connect to");
        eventually(A_WHILE, "the socket is read meanwhile", || {
            stand.simulator.sent()[TOPIC].frames == COUNT
        });
        broker.start_again();
        let messages = subscriber.wait_for_all(A_WHILE, COUNT);
        let repeats = assert_in_order(&messages);
        drain(forwarder);
        println!("version {version}, QoS {qos}: {COUNT} records, {repeats} repeats, lost 0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_restarted_under_load_loses_nothing() {
    const COUNT: u64 = 6000;
    for (version, qos) in KINDS {
        let Some(mut broker) = Mosquitto::open() else {
            return;
        };
        let subscriber = Subscriber::start(&broker.address(), "central/#");
        let stand = Stand::new(&[TOPIC], 1500, COUNT).await;
        stand.to_mqtt(&broker.url(), &lines(version, qos));
        let forwarder = stand.start();
        subscriber.wait_for_count(A_WHILE, "some records", 1000);
        broker.stop();
        broker.start_again();
        let messages = subscriber.wait_for_all(A_WHILE, COUNT);
        let repeats = assert_in_order(&messages);
        let said = drain(forwarder);
        assert!(said.contains("next try in"), "it noticed nothing: {said}");
        println!("version {version}, QoS {qos}: {COUNT} records, {repeats} repeats, lost 0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_paused_for_twenty_seconds_is_waited_for() {
    const COUNT: u64 = 6000;
    let Some(broker) = Mosquitto::open() else {
        return;
    };
    let subscriber = Subscriber::start(&broker.address(), "central/#");
    let stand = Stand::new(&[TOPIC], 1500, COUNT).await;
    stand.to_mqtt(&broker.url(), "");
    let forwarder = stand.start();
    subscriber.wait_for_count(A_WHILE, "some records", 1000);
    broker.signal("STOP");
    // What is tried here is time: twenty seconds without a word from the broker.
    sleep(Duration::from_secs(20)).await;
    broker.signal("CONT");
    let messages = subscriber.wait_for_all(A_WHILE, COUNT);
    assert_eq!(numbers(&messages), (1..=COUNT).collect::<Vec<_>>());
    let said = drain(forwarder);
    assert!(
        !said.contains("next try in"),
        "it gave the broker up: {said}"
    );
}

/// Written to the socket is not delivered: only the broker's PUBACK says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_has_not_acknowledged_is_still_owed_after_a_restart_of_ours() {
    const COUNT: u64 = 3000;
    let Some(broker) = Mosquitto::open() else {
        return;
    };
    let subscriber = Subscriber::start(&broker.address(), "central/#");
    let stand = Stand::new(&["audit"], 1000, COUNT).await;
    stand.to_mqtt(&broker.url(), "");
    let mut forwarder = stand.start_with(&[("CENTRAL_FORWARDER__SHUTDOWN_TIMEOUT", "1s")]);
    subscriber.wait_for_count(A_WHILE, "some records", 100);
    broker.signal("STOP");
    stand.wait_until_journalled(COUNT);
    forwarder.terminate();
    forwarder.wait(A_WHILE);
    let said = forwarder.stderr();
    assert!(!said.contains("left_in_journal=0"), "{said}");
    broker.signal("CONT");
    drain(stand.start());
    let messages = subscriber.wait_for_all(A_WHILE, COUNT);
    assert_in_order(&messages);
}

/// At `QoS` 1 records on their way are sent again; at `QoS` 2 what was begun is finished.
#[tokio::test(flavor = "multi_thread")]
async fn records_under_load_with_a_connection_that_is_cut_all_arrive_in_order_and_at_qos_2_once() {
    for (version, qos) in KINDS {
        let count = if qos == 1 { 100_000 } else { 20_000 };
        let Some(broker) = Mosquitto::open() else {
            return;
        };
        let proxy = Proxy::before(&broker.address()).await;
        let subscriber = Subscriber::start(&broker.address(), "central/#");
        let stand = Stand::new(&["audit"], 8000, count).await;
        let url = format!("mqtt://{}", proxy.address);
        let forwarder = stand.to_mqtt(&url, &lines(version, qos)).start();
        let mut cuts = 0;
        let mut cut_at = 0;
        while cut_at < count {
            cut_at = count.min(cut_at + count / PARTS);
            let come = subscriber.wait_for_count(A_WHILE, "more records", cut_at);
            cut_at = cut_at.max(come.len() as u64);
            if proxy.cut() > 0 {
                cuts += 1;
                eventually(A_WHILE, "the next record finds it cut", || {
                    let noticed = forwarder.stderr().matches("next try in").count();
                    noticed >= cuts || stand.sent() == count
                });
            }
        }
        let said = drain(forwarder);
        let messages = subscriber.wait_for_all(A_WHILE, count);
        let repeats = assert_in_order(&messages);
        assert!(cuts > 3, "only {cuts} cuts: {said}");
        assert!(said.contains("refused=0"), "{said}");
        if qos == 2 {
            assert_eq!(repeats, 0, "version {version}: {said}");
        }
        println!(
            "version {version}, QoS {qos}: {count} records, {cuts} cuts, {repeats} repeats, lost 0"
        );
    }
}

/// Mosquitto drops for one subscriber what its queue has no room for, and takes it for the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_hangs_and_whose_queue_is_full_holds_up_nobody() {
    const COUNT: u64 = 6000;
    // Seconds for the one that reads, on a machine that is busy; far less than the other one gets.
    let settings = "allow_anonymous true\nmax_queued_messages 2000\nmax_queued_bytes 0";
    let Some(broker) = Mosquitto::start(settings) else {
        return;
    };
    let slow = Subscriber::start(&broker.address(), "central/#");
    let fast = Subscriber::start(&broker.address(), "central/#");
    let stand = Stand::new(&[TOPIC], 500, COUNT).await;
    slow.signal("STOP");
    let forwarder = stand.to_mqtt(&broker.url(), "").start();
    stand.wait_until_sent(COUNT);
    let said = drain(forwarder);
    let messages = fast.wait_for_count(A_WHILE, "all records", COUNT);
    assert_eq!(numbers(&messages), (1..=COUNT).collect::<Vec<_>>());
    assert!(
        said.contains(&format!("confirmed={COUNT} refused=0")),
        "{said}"
    );
    assert!(!said.contains("next try in"), "{said}");
    slow.signal("CONT");
    slow.wait_for_count(A_WHILE, "what had room", 2000);
    assert!(
        (slow.messages().len() as u64) < COUNT,
        "its queue was never full"
    );
}
