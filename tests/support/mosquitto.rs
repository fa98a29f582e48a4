//! A Mosquitto of a test's own, which it may configure, stop, kill and pause; and Mosquitto's own
//! subscriber, which shares no code with the forwarder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::stand::number_of;
use crate::{brokers, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

/// Where the ports of the tests' brokers begin, and how many there are.
const FIRST_PORT: u16 = 12_000;
const PORTS: u32 = 3_000;

/// A running Mosquitto; it ends with this value.
pub struct Mosquitto {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl Mosquitto {
    /// One that keeps its sessions over [`Self::stop`] and queues a million messages; `settings` are lines of
    /// mosquitto.conf. Where there is no real Mosquitto the test is skipped.
    pub fn start(settings: &str) -> Option<Self> {
        brokers::mosquitto()?;
        let folder = tempfile::tempdir().expect("a folder for the broker");
        let port = free_port();
        let config = format!(
            "listener {port} 127.0.0.1\n\
             user root\n\
             persistence true\n\
             persistence_location {}/\n\
             max_queued_messages 1000000\n\
             {settings}\n",
            folder.path().display(),
        );
        fs::write(folder.path().join("mosquitto.conf"), config).expect("the config is writable");
        let child = spawn(folder.path());
        let mut broker = Self {
            child,
            folder,
            port,
        };
        broker.wait_until_it_listens();
        Some(broker)
    }

    /// One that is open to anybody.
    pub fn open() -> Option<Self> {
        Self::start("allow_anonymous true")
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// SIGTERM, and waits until it is gone.
    pub fn stop(&mut self) {
        self.signal("TERM");
        self.child.wait().expect("it can be waited for");
    }

    /// After [`Self::kill`] or [`Self::stop`]: the same port and the same data.
    pub fn start_again(&mut self) {
        self.child = spawn(self.folder.path());
        self.wait_until_it_listens();
    }

    /// Sends a signal by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    fn wait_until_it_listens(&mut self) {
        let address = self.address();
        eventually(PATIENCE, "Mosquitto listens", || {
            if self.child.try_wait().expect("it can be asked").is_some() {
                let log = fs::read_to_string(self.folder.path().join("log"));
                panic!("Mosquitto has ended: {log:?}");
            }
            TcpStream::connect(&address).is_ok()
        });
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // An error here means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody uses now. It is below those that the system gives to connections, so that none
/// takes it before it is listened to, and no other test of this process gets it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = process::id()
            .wrapping_mul(101)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST_PORT + u16::try_from(next % PORTS).expect("it is less");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn signal(child: &Child, name: &str) {
    let done = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name])
        .arg(child.id().to_string())
        .status()
        .expect("sh can be run");
    assert!(done.success(), "SIG{name} could not be sent");
}

fn spawn(folder: &Path) -> Child {
    let start = |program: &str| {
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .expect("a file for the log");
        Command::new(program)
            .arg("-c")
            .arg(folder.join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
    };
    // Debian's servers are in sbin, which is not on everybody's PATH.
    match start("mosquitto") {
        Err(error) if error.kind() == ErrorKind::NotFound => start("/usr/sbin/mosquitto"),
        started => started,
    }
    .expect("mosquitto can be run")
}

/// One message as `mosquitto_sub` prints it.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub qos: u64,
    pub retained: bool,
    pub content_type: Option<String>,
    pub payload: String,
    /// The payload as it is, where `%j %x` was asked for.
    pub bytes: Vec<u8>,
    user_properties: Value,
}

impl Message {
    pub fn user_property(&self, name: &str) -> Option<&str> {
        self.user_properties[name].as_str()
    }

    pub fn user_properties(&self) -> BTreeMap<String, String> {
        let properties = self.user_properties.as_object().into_iter().flatten();
        properties
            .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
            .collect()
    }

    /// The simulator's number of a record of format `json`.
    pub fn number(&self) -> u64 {
        let record = serde_json::from_str(&self.payload).expect("the payload is JSON");
        number_of(&record)
    }
}

/// A `mosquitto_sub` with a session that outlives connections and brokers.
pub struct Subscriber {
    child: Child,
    folder: TempDir,
}

impl Subscriber {
    /// Subscribes at `QoS` 1, and waits until the broker knows. At 2, `mosquitto_sub` 2.0 ends with
    /// a protocol error after some hundred messages.
    pub fn start(address: &str, filter: &str) -> Self {
        Self::start_with(address, filter, &[])
    }

    /// The same, with further arguments.
    pub fn start_with(address: &str, filter: &str, more: &[&str]) -> Self {
        let (host, port) = address.split_once(':').expect("host:port");
        let folder = tempfile::tempdir().expect("a folder for the output");
        let create = |name| File::create(folder.path().join(name)).expect("a file for the output");
        // It holds back what it prints until a message comes.
        let child = Command::new("stdbuf")
            .args(["-oL", "mosquitto_sub"])
            .args(["-V", "5", "-h", host, "-p", port, "-t", filter, "-q", "1"])
            .args(["-c", "-i", &crate::fresh_name("subscriber")])
            .args(["-x", "3600", "-d", "-F", "%j"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(create("stdout"))
            .stderr(create("stderr"))
            .spawn()
            .expect("mosquitto_sub of Debian's mosquitto-clients can be run");
        let subscriber = Self { child, folder };
        eventually(PATIENCE, "the broker acknowledges a subscription", || {
            subscriber.printed().contains("Subscribed (mid")
        });
        subscriber
    }

    /// Sends a signal by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// All that came, in order.
    pub fn messages(&self) -> Vec<Message> {
        let printed = self.printed();
        let whole = printed.rfind('\n').map_or("", |end| &printed[..end]);
        let lines = whole.lines().filter(|line| line.starts_with('{'));
        lines.map(parse).collect()
    }

    /// Waits until so many have come; further ones may be there too.
    pub fn wait_for_count(&self, within: Duration, what: &str, count: u64) -> Vec<Message> {
        eventually(within, what, || {
            let lines = self.printed();
            let lines = lines.lines().filter(|line| line.starts_with('{'));
            lines.count() as u64 >= count
        });
        self.messages()
    }

    /// Waits until each of the simulator's numbers up to `count` has come at least once, repeats
    /// among them; nothing is read anew before there are as many as there must be.
    pub fn wait_for_all(&self, within: Duration, count: u64) -> Vec<Message> {
        let mut least = count;
        loop {
            let messages = self.wait_for_count(within, "all records", least);
            let numbers = messages.iter().map(Message::number);
            let owed = numbers.filter(|number| *number <= count);
            let missing = count - owed.collect::<BTreeSet<u64>>().len() as u64;
            if missing == 0 {
                return messages;
            }
            least = messages.len() as u64 + missing;
        }
    }

    /// Waits until what came satisfies a condition.
    pub fn wait_for(
        &self,
        within: Duration,
        what: &str,
        mut enough: impl FnMut(&[Message]) -> bool,
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        eventually(within, what, || {
            messages = self.messages();
            enough(&messages)
        });
        messages
    }

    fn printed(&self) -> String {
        let path: PathBuf = self.folder.path().join("stdout");
        String::from_utf8_lossy(&fs::read(path).expect("the output is readable")).into_owned()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // An error here means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The simulator's numbers of the messages, in their order.
pub fn numbers(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(Message::number).collect()
}

fn parse(line: &str) -> Message {
    let (line, hex) = match line.rsplit_once("} ") {
        Some((line, hex)) if is_hex(hex) => (format!("{line}}}"), hex),
        _ => (line.to_owned(), ""),
    };
    let line: Value = serde_json::from_str(&line).expect("mosquitto_sub prints JSON");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Message {
        topic: text(&line["topic"]).expect("a topic"),
        qos: line["qos"].as_u64().expect("a QoS"),
        retained: line["retain"] == 1,
        content_type: text(&line["properties"]["content-type"]),
        payload: text(&line["payload"]).unwrap_or_default(),
        bytes: (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
            .collect(),
        user_properties: line["properties"]["user-properties"].clone(),
    }
}

fn is_hex(text: &str) -> bool {
    text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
