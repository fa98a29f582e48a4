//! Kafka's own console consumer: a reader that shares no code with the forwarder.

use std::process::{Command, Stdio};

use crate::brokers::{Kafka, kafka_jars};

// Control characters, so that no separator can occur in JSON or in a header.
const BETWEEN_FIELDS: char = '\u{1f}';
const BETWEEN_HEADERS: char = '\u{1e}';
const BETWEEN_RECORDS: char = '\u{1d}';
const NULL: &str = "\u{1a}";

/// How long the consumer waits for the next record, in milliseconds.
const PATIENCE: &str = "30000";

/// One record as the console consumer prints it; text only.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since the Unix epoch, as the producer set it.
    pub timestamp: i64,
    pub headers: Vec<(String, String)>,
    pub key: Option<String>,
    pub value: String,
}

impl Line {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads the first `count` records of a topic, and ends.
///
/// # Panics
/// There were fewer, and no further one came for 30 seconds.
pub fn read_topic(kafka: &Kafka, topic: &str, count: usize) -> Vec<Line> {
    let jars = kafka_jars().expect("a real Kafka comes with its jars");
    let mut command = Command::new("java");
    command
        .arg("-cp")
        .arg(jars.join("*"))
        .arg("org.apache.kafka.tools.consumer.ConsoleConsumer")
        .args([
            "--bootstrap-server",
            &kafka.address,
            "--topic",
            topic,
            "--from-beginning",
        ])
        .args([
            "--max-messages",
            &count.to_string(),
            "--timeout-ms",
            PATIENCE,
        ]);
    for (name, value) in [
        ("print.timestamp", "true"),
        ("print.headers", "true"),
        ("print.key", "true"),
        ("key.separator", &BETWEEN_FIELDS.to_string()),
        ("headers.separator", &BETWEEN_HEADERS.to_string()),
        ("line.separator", &BETWEEN_RECORDS.to_string()),
        ("null.literal", NULL),
    ] {
        command.arg("--property").arg(format!("{name}={value}"));
    }
    let done = command
        .stdin(Stdio::null())
        .output()
        .expect("java can be run");
    let printed = String::from_utf8(done.stdout).expect("the records are text");
    let lines: Vec<Line> = printed
        .split_terminator(BETWEEN_RECORDS)
        .filter_map(parse)
        .collect();
    let complaints = String::from_utf8_lossy(&done.stderr);
    assert_eq!(
        lines.len(),
        count,
        "records in {topic}; the console consumer said: {complaints}"
    );
    lines
}

/// `CreateTime:1700000000000 | name:value / name:value | key | value`; None for what is no record.
fn parse(record: &str) -> Option<Line> {
    let mut fields = record.splitn(4, BETWEEN_FIELDS);
    let timestamp = fields.next()?.rsplit_once(':')?.1.parse().ok()?;
    let headers = fields
        .next()?
        .split(BETWEEN_HEADERS)
        .filter_map(|header| header.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let key = fields.next().filter(|key| *key != NULL).map(str::to_owned);
    Some(Line {
        timestamp,
        headers,
        key,
        value: fields.next()?.to_owned(),
    })
}
