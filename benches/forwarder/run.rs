//! One run of the forwarder, between a simulated Central and a broker.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker::Broker;
use crate::usage::{self, Meter, Used};
use support::eventually;
use support::forwarder::Forwarder;

/// How long a process may take to come up, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long all records may take to arrive.
const RUN: Duration = Duration::from_secs(300);

/// What the simulator sends.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) frames: u32,
    /// Frames a second; 0 is as fast as the forwarder reads.
    pub(crate) rate: u32,
    backlog: Backlog,
}

/// What the sink has not had yet.
#[derive(Clone, Copy)]
enum Backlog {
    /// As large as it becomes.
    OnDisk,
    /// No larger than a journal in memory may be: what does not fit waits in the socket.
    Held { in_memory: bool },
}

impl Load {
    pub(crate) fn full(frames: u32) -> Self {
        Self {
            frames,
            rate: 0,
            backlog: Backlog::OnDisk,
        }
    }

    /// At full speed, with a backlog of the same size on disk and in memory.
    pub(crate) fn held(frames: u32, in_memory: bool) -> Self {
        Self {
            backlog: Backlog::Held { in_memory },
            ..Self::full(frames)
        }
    }

    pub(crate) fn paced(rate: u32, seconds: u32) -> Self {
        let frames = rate.saturating_mul(seconds);
        Self {
            frames,
            rate,
            backlog: Backlog::OnDisk,
        }
    }
}

/// What was measured.
pub(crate) struct Run {
    pub(crate) load: Load,
    /// Where the records are.
    pub(crate) destination: String,
    /// From the first record's arrival at the broker to the last one's.
    pub(crate) per_second: f64,
    /// Of the forwarder, from its start to the last record's arrival.
    pub(crate) used: Used,
    /// The simulator's processor time.
    pub(crate) simulator_cpu: Duration,
    /// Bytes.
    pub(crate) peak_memory: u64,
    pub(crate) latency: Latency,
}

/// From the socket to the broker's confirmation, in milliseconds.
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// # Panics
/// A process fails, or a record does not arrive in time.
pub(crate) fn run(broker: &dyn Broker, load: Load) -> Run {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the run");
    let destination = broker.fresh_destination();
    let mut arrived = broker.arrivals(&destination);
    let simulator = Simulator::start(load);
    let config = folder.path().join("bench.toml");
    fs::write(
        &config,
        toml(broker, load, &simulator, &destination, folder.path()),
    )
    .expect("the config can be written");
    let config = config.to_str().expect("the path is text");

    let mut forwarder = Forwarder::start(&["run", "-c", config]);
    let meter = Meter::start(forwarder.pid());
    let frames = u64::from(load.frames);
    let early = wait_for(&mut forwarder, &mut arrived, 1);
    let first = Instant::now();
    wait_for(&mut forwarder, &mut arrived, frames);
    let elapsed = first.elapsed();
    let used = Used {
        // The process is new: what it has used before the meter ran is its own too.
        cpu: usage::cpu(forwarder.pid()),
        ..meter.used()
    };
    let peak_memory = usage::peak_memory(forwarder.pid());
    let simulator_cpu = usage::cpu(simulator.process.pid());
    Run {
        load,
        destination,
        per_second: Used { elapsed, ..used }.per_second(frames - early),
        used,
        simulator_cpu,
        peak_memory,
        latency: end(&mut forwarder, frames),
    }
}

/// Waits until so many records have arrived, and tells how many have.
fn wait_for(forwarder: &mut Forwarder, arrived: &mut dyn FnMut() -> u64, count: u64) -> u64 {
    let mut there = 0;
    eventually(RUN, "the records arrive", || {
        there = arrived();
        let running = forwarder.is_running();
        assert!(running, "the forwarder ended:\n{}", forwarder.stderr());
        there >= count
    });
    there
}

/// Ends the forwarder as an operator does, and reads what it says of itself.
///
/// # Panics
/// It does not end well, or the broker has confirmed another number of records.
fn end(forwarder: &mut Forwarder, frames: u64) -> Latency {
    forwarder.terminate();
    let status = forwarder.wait(PATIENCE);
    let log = forwarder.stderr();
    assert!(
        status.success(),
        "the forwarder ended with {status}:\n{log}"
    );
    let drained = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["message"] == "drained")
        .unwrap_or_else(|| panic!("the forwarder has not said what it did:\n{log}"));
    assert_eq!(drained["confirmed"], frames, "records that were confirmed");
    let millis = |name| {
        let value = &drained[name];
        value
            .as_f64()
            .unwrap_or_else(|| panic!("{name} of {drained}"))
    };
    Latency {
        p50: millis("p50_ms"),
        p99: millis("p99_ms"),
    }
}

fn toml(
    broker: &dyn Broker,
    load: Load,
    simulator: &Simulator,
    destination: &str,
    folder: &Path,
) -> String {
    let state = format!("state_dir = '{}'\n", folder.join("state").display());
    let held = "max_backlog = \"256 MiB\"\non_full = \"block\"\n";
    let (state, held) = match load.backlog {
        Backlog::OnDisk => (state, ""),
        Backlog::Held { in_memory: false } => (state, held),
        Backlog::Held { in_memory: true } => (String::new(), held),
    };
    format!(
        r#"{state}

[log]
format = "json"

[accounts.bench]
generation = "classic"
endpoint = "{}"
key = "simulated-key"
topics = ["monitoring"]

[sinks.bench]
{}{held}
[[routes]]
topics = ["monitoring"]
sink = "bench"
destination = "{destination}"
format = "json"
json = "readable"
{}"#,
        simulator.endpoint,
        broker.sink(),
        broker.route(),
    )
}

/// A simulated Central in a process of its own, ended with this value.
pub(crate) struct Simulator {
    process: Forwarder,
    pub(crate) endpoint: String,
}

impl Simulator {
    pub(crate) fn start(load: Load) -> Self {
        let mut process = Forwarder::start(&[
            "simulate",
            "--listen=127.0.0.1:0",
            "--topic=monitoring",
            &format!("--rate={}", load.rate),
            &format!("--count={}", load.frames),
        ]);
        let mut endpoint = None;
        eventually(PATIENCE, "the simulator listens", || {
            let running = process.is_running();
            assert!(running, "the simulator ended:\n{}", process.stderr());
            let printed = process.stdout();
            endpoint = printed
                .split_once('\n')
                .and_then(|(line, _)| line.strip_prefix("simulating Central at "))
                .map(str::to_owned);
            endpoint.is_some()
        });
        Self {
            process,
            endpoint: endpoint.expect("eventually returns only when there is one"),
        }
    }
}
