//! What has arrived in a Kafka topic, read quickly and whole.

use std::time::Duration;

use central_forwarder::simulator::sequence_of;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::brokers::Kafka;

const PATIENCE: Duration = Duration::from_secs(10);
const TRIES: u32 = 6;

/// The simulator's numbers of the JSON records in a topic of one partition, in the broker's order.
///
/// # Panics
/// A record is not one of the simulator's, or the broker does not give all that it says it has.
pub fn sequences(kafka: &Kafka, topic: &str) -> Vec<u64> {
    let mut consumer = consumer(kafka);
    let (low, high) = consumer
        .fetch_watermarks(topic, 0, PATIENCE)
        .expect("the broker knows the topic");
    let (mut numbers, mut next, mut tries) = (Vec::new(), low, 0);
    assign(&consumer, topic, next);
    while next < high {
        let Some(message) = consumer.poll(PATIENCE) else {
            // After a broker has been restarted often, a consumer may wait for ever in the midst of
            // a batch: a new one goes on.
            tries += 1;
            assert!(tries < TRIES, "{topic} ends at {next} of {high}");
            consumer = self::consumer(kafka);
            assign(&consumer, topic, next);
            continue;
        };
        let message = message.expect("no error while reading");
        next = message.offset() + 1;
        numbers.push(sequence(message.payload()));
    }
    numbers
}

fn consumer(kafka: &Kafka) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", &kafka.address)
        .set("group.id", "read-back")
        .create()
        .expect("the settings are valid")
}

fn assign(consumer: &BaseConsumer, topic: &str, offset: i64) {
    let mut partitions = TopicPartitionList::new();
    partitions
        .add_partition_offset(topic, 0, Offset::Offset(offset))
        .expect("an offset that can be given");
    consumer.assign(&partitions).expect("it can be assigned");
}

fn sequence(payload: Option<&[u8]>) -> u64 {
    let record: serde_json::Value =
        serde_json::from_slice(payload.expect("a record has a value")).expect("it is JSON");
    let topic = record["topic"].as_str().expect("it has a topic");
    sequence_of(topic, &record["data"]).expect("it is one of the simulator's")
}
