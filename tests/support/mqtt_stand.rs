//! A simulated Central, a forwarder's config with one MQTT sink, and the folder of its state.

use std::fs;
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator, sequence_of};
use serde_json::Value;
use tempfile::TempDir;

use super::forwarder::Forwarder;
use super::mosquitto::Message;

const A_WHILE: Duration = Duration::from_secs(120);

pub(crate) struct MqttStand {
    pub(crate) simulator: Simulator,
    pub(crate) folder: TempDir,
}

impl MqttStand {
    /// All topics of the simulator go to `central/TOPIC`; `sink` has the lines of `[sinks.iot]`.
    pub(crate) async fn new(topics: &[&str], rate: u32, count: u64, sink: &str) -> Self {
        let topics: Vec<String> = topics.iter().map(ToString::to_string).collect();
        let simulator = Simulator::start(Options {
            topics: topics.clone(),
            rate,
            count: Some(count),
            ..Options::default()
        })
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            r#"
            state_dir = "{}"
            [accounts.acme]
            generation = "classic"
            endpoint = "{}"
            key = "simulated-key"
            topics = {topics:?}
            [sinks.iot]
            type = "mqtt"
            {sink}
            [[routes]]
            topics = "*"
            sink = "iot"
            destination = "central/{{topic}}"
            "#,
            folder.path().join("state").display(),
            simulator.endpoint(),
        );
        fs::write(folder.path().join("config.toml"), config).unwrap();
        Self { simulator, folder }
    }

    pub(crate) fn start(&self) -> Forwarder {
        let config = self.folder.path().join("config.toml");
        Forwarder::start(&["run", "-c", config.to_str().unwrap()])
    }
}

/// SIGTERM: what is in the journal is delivered, and the exit code is 0. Gives the log.
pub(crate) fn drain(mut forwarder: Forwarder) -> String {
    forwarder.terminate();
    let status = forwarder.wait(A_WHILE);
    let said = forwarder.stderr();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("left_in_journal=0"), "{said}");
    said
}

/// The simulator's numbers of the messages, in their order.
pub(crate) fn numbers(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(number).collect()
}

/// The simulator's number of a message.
pub(crate) fn number(message: &Message) -> u64 {
    let record: Value = serde_json::from_str(&message.payload).expect("the payload is JSON");
    let topic = record["topic"].as_str().expect("it has a topic");
    sequence_of(topic, &record["data"]).expect("it is one of the simulator's")
}
