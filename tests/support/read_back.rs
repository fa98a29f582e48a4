//! What has arrived in a Kafka topic, read quickly and whole.

use std::time::Duration;

use central_forwarder::simulator::sequence_of;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::brokers::Kafka;

const PATIENCE: Duration = Duration::from_secs(30);

/// The simulator's numbers of the JSON records in a topic of one partition, in the broker's order.
///
/// # Panics
/// A record is not one of the simulator's, or the broker does not give all that it says it has.
pub(crate) fn sequences(kafka: &Kafka, topic: &str) -> Vec<u64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.address)
        .set("group.id", "read-back")
        .create()
        .expect("the settings are valid");
    let (low, high) = consumer
        .fetch_watermarks(topic, 0, PATIENCE)
        .expect("the broker knows the topic");
    let mut partitions = TopicPartitionList::new();
    partitions
        .add_partition_offset(topic, 0, Offset::Beginning)
        .expect("an offset that can be given");
    consumer.assign(&partitions).expect("it can be assigned");
    (low..high)
        .map(|_| {
            let message = consumer
                .poll(PATIENCE)
                .expect("the broker gives all records");
            sequence(message.expect("no error while reading").payload())
        })
        .collect()
}

fn sequence(payload: Option<&[u8]>) -> u64 {
    let record: serde_json::Value =
        serde_json::from_slice(payload.expect("a record has a value")).expect("it is JSON");
    let topic = record["topic"].as_str().expect("it has a topic");
    sequence_of(topic, &record["data"]).expect("it is one of the simulator's")
}
