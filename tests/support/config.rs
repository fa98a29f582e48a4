//! Configs for the forwarder, written as TOML: an account, a sink and a route with what a test needs, and as
//! lines whatever else it tries.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use central_forwarder::simulator::Simulator;

/// What simulators take unless they are told otherwise.
const KEY: &str = "simulated-key";
const CLIENT_ID: &str = "simulated-id";
const CLIENT_SECRET: &str = "simulated-secret";

/// A config file that grows table by table.
#[derive(Clone, Debug, Default)]
pub struct Config {
    top: String,
    tables: String,
}

impl Config {
    /// Everything in memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// The state is `state` in this folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        let state = folder.join("state");
        Self::default().line(format!("state_dir = \"{}\"", state.display()))
    }

    /// A line before all tables.
    #[must_use]
    pub fn line(mut self, line: impl AsRef<str>) -> Self {
        push_line(&mut self.top, line.as_ref());
        self
    }

    /// An admin endpoint on a port that the system chooses; see [`crate::forwarder::Forwarder::admin`].
    #[must_use]
    pub fn admin(self, lines: &str) -> Self {
        self.table("admin", &format!("listen = \"127.0.0.1:0\"\n{lines}\n"))
    }

    #[must_use]
    pub fn account(self, name: &str, account: &Account) -> Self {
        self.table(&format!("accounts.{name}"), &account.0)
    }

    #[must_use]
    pub fn sink(self, name: &str, sink: &Sink) -> Self {
        self.table(&format!("sinks.{name}"), &sink.0)
    }

    #[must_use]
    pub fn route(self, route: &Route) -> Self {
        self.table("[routes]", &route.0)
    }

    /// Another table: its name, as it stands in brackets, and its lines.
    #[must_use]
    pub fn table(mut self, name: &str, lines: &str) -> Self {
        write!(self.tables, "[{name}]\n{lines}").expect("a string takes it");
        self
    }

    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.top, self.tables)
    }

    /// Writes it to `config.toml` in this folder; gives the path.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("config.toml");
        fs::write(&path, self.text()).expect("the folder can be written to");
        path
    }
}

/// What stands under `[accounts.NAME]`.
#[derive(Clone, Debug)]
pub struct Account(String);

impl Account {
    /// A customer of Classic Central, with the simulator's key.
    #[must_use]
    pub fn classic(endpoint: &str, topics: &[impl AsRef<str>]) -> Self {
        Self::classic_with_key(endpoint, topics, KEY)
    }

    #[must_use]
    pub fn classic_with_key(endpoint: &str, topics: &[impl AsRef<str>], key: &str) -> Self {
        Self("generation = \"classic\"\n".to_owned())
            .line(format!("endpoint = {endpoint:?}"))
            .line(format!("key = {key:?}"))
            .topics(topics)
    }

    /// A tenant of the New Central that this simulator is.
    #[must_use]
    pub fn new_central(simulator: &Simulator, topics: &[impl AsRef<str>]) -> Self {
        Self::new_central_with_secret(simulator, topics, CLIENT_SECRET)
    }

    #[must_use]
    pub fn new_central_with_secret(
        simulator: &Simulator,
        topics: &[impl AsRef<str>],
        secret: &str,
    ) -> Self {
        Self("generation = \"new\"\n".to_owned())
            .line(format!("endpoint = {:?}", simulator.new_endpoint()))
            .line(format!("token_url = {:?}", simulator.token_url()))
            .line(format!("client_id = {CLIENT_ID:?}"))
            .line(format!("client_secret = {secret:?}"))
            .topics(topics)
    }

    #[must_use]
    pub fn line(mut self, line: impl AsRef<str>) -> Self {
        push_line(&mut self.0, line.as_ref());
        self
    }

    fn topics(self, topics: &[impl AsRef<str>]) -> Self {
        self.line(format!("topics = {}", list(topics)))
    }
}

/// What stands under `[sinks.NAME]`.
#[derive(Clone, Debug)]
pub struct Sink(String);

impl Sink {
    #[must_use]
    pub fn stdout() -> Self {
        Self::of("stdout")
    }

    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self::of("file").line(format!("path = \"{}\"", path.display()))
    }

    #[must_use]
    pub fn kafka(broker: &str) -> Self {
        Self::of("kafka").line(format!("brokers = [{broker:?}]"))
    }

    #[must_use]
    pub fn amqp(url: &str) -> Self {
        Self::of("amqp").line(format!("url = {url:?}"))
    }

    #[must_use]
    pub fn mqtt(url: &str) -> Self {
        Self::of("mqtt").line(format!("url = {url:?}"))
    }

    /// One of this type, with nothing else in it.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        Self(format!("type = {kind:?}\n"))
    }

    #[must_use]
    pub fn line(mut self, line: impl AsRef<str>) -> Self {
        push_line(&mut self.0, line.as_ref());
        self
    }
}

/// What stands under `[[routes]]`.
#[derive(Clone, Debug)]
pub struct Route(String);

impl Route {
    /// All topics into this sink.
    #[must_use]
    pub fn all(sink: &str) -> Self {
        Self("topics = \"*\"\n".to_owned()).line(format!("sink = {sink:?}"))
    }

    #[must_use]
    pub fn of(topics: &[impl AsRef<str>], sink: &str) -> Self {
        Self(format!("topics = {}\n", list(topics))).line(format!("sink = {sink:?}"))
    }

    #[must_use]
    pub fn destination(self, template: &str) -> Self {
        self.line(format!("destination = {template:?}"))
    }

    #[must_use]
    pub fn line(mut self, line: impl AsRef<str>) -> Self {
        push_line(&mut self.0, line.as_ref());
        self
    }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn list(topics: &[impl AsRef<str>]) -> String {
    let topics = topics.iter().map(|topic| format!("{:?}", topic.as_ref()));
    format!("[{}]", topics.collect::<Vec<_>>().join(", "))
}
