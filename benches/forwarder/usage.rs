//! What a process and the machine have used, from `/proc`.

use std::fs;
use std::time::{Duration, Instant};

/// The unit of processor time in `/proc`: Linux shows hundredths of a second on all platforms that
/// Rust has a standard library for.
const TICK: Duration = Duration::from_millis(10);

/// Time, processor time and the machine's load between two moments.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    pub(crate) elapsed: Duration,
    /// Of the process, in user and kernel mode.
    pub(crate) cpu: Duration,
    /// Which part of all processors' time somebody used, from 0 to 1.
    pub(crate) machine: f64,
}

impl Used {
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub(crate) fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64()
    }

    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub(crate) fn cpu_micros_each(&self, count: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / count as f64
    }
}

/// Reads what was used since it was made.
pub(crate) struct Meter {
    pid: u32,
    began: Instant,
    cpu: Duration,
    machine: Machine,
}

impl Meter {
    pub(crate) fn start(pid: u32) -> Self {
        Self {
            pid,
            began: Instant::now(),
            cpu: cpu(pid),
            machine: Machine::now(),
        }
    }

    pub(crate) fn used(&self) -> Used {
        Used {
            elapsed: self.began.elapsed(),
            cpu: cpu(self.pid).saturating_sub(self.cpu),
            machine: self.machine.busy_since(),
        }
    }
}

/// The processor time of a process since its start, its ended threads included.
pub(crate) fn cpu(pid: u32) -> Duration {
    const USER: usize = 11;
    const SYSTEM: usize = 12;
    let stat = read(&format!("/proc/{pid}/stat"));
    // The second field is the program's name, which may hold anything.
    let (_, fields) = stat.rsplit_once(')').expect("stat has a name");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<u32>().expect("stat has numbers");
    TICK * (ticks(USER) + ticks(SYSTEM))
}

/// The most memory that a process has had resident, in bytes.
pub(crate) fn peak_memory(pid: u32) -> u64 {
    bytes(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Memory that new programs can have, in bytes.
pub(crate) fn available_memory() -> u64 {
    bytes("/proc/meminfo", "MemAvailable:")
}

/// The processors' time since the machine's start, in ticks.
struct Machine {
    all: u64,
    idle: u64,
}

impl Machine {
    fn now() -> Self {
        const IDLE: usize = 3;
        const WAITING_FOR_DISK: usize = 4;
        // The guests' time, which follows these eight, is in the first two already.
        const KINDS: usize = 8;
        let stat = read("/proc/stat");
        let first = stat.lines().next().expect("stat has a line");
        let ticks: Vec<u64> = first
            .split_whitespace()
            .skip(1)
            .take(KINDS)
            .map(|number| number.parse().expect("stat has numbers"))
            .collect();
        Self {
            all: ticks.iter().sum(),
            idle: ticks[IDLE] + ticks[WAITING_FOR_DISK],
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    fn busy_since(&self) -> f64 {
        let now = Self::now();
        let idle = (now.idle - self.idle) as f64;
        1.0 - idle / (now.all - self.all).max(1) as f64
    }
}

/// A size that `/proc` tells in kibibytes.
fn bytes(path: &str, name: &str) -> u64 {
    let file = read(path);
    let kibibytes = file
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok());
    kibibytes.unwrap_or_else(|| panic!("{path} has no {name}")) * 1024
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
