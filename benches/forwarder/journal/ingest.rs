//! How fast frames are taken from the socket while the sink takes all and while it is away, and how
//! many processors the sink uses when it is back.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Pair;
use crate::run::{Load, Simulator};
use crate::usage::Meter;
use support::eventually;
use support::forwarder::Forwarder;
use support::http;

const PATIENCE: Duration = Duration::from_secs(300);
/// Files that cost the sink no waiting: what is measured is the forwarder.
const IN_MEMORY: &str = "/dev/shm";
const ADMIN: &str = "admin endpoint: http://";
const RECEIVED: &str = "central_forwarder_subscription_frames_total{";
const LAG: &str = "central_forwarder_sink_lag_frames{";

pub(super) fn measure(frames: u32, turns: usize) -> (Pair, Vec<f64>) {
    let (mut ingest, mut processors) = (Pair::default(), Vec::new());
    for _ in 0..turns {
        let mut away = Bench::start(frames, "no-such-folder");
        ingest.ours.push(away.frames_a_second());
        processors.push(away.processors_of_the_sink());
        let mut works = Bench::start(frames, "");
        ingest.other.push(works.frames_a_second());
    }
    (ingest, processors)
}

/// A forwarder with one sink, which writes to a file, or to one whose folder is not there.
struct Bench {
    forwarder: Forwarder,
    simulator: Simulator,
    folder: tempfile::TempDir,
    records: tempfile::TempDir,
    admin: SocketAddr,
    frames: u32,
}

impl Bench {
    fn start(frames: u32, missing: &str) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let records = tempfile::tempdir_in(IN_MEMORY).expect("a folder in memory");
        let simulator = Simulator::start(Load::full(frames));
        let to = records.path().join(missing);
        write_config(folder.path(), &simulator.endpoint, &to, "");
        let config = folder.path().join("bench.toml");
        let mut forwarder =
            Forwarder::start(&["run", "-c", config.to_str().expect("the path is text")]);
        forwarder.wait_for_stderr(PATIENCE, ADMIN);
        let admin = admin_of(&forwarder.stderr());
        Self {
            forwarder,
            simulator,
            folder,
            records,
            admin,
            frames,
        }
    }

    /// From the first that was seen to the last.
    fn frames_a_second(&mut self) -> f64 {
        let mut early = 0.0;
        self.until("the first frames are taken", |bench| {
            early = bench.metric(RECEIVED);
            early > 0.0
        });
        let began = Instant::now();
        self.until("all frames are taken", |bench| {
            bench.metric(RECEIVED) >= f64::from(bench.frames)
        });
        (f64::from(self.frames) - early) / began.elapsed().as_secs_f64()
    }

    /// The sink comes back and makes a record of each element. Nothing is received any more.
    fn processors_of_the_sink(&mut self) -> f64 {
        let endpoint = &self.simulator.endpoint;
        let to = self.records.path();
        write_config(self.folder.path(), endpoint, to, "split = true");
        let meter = Meter::start(self.forwarder.pid());
        self.forwarder.signal("HUP");
        self.until("the sink has caught up", |bench| bench.metric(LAG) < 1.0);
        let used = meter.used();
        used.cpu.as_secs_f64() / used.elapsed.as_secs_f64()
    }

    fn until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        eventually(PATIENCE, what, || {
            let running = self.forwarder.is_running();
            assert!(running, "it ended:\n{}", self.forwarder.stderr());
            condition(self)
        });
    }

    /// The one sample of a family; there is none before the subscription has begun.
    fn metric(&self, name: &str) -> f64 {
        let text = http::ask(self.admin, "GET", "/metrics", &[]).body;
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit_once(' '))
            .map_or(0.0, |(_, number)| number.parse().expect("a number"))
    }
}

fn admin_of(log: &str) -> SocketAddr {
    let found = log
        .split_once(ADMIN)
        .and_then(|(_, rest)| rest.split_once('/'));
    let address = found.and_then(|(address, _)| address.parse().ok());
    address.expect("it says where it listens")
}

fn write_config(folder: &Path, endpoint: &str, records: &Path, route: &str) {
    let text = format!(
        r#"state_dir = '{}'

[admin]
listen = "127.0.0.1:0"

[accounts.bench]
generation = "classic"
endpoint = "{endpoint}"
key = "simulated-key"
topics = ["monitoring"]

[sinks.bench]
type = "file"
path = '{}'
rotate = {{ max_bytes = "16 MiB", keep = 1 }}

[[routes]]
topics = ["monitoring"]
sink = "bench"
{route}
"#,
        folder.join("state").display(),
        records.join("records").display(),
    );
    fs::write(folder.join("bench.toml"), text).expect("the config can be written");
}
