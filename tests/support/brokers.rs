//! Where the brokers are that `scripts/brokers up` has started.
//!
//! The address of each comes from an environment variable (`CF_TEST_KAFKA`, ...) or from the file
//! that the script wrote. A test whose broker is not there says so in `target/brokers/skipped.txt`,
//! which `scripts/test` shows at its end, and returns.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// How many brokers of a kind run for tests of their own at the same time: each takes a core while it starts.
const OWN_AT_A_TIME: usize = 2;
const POLL: Duration = Duration::from_millis(100);

const A_WHILE: Duration = Duration::from_secs(120);

/// A Kafka that a test may use; it ends with this value if it was made for the test.
pub struct Kafka {
    /// `host:port`
    pub address: String,
    origin: Origin,
}

enum Origin {
    Shared,
    Own {
        instance: String,
        _turn: Turn,
    },
    Mock {
        _cluster: MockCluster<'static, DefaultProducerContext>,
    },
}

impl Kafka {
    /// The real broker that all tests share; without one the test is skipped.
    pub fn real() -> Option<Self> {
        let address = address_or_skip("CF_TEST_KAFKA")?;
        Some(Self {
            address,
            origin: Origin::Shared,
        })
    }

    /// The real broker, or librdkafka's mock cluster where there is none.
    pub fn real_or_mock() -> Self {
        if let Some(address) = look_up(&shared_file(), "CF_TEST_KAFKA") {
            return Self {
                address,
                origin: Origin::Shared,
            };
        }
        note("ran on librdkafka's mock cluster: CF_TEST_KAFKA is not set");
        let cluster = MockCluster::new(1).expect("librdkafka starts a mock cluster");
        Self {
            address: cluster.bootstrap_servers(),
            origin: Origin::Mock { _cluster: cluster },
        }
    }

    /// A real broker for this test alone, which may stop and kill it; where there is no shared one
    /// either, the test is skipped. Two tests must not use the same name.
    pub fn own(instance: &str) -> Option<Self> {
        address_or_skip("CF_TEST_KAFKA")?;
        let turn = Turn::wait_for("kafka");
        Some(Self {
            address: bring_up(instance, "kafka", "CF_TEST_KAFKA"),
            origin: Origin::Own {
                instance: instance.to_owned(),
                _turn: turn,
            },
        })
    }

    /// librdkafka's mock cluster, whose brokers can be told to fail.
    pub fn mock() -> (Self, MockCluster<'static, DefaultProducerContext>) {
        let cluster = MockCluster::new(1).expect("librdkafka starts a mock cluster");
        let kafka = Self {
            address: cluster.bootstrap_servers(),
            origin: Origin::Shared,
        };
        (kafka, cluster)
    }

    /// What `scripts/brokers` says about a real one besides its address, such as `SASL`.
    pub fn variable(&self, name: &str) -> String {
        let variable = format!("CF_TEST_KAFKA_{name}");
        let value = match &self.origin {
            Origin::Own { instance, .. } => {
                let folder = brokers_folder().join("instances").join(instance);
                read_variable(&folder.join("env"), &variable)
            }
            Origin::Shared | Origin::Mock { .. } => look_up(&shared_file(), &variable),
        };
        value.unwrap_or_else(|| panic!("scripts/brokers up has written {variable}"))
    }

    /// Makes a topic of one partition.
    pub async fn create_topic(&self, name: &str, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.address)
            .create()
            .expect("the settings are valid");
        let mut topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
        for (name, value) in settings {
            topic = topic.set(name, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(A_WHILE));
        let made = admin.create_topics([&topic], &options).await;
        for made in made.expect("the broker answers") {
            made.expect("the topic is made");
        }
    }

    /// Ends it in good order, with SIGTERM. Its data stay.
    pub fn stop(&self) {
        scripts_brokers("stop", self.instance(), "kafka");
    }

    /// Ends it at once, with SIGKILL. Its data stay.
    pub fn kill(&self) {
        scripts_brokers("kill", self.instance(), "kafka");
    }

    /// Starts it again on the same port with the same data, and returns when it serves clients.
    pub fn start(&self) {
        scripts_brokers("start", self.instance(), "kafka");
    }

    /// Leaves it without the processor, as a machine that hangs.
    pub fn pause(&self) {
        scripts_brokers("pause", self.instance(), "kafka");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        scripts_brokers("resume", self.instance(), "kafka");
    }

    fn instance(&self) -> &str {
        match &self.origin {
            Origin::Own { instance, .. } => instance,
            Origin::Shared | Origin::Mock { .. } => {
                panic!("only a test that owns its Kafka may disturb it: see Kafka::own")
            }
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Origin::Own { instance, .. } = &self.origin {
            scripts_brokers("down", instance, "kafka");
        }
    }
}

/// A real `RabbitMQ`, user and password `guest`; it ends with this value if it was started for the
/// test.
pub struct RabbitMq {
    /// `host:port`
    pub address: String,
    own_instance: Option<String>,
    _turn: Option<Turn>,
}

impl RabbitMq {
    /// The broker that all tests share; without one the test is skipped.
    pub fn real() -> Option<Self> {
        Some(Self {
            address: address_or_skip("CF_TEST_RABBITMQ")?,
            own_instance: None,
            _turn: None,
        })
    }

    /// A broker for this test alone, which may stop and kill it; where there is no shared one
    /// either, the test is skipped. Two tests must not use the same name.
    pub fn own(instance: &str) -> Option<Self> {
        address_or_skip("CF_TEST_RABBITMQ")?;
        let turn = Turn::wait_for("rabbitmq");
        Some(Self {
            address: bring_up(instance, "rabbitmq", "CF_TEST_RABBITMQ"),
            own_instance: Some(instance.to_owned()),
            _turn: Some(turn),
        })
    }

    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.address)
    }

    /// Ends it in good order, with SIGTERM. Its data stay.
    pub fn stop(&self) {
        scripts_brokers("stop", self.instance(), "rabbitmq");
    }

    /// Ends it at once, with SIGKILL. Its data stay.
    pub fn kill(&self) {
        scripts_brokers("kill", self.instance(), "rabbitmq");
    }

    /// Starts it again on the same port with the same data, and returns when it serves clients.
    pub fn start(&self) {
        scripts_brokers("start", self.instance(), "rabbitmq");
    }

    /// Leaves it without the processor, as a machine that hangs.
    pub fn pause(&self) {
        scripts_brokers("pause", self.instance(), "rabbitmq");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        scripts_brokers("resume", self.instance(), "rabbitmq");
    }

    /// `host:port` of its TLS listener.
    pub fn tls_address(&self) -> String {
        self.variable("CF_TEST_RABBITMQ_TLS")
    }

    /// `ca.pem`, the `client.pem` and `client.key` of the user `forwarder`, and `stranger/ca.pem`.
    pub fn secrets(&self) -> PathBuf {
        self.variable("CF_TEST_RABBITMQ_SECRETS").into()
    }

    fn variable(&self, name: &str) -> String {
        let file = match &self.own_instance {
            Some(instance) => instance_file(instance),
            None => shared_file(),
        };
        read_variable(&file, name).expect("scripts/brokers up has written it")
    }

    /// `rabbitmqctl` with these arguments.
    pub fn control(&self, arguments: &[&str]) {
        run_scripts_brokers("control", self.instance(), "rabbitmq", arguments);
    }

    /// Has it block publishers, as if its memory were full.
    pub fn block_publishers(&self) {
        scripts_brokers("block", self.instance(), "rabbitmq");
    }

    pub fn unblock_publishers(&self) {
        scripts_brokers("unblock", self.instance(), "rabbitmq");
    }

    fn instance(&self) -> &str {
        self.own_instance
            .as_deref()
            .expect("only a test that owns its RabbitMQ may disturb it: see RabbitMq::own")
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        if let Some(instance) = &self.own_instance {
            scripts_brokers("down", instance, "rabbitmq");
        }
    }
}

/// The `host:port` of the real Mosquitto, open to anybody; without one the test is skipped.
pub fn mosquitto() -> Option<String> {
    address_or_skip("CF_TEST_MOSQUITTO")
}

/// The folder of Kafka's own jars.
pub(crate) fn kafka_jars() -> Option<PathBuf> {
    look_up(&shared_file(), "CF_TEST_KAFKA_LIB").map(PathBuf::from)
}

fn address_or_skip(variable: &str) -> Option<String> {
    let address = look_up(&shared_file(), variable);
    if address.is_none() {
        note(&format!(
            "skipped: {variable} is not set; scripts/brokers up sets it"
        ));
    }
    address
}

fn look_up(file: &Path, variable: &str) -> Option<String> {
    env::var(variable)
        .ok()
        .or_else(|| read_variable(file, variable))
}

/// Reads one of the lines `NAME='value'` of a file that `scripts/brokers` has written.
fn read_variable(file: &Path, variable: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let (_, value) = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| *name == variable)?;
    Some(value.trim_matches('\'').to_owned())
}

/// Says what a test did not do, and why, where `scripts/test` finds it.
pub fn note(what: &str) {
    let program = env::current_exe().ok();
    let program = program
        .as_deref()
        .and_then(Path::file_stem)
        .and_then(|name| name.to_str());
    let file = program
        .and_then(|name| name.rsplit_once('-'))
        .map_or("?", |(name, _hash)| name);
    let line = format!(
        "{file}::{}: {what}",
        thread::current().name().unwrap_or("?")
    );
    eprintln!("{line}");
    let folder = brokers_folder();
    fs::create_dir_all(&folder).expect("the folder of the brokers can be made");
    let mut skipped = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("skipped.txt"))
        .expect("skipped.txt can be written");
    writeln!(skipped, "{line}").expect("skipped.txt can be written");
}

/// The right to run one more broker of a kind. A process that ends gives it back, however it ends.
struct Turn {
    _locked: File,
}

impl Turn {
    fn wait_for(kind: &str) -> Self {
        let folder = brokers_folder();
        let open = |number| {
            let path = folder.join(format!("own-{kind}-{number}.lock"));
            File::create(path).expect("the folder of the brokers can be written to")
        };
        loop {
            for file in (0..OWN_AT_A_TIME).map(open) {
                if file.try_lock().is_ok() {
                    return Self { _locked: file };
                }
            }
            thread::sleep(POLL);
        }
    }
}

/// Starts a broker for one test alone; gives its address.
fn bring_up(instance: &str, kind: &str, variable: &str) -> String {
    scripts_brokers("up", instance, kind);
    read_variable(&instance_file(instance), variable).expect("up has written the address")
}

fn instance_file(instance: &str) -> PathBuf {
    brokers_folder()
        .join("instances")
        .join(instance)
        .join("env")
}

fn scripts_brokers(verb: &str, instance: &str, kind: &str) {
    run_scripts_brokers(verb, instance, kind, &[]);
}

fn run_scripts_brokers(verb: &str, instance: &str, kind: &str, aside: &[&str]) {
    let script = repository().join("scripts/brokers");
    let done = Command::new(script)
        .args([verb, "--instance", instance, kind, "--"])
        .args(aside)
        .stdin(Stdio::null())
        .output()
        .expect("scripts/brokers can be run");
    assert!(
        done.status.success(),
        "scripts/brokers {verb} --instance {instance} {kind}: {}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
}

fn shared_file() -> PathBuf {
    brokers_folder().join("env")
}

pub(crate) fn brokers_folder() -> PathBuf {
    repository().join("target/brokers")
}

/// Asked when the test runs: clones that share a target folder share the compiled tests too.
pub fn repository() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../..").into())
        .into()
}
