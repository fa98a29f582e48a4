//! rdkafka and a real Kafka: what is produced is read back, over a broker's death too.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use support::brokers::Kafka;
use support::console_consumer::read_topic;
use support::fresh_name;

const DELIVERY: Duration = Duration::from_secs(60);

fn producer(kafka: &Kafka) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", &kafka.address)
        .set("enable.idempotence", "true")
        .create()
        .expect("the settings are valid")
}

async fn produce(producer: &FutureProducer, topic: &str, value: &str) {
    let headers = OwnedHeaders::new().insert(Header {
        key: "ce_id",
        value: Some("a:b,c"),
    });
    let record = FutureRecord::to(topic)
        .key("the key")
        .payload(value)
        .timestamp(1_700_000_000_000)
        .headers(headers);
    producer
        .send(record, Timeout::After(DELIVERY))
        .await
        .expect("the broker confirms");
}

#[tokio::test]
async fn a_record_is_confirmed_and_read_back_by_rdkafka() {
    let kafka = Kafka::real_or_mock();
    let topic = fresh_name("smoke");
    produce(&producer(&kafka), &topic, "hello").await;

    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.address)
        .set("group.id", fresh_name("group"))
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("the settings are valid");
    consumer
        .subscribe(&[&topic])
        .expect("the topic name is valid");
    let message = tokio::time::timeout(DELIVERY, consumer.recv()).await;
    let message = message.expect("a record in time").expect("a record");
    assert_eq!(message.key(), Some(&b"the key"[..]));
    assert_eq!(message.payload(), Some(&b"hello"[..]));
}

#[tokio::test]
async fn the_console_consumer_reads_key_headers_timestamp_and_value() {
    let Some(kafka) = Kafka::real() else { return };
    let topic = fresh_name("smoke");
    let producer = producer(&kafka);
    produce(&producer, &topic, r#"{"n":1,"text":"a\tb"}"#).await;
    produce(&producer, &topic, r#"{"n":2}"#).await;

    let lines = read_topic(&kafka, &topic, 2);
    assert_eq!(lines[0].value, r#"{"n":1,"text":"a\tb"}"#);
    assert_eq!(lines[1].value, r#"{"n":2}"#);
    assert_eq!(lines[0].key.as_deref(), Some("the key"));
    assert_eq!(lines[0].header("ce_id"), Some("a:b,c"));
    assert_eq!(lines[0].timestamp, 1_700_000_000_000);
}

#[tokio::test]
async fn records_survive_a_kafka_that_is_killed_and_one_that_is_stopped() {
    let Some(kafka) = Kafka::own("smoke") else {
        return;
    };
    let topic = fresh_name("smoke");
    let producer = producer(&kafka);
    produce(&producer, &topic, "before").await;
    kafka.kill();
    kafka.start();
    produce(&producer, &topic, "between").await;
    kafka.stop();
    kafka.start();
    produce(&producer, &topic, "after").await;

    let lines = read_topic(&kafka, &topic, 3);
    let values: Vec<&str> = lines.iter().map(|line| line.value.as_str()).collect();
    assert_eq!(values, ["before", "between", "after"]);
}
