//! How fast frames are taken from the socket while the sink takes all and while it is away, and how
//! many processors the sink uses when it is back.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Pair;
use crate::run::{Load, Simulator};
use crate::support::eventually;
use crate::support::forwarder::Forwarder;
use crate::support::http;
use crate::usage::{Meter, Used};

const PATIENCE: Duration = Duration::from_secs(300);
const ADMIN: &str = "admin endpoint: http://";
const RECEIVED: &str = "central_forwarder_subscription_frames_total{";
const LAG: &str = "central_forwarder_sink_lag_frames{";

pub(super) fn measure(frames: u32, turns: usize) -> (Pair, Vec<f64>) {
    let (mut ingest, mut processors) = (Pair::default(), Vec::new());
    for _ in 0..turns {
        let mut away = Bench::start(frames, "no-such-folder/records");
        ingest.ours.push(away.frames_a_second());
        processors.push(away.processors_of_the_sink());
        let mut works = Bench::start(frames, "/dev/null");
        ingest.other.push(works.frames_a_second());
    }
    (ingest, processors)
}

/// A forwarder with one sink, which writes to a file, or to one whose folder is not there.
struct Bench {
    folder: tempfile::TempDir,
    simulator: Simulator,
    forwarder: Forwarder,
    admin: SocketAddr,
    frames: u32,
}

impl Bench {
    fn start(frames: u32, path: &str) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let simulator = Simulator::start(Load::full(frames));
        write_config(folder.path(), &simulator.endpoint, path, "");
        let config = folder.path().join("bench.toml");
        let mut forwarder =
            Forwarder::start(&["run", "-c", config.to_str().expect("the path is text")]);
        forwarder.wait_for_stderr(PATIENCE, ADMIN);
        let admin = admin_of(&forwarder.stderr());
        Self {
            folder,
            simulator,
            forwarder,
            admin,
            frames,
        }
    }

    /// From the first that was seen to the last.
    fn frames_a_second(&mut self) -> f64 {
        let mut early = 0;
        self.until("the first frames are taken", |bench| {
            early = bench.metric(RECEIVED);
            early > 0
        });
        let began = Instant::now();
        self.until("all frames are taken", |bench| {
            bench.metric(RECEIVED) >= u64::from(bench.frames)
        });
        let taken = u64::from(self.frames) - early;
        used_since(began).per_second(taken)
    }

    /// The sink comes back and makes a record of each element. Nothing is received any more.
    fn processors_of_the_sink(&mut self) -> f64 {
        let endpoint = &self.simulator.endpoint;
        write_config(self.folder.path(), endpoint, "/dev/null", "split = true");
        let meter = Meter::start(self.forwarder.pid());
        self.forwarder.signal("HUP");
        self.until("the sink has caught up", |bench| bench.metric(LAG) == 0);
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
    fn metric(&self, name: &str) -> u64 {
        let text = http::ask(self.admin, "GET", "/metrics", &[]).body;
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit_once(' '))
            .map_or(0, |(_, number)| number.parse().expect("a count"))
    }
}

fn used_since(began: Instant) -> Used {
    Used {
        elapsed: began.elapsed(),
        cpu: Duration::ZERO,
        machine: 0.0,
    }
}

fn admin_of(log: &str) -> SocketAddr {
    let found = log
        .split_once(ADMIN)
        .and_then(|(_, rest)| rest.split_once('/'));
    let address = found.and_then(|(address, _)| address.parse().ok());
    address.expect("it says where it listens")
}

fn write_config(folder: &Path, endpoint: &str, path: &str, route: &str) {
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

[[routes]]
topics = ["monitoring"]
sink = "bench"
{route}
"#,
        folder.join("state").display(),
        folder.join(path).display(),
    );
    fs::write(folder.join("bench.toml"), text).expect("the config can be written");
}
