//! The main job: all topics of a simulated Central, through the binary, into a real Kafka, read by a
//! consumer that is not ours.

use std::fs;
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator, TOPICS, sequence_of};
use serde_json::Value;

use support::brokers::Kafka;
use support::console_consumer::{Line, read_topic};
use support::forwarder::Forwarder;
use support::fresh_name;

const FRAMES: u64 = 40;
const A_WHILE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn all_six_topics_reach_kafka_with_key_and_headers() {
    let Some(kafka) = Kafka::real() else { return };
    let simulator = Simulator::start(Options {
        count: Some(FRAMES),
        ..Options::default()
    })
    .await
    .unwrap();
    let prefix = fresh_name("end-to-end");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let quickstart = fs::read_to_string("config/quickstart.toml").unwrap();
    let text = quickstart
        .replace("target/quickstart", folder.path().to_str().unwrap())
        .replace("ws://127.0.0.1:9443/streaming/api", &simulator.endpoint())
        .replace("127.0.0.1:9092", &kafka.address)
        .replace("central.{topic}", &format!("{prefix}.{{topic}}"));
    fs::write(&config, text).unwrap();

    let mut forwarder = Forwarder::run(&config);
    for topic in TOPICS {
        let topic_in_kafka = format!("{prefix}.{topic}");
        let lines = read_topic(&kafka, &topic_in_kafka, FRAMES.try_into().unwrap());
        for (line, number) in lines.iter().zip(1..) {
            check(line, topic, number);
        }
    }
    forwarder.terminate();
    let status = forwarder.wait(A_WHILE);
    assert_eq!(status.code(), Some(0), "{}", forwarder.stderr());
    assert!(!forwarder.stderr().contains("simulated-key"));
    simulator.stop().await;
}

fn check(line: &Line, topic: &str, number: u64) {
    let record: Value = serde_json::from_str(&line.value).expect("the value is JSON");
    assert_eq!(
        sequence_of(topic, &record["data"]),
        Some(number),
        "{record}"
    );
    assert_eq!(record["topic"], topic);
    assert_eq!(record["account"], "demo");
    assert_eq!(record["customer_id"], line.key.as_deref().expect("a key"));
    assert_eq!(line.header("ce_specversion"), Some("1.0"));
    assert_eq!(line.header("ce_id"), record["id"].as_str());
    assert_eq!(line.header("ce_time"), record["time"].as_str());
    assert_eq!(line.header("ce_messagetype"), record["type"].as_str());
    assert_eq!(line.header("ce_source"), Some("/central/demo"));
    assert_eq!(line.header("ce_account"), Some("demo"));
    assert_eq!(line.header("ce_topic"), Some(topic));
    assert_eq!(
        line.header("ce_type"),
        Some(format!("central.classic.{topic}").as_str())
    );
    assert_eq!(line.header("content-type"), Some("application/json"));
    let nanoseconds = record["timestamp"]
        .as_i64()
        .expect("the envelope's integer");
    assert_eq!(line.timestamp, nanoseconds / 1_000_000);
}
