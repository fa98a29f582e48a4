//! A simulated Central, a forwarder's config with one Kafka sink, and the folder of its state.

use std::fs;
use std::process::Command;
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tempfile::TempDir;

use crate::brokers::Kafka;
use crate::forwarder::Forwarder;
use crate::program;

const A_WHILE: Duration = Duration::from_secs(120);

pub struct KafkaStand {
    pub simulator: Simulator,
    /// What `check --connect` is to try: a connection takes frames, and each is sent once.
    pub bystander: Simulator,
    pub folder: TempDir,
    /// Frames that the simulator sends of each topic.
    pub count: u64,
}

impl KafkaStand {
    /// `sink` has the lines of `[sinks.lake]` but for its type, and `routes` those of the routes.
    pub async fn new(topics: &[&str], (rate, count): (u32, u64), sink: &str, routes: &str) -> Self {
        let topics: Vec<String> = topics.iter().map(ToString::to_string).collect();
        let options = Options {
            topics: topics.clone(),
            rate,
            count: Some(count),
            ..Options::default()
        };
        let bystander = Simulator::start(options.clone()).await.unwrap();
        let simulator = Simulator::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            r#"
            state_dir = "{}"
            [accounts.acme]
            generation = "classic"
            endpoint = "{}"
            key = "simulated-key"
            topics = {topics:?}
            [sinks.lake]
            type = "kafka"
            {sink}
            {routes}
            "#,
            folder.path().join("state").display(),
            simulator.endpoint(),
        );
        fs::write(folder.path().join("config.toml"), config).unwrap();
        Self {
            simulator,
            bystander,
            folder,
            count,
        }
    }

    pub fn start(&self) -> Forwarder {
        let config = self.folder.path().join("config.toml");
        Forwarder::start(&["run", "-c", config.to_str().unwrap()])
    }

    pub fn sent(&self, topic: &str) -> u64 {
        self.simulator.sent()[topic].frames
    }

    /// `dead-letters list`, a line each.
    pub fn dead_letters(&self) -> Vec<String> {
        let listed = Command::new(program())
            .args(["dead-letters", "list", "--state-dir"])
            .arg(self.folder.path().join("state"))
            .output()
            .unwrap();
        assert!(listed.status.success(), "{listed:?}");
        let listed = String::from_utf8(listed.stdout).unwrap();
        listed.lines().map(str::to_owned).collect()
    }
}

/// A route that takes what is named into a Kafka topic.
pub fn route(topics: &str, destination: &str) -> String {
    format!("[[routes]]\ntopics = {topics:?}\nsink = \"lake\"\ndestination = \"{destination}\"\n")
}

/// SIGTERM: what is in the journal is delivered, and the exit code is 0. Gives the log.
pub fn drain(mut forwarder: Forwarder) -> String {
    forwarder.terminate();
    let status = forwarder.wait(A_WHILE);
    let said = forwarder.stderr();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("left_in_journal=0"), "{said}");
    said
}

/// Makes a topic of one partition.
pub async fn create_topic(kafka: &Kafka, name: &str, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &kafka.address)
        .create()
        .unwrap();
    let mut topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
    for (name, value) in settings {
        topic = topic.set(name, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(A_WHILE));
    for made in admin.create_topics([&topic], &options).await.unwrap() {
        made.expect("the topic is made");
    }
}
