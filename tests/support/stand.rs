//! A simulated Central, a forwarder's config with one sink, and the folder of its state.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use central_forwarder::simulator::{Options, Simulator, sequence_of, sequence_of_frame};
use serde_json::Value;
use tempfile::TempDir;

use crate::config::{Account, Config, Route, Sink};
use crate::forwarder::Forwarder;
use crate::kept::keep_output;
use crate::{eventually, program};

const A_WHILE: Duration = Duration::from_secs(180);

/// The sink that [`Stand::configure`] makes.
pub const SINK: &str = "out";

pub struct Stand {
    pub simulator: Simulator,
    /// What `check --connect` tries: a connection takes frames, and each is sent once.
    bystander: Simulator,
    folder: TempDir,
    topics: Vec<String>,
    /// Frames that the simulator sends of each topic.
    count: u64,
}

/// What a sink refused for good.
#[derive(Debug)]
pub struct DeadLetter {
    pub topic: String,
    /// The simulator's number of the frame.
    pub number: u64,
    pub reason: String,
}

impl Stand {
    /// `count` frames of each topic at `rate` a second, 0: as fast as they are read.
    pub async fn new(topics: &[&str], rate: u32, count: u64) -> Self {
        let topics: Vec<String> = topics.iter().map(ToString::to_string).collect();
        let options = Options {
            topics: topics.clone(),
            rate,
            count: Some(count),
            ..Options::default()
        };
        Self {
            bystander: Simulator::start(options.clone()).await.unwrap(),
            simulator: Simulator::start(options).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
            topics,
            count,
        }
    }

    /// Everything into an AMQP sink, with routing keys such as `central.audit`; `lines` are further
    /// ones of its table.
    pub fn to_amqp(&self, url: &str, lines: &str) -> &Self {
        let route = Route::all(SINK).destination("central.{topic}");
        self.configure(&Sink::amqp(url).line(lines), &[route])
    }

    /// Everything into an MQTT sink, with topics such as `central/audit`.
    pub fn to_mqtt(&self, url: &str, lines: &str) -> &Self {
        let route = Route::all(SINK).destination("central/{topic}");
        self.configure(&Sink::mqtt(url).line(lines), &[route])
    }

    /// The routes are for the sink of the name [`SINK`].
    pub fn configure(&self, sink: &Sink, routes: &[Route]) -> &Self {
        let config = routes
            .iter()
            .fold(self.base().sink(SINK, sink), Config::route);
        self.write(&config)
    }

    /// The state and the account, without a sink.
    pub fn base(&self) -> Config {
        let account = Account::classic(&self.simulator.endpoint(), &self.topics);
        // Longer than the default for a busy machine, and shorter than a test waits for an end without a broker.
        Config::in_folder(self.folder.path())
            .line("shutdown_timeout = \"50s\"")
            .account("acme", &account)
    }

    pub fn write(&self, config: &Config) -> &Self {
        config.write(self.folder.path());
        self
    }

    pub fn start(&self) -> Forwarder {
        self.start_with(&[])
    }

    pub fn start_with(&self, environment: &[(&str, &str)]) -> Forwarder {
        Forwarder::run_with(&self.config(), environment)
    }

    /// Another command of the binary, with the same config.
    pub fn command(&self, words: &[&str]) -> Output {
        let elsewhere = self.bystander.endpoint();
        Command::new(program())
            .env("CENTRAL_FORWARDER__ACCOUNTS__ACME__ENDPOINT", elsewhere)
            .args(words)
            .arg("-c")
            .arg(self.config())
            .output()
            .expect("the binary can be run")
    }

    /// `check --connect`: whether all is well, and what it prints.
    pub fn check(&self) -> (bool, String) {
        let output = keep_output(self.command(&["check", "--connect"]));
        let said = String::from_utf8(output.stdout).expect("text");
        (output.status.success(), said)
    }

    /// The same of the sink alone: the exit code, and its line.
    pub fn check_sink(&self) -> (Option<i32>, String) {
        of_the_sink(&keep_output(self.command(&["check", "--connect"])))
    }

    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let output = self.command(&["dead-letters", "dump"]);
        assert!(output.status.success(), "{output:?}");
        let dumped = String::from_utf8(output.stdout).expect("text");
        dumped.lines().map(dead_letter).collect()
    }

    /// Waits until the frame of this number is in the journal, and so safe.
    pub fn wait_until_journalled(&self, number: u64) {
        self.wait_until_sent(number);
        eventually(A_WHILE, "the frame is in the journal", || {
            self.is_journalled(number)
        });
    }

    fn is_journalled(&self, number: u64) -> bool {
        let output = self.command(&["journal", "dump"]);
        assert!(output.status.success(), "{output:?}");
        let dumped = String::from_utf8(output.stdout).expect("text");
        let frames = dumped.lines().rev().map(|line| {
            let entry: Value = serde_json::from_str(line).expect("an entry is JSON");
            STANDARD.decode(entry["frame"].as_str().expect("a frame"))
        });
        let mut frames = frames.map(|frame| frame.expect("base64"));
        frames.any(|frame| sequence_of_frame(&frame) == Some(number))
    }

    /// Frames that the simulator sends of each topic.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Frames that the simulator has sent, of all topics.
    pub fn sent(&self) -> u64 {
        let sent = self.simulator.sent();
        let frames = self
            .topics
            .iter()
            .filter_map(|topic| sent.get(topic.as_str()));
        frames.map(|sent| sent.frames).sum()
    }

    /// Waits until the simulator has sent everything.
    pub fn wait_until_all_sent(&self) {
        self.wait_until_sent(self.count * self.topics.len() as u64);
    }

    pub fn wait_until_sent(&self, frames: u64) {
        eventually(A_WHILE, "the frames are read", || self.sent() >= frames);
    }

    /// Writes a file into the stand's folder.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub fn config(&self) -> PathBuf {
        self.path("config.toml")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The exit code of `check --connect`, and its line about the sink.
pub fn of_the_sink(checked: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8_lossy(&checked.stdout);
    let line = said
        .lines()
        .find(|line| line.starts_with(&format!("sink {SINK}: ")));
    let line = line.unwrap_or_else(|| panic!("{checked:?}"));
    (checked.status.code(), line.to_owned())
}

fn dead_letter(line: &str) -> DeadLetter {
    let letter: Value = serde_json::from_str(line).expect("a letter is JSON");
    let text = |name: &str| letter[name].as_str().expect("a text").to_owned();
    let frame = STANDARD.decode(text("frame")).expect("base64");
    let stream = text("stream");
    let (_, topic) = stream.split_once('/').expect("generation/topic");
    DeadLetter {
        topic: topic.to_owned(),
        number: sequence_of_frame(&frame).expect("a frame of the simulator's"),
        reason: text("reason"),
    }
}

/// SIGTERM: what is in the journal is delivered, and the exit code is 0. Gives the log.
pub fn drain(mut forwarder: Forwarder) -> String {
    forwarder.wait_for_stderr(A_WHILE, "connected");
    forwarder.terminate();
    let status = forwarder.wait(A_WHILE);
    let said = forwarder.stderr();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("left_in_journal=0"), "{said}");
    said
}

/// The simulator's number of a record of format `json`.
pub fn number_of(record: &Value) -> u64 {
    let topic = record["topic"].as_str().expect("it has a topic");
    sequence_of(topic, &record["data"]).expect("it is one of the simulator's")
}

/// What a sink of type `file` has written, but for lines that are half written: the last one, or one
/// at which the forwarder was killed.
pub fn records(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().flat_map(serde_json::from_str).collect()
}

/// A sink's `tls` table.
pub fn tls(ca: &Path, identity: Option<(&Path, &Path)>) -> String {
    let mut files = vec![("ca_file", ca)];
    if let Some((certificate, key)) = identity {
        files.extend([("certificate_file", certificate), ("key_file", key)]);
    }
    let files = files
        .iter()
        .map(|(key, path)| format!("{key} = \"{}\"", path.display()));
    format!("tls = {{ {} }}", files.collect::<Vec<_>>().join(", "))
}
