//! Kafka, real or librdkafka's mock cluster, read by Kafka's own console consumer.

mod outages;
mod readiness;
mod records;
mod registry;
mod smoke;

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::OwnedMessage;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use support::brokers::Kafka;
use support::config::Route;
use support::forwarder::Forwarder;
use support::fresh_name;
use support::stand::{SINK, Stand, drain};

const A_WHILE: Duration = Duration::from_secs(120);

/// One topic of Central into one of Kafka.
fn route(topic: &str, destination: &str) -> Route {
    Route::of(&[topic], SINK).destination(destination)
}

/// Waits until the simulator has sent everything.
fn drain_when_read(forwarder: Forwarder, stand: &Stand) -> String {
    stand.wait_until_all_sent();
    drain(forwarder)
}

/// All records of a topic of one partition.
fn read(kafka: &Kafka, topic: &str) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.address)
        .set("group.id", fresh_name("read"))
        .create()
        .unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&from).unwrap();
    let (_, high) = consumer.fetch_watermarks(topic, 0, A_WHILE).unwrap();
    let records = (0..high).map(|_| consumer.poll(A_WHILE).expect("a record in time"));
    records.map(|record| record.unwrap().detach()).collect()
}
