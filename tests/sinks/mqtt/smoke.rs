//! rumqttc and a real Mosquitto: subscribe, publish at `QoS` 1 and 2, confirmed and read back.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use tokio::time::timeout;

use support::{brokers, fresh_name};

const PATIENCE: Duration = Duration::from_secs(30);
const REQUESTS: usize = 10;

fn client(address: &str) -> (AsyncClient, EventLoop) {
    let (host, port) = address.split_once(':').expect("host:port");
    let port = port.parse().expect("a port");
    AsyncClient::new(MqttOptions::new(fresh_name("smoke"), host, port), REQUESTS)
}

/// Polls the connection until something that is looked for has passed.
async fn wait_for<T>(events: &mut EventLoop, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let search = async {
        loop {
            let event = events.poll().await.expect("the connection holds");
            if let Some(found) = pick(event) {
                break found;
            }
        }
    };
    timeout(PATIENCE, search).await.expect("it comes in time")
}

async fn read_back(topic: &str, address: &str) -> (AsyncClient, EventLoop) {
    let (client, mut events) = client(address);
    client
        .subscribe(topic, QoS::ExactlyOnce)
        .await
        .expect("it is queued");
    wait_for(&mut events, |event| match event {
        Event::Incoming(Packet::SubAck(_)) => Some(()),
        _ => None,
    })
    .await;
    (client, events)
}

async fn expect_message(events: &mut EventLoop, topic: &str, payload: &[u8]) {
    let message = wait_for(events, |event| match event {
        Event::Incoming(Packet::Publish(message)) => Some(message),
        _ => None,
    })
    .await;
    assert_eq!(message.topic, topic);
    assert_eq!(message.payload, payload);
}

/// The packet identifier under which a message went out.
fn sent(event: &Event) -> Option<u16> {
    match event {
        Event::Outgoing(Outgoing::Publish(id)) => Some(*id),
        _ => None,
    }
}

#[tokio::test]
async fn a_message_at_qos_1_is_acknowledged_and_read_back() {
    let Some(address) = brokers::mosquitto() else {
        return;
    };
    let topic = fresh_name("smoke");
    let (_reader, mut incoming) = read_back(&topic, &address).await;

    let (writer, mut events) = client(&address);
    writer
        .publish(&topic, QoS::AtLeastOnce, false, "hello")
        .await
        .expect("it is queued");
    let id = wait_for(&mut events, |event| sent(&event)).await;
    let acknowledged = wait_for(&mut events, |event| match event {
        Event::Incoming(Packet::PubAck(ack)) => Some(ack.pkid),
        _ => None,
    });
    assert_eq!(acknowledged.await, id);
    expect_message(&mut incoming, &topic, b"hello").await;
}

#[tokio::test]
async fn a_message_at_qos_2_is_completed_and_read_back() {
    let Some(address) = brokers::mosquitto() else {
        return;
    };
    let topic = fresh_name("smoke");
    let (_reader, mut incoming) = read_back(&topic, &address).await;

    let (writer, mut events) = client(&address);
    writer
        .publish(&topic, QoS::ExactlyOnce, false, "hello")
        .await
        .expect("it is queued");
    let id = wait_for(&mut events, |event| sent(&event)).await;
    let completed = wait_for(&mut events, |event| match event {
        Event::Incoming(Packet::PubComp(complete)) => Some(complete.pkid),
        _ => None,
    });
    assert_eq!(completed.await, id);
    expect_message(&mut incoming, &topic, b"hello").await;
}
