//! What the journal costs, beside what there would be without it. Each pair is measured in turns in
//! one run, so that whatever else the machine does falls on both alike.

mod append;
mod ingest;

use std::fmt;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::run::{self, Load};

const TURNS: usize = 5;

/// One figure of two ways, a value for each turn.
#[derive(Default)]
struct Pair {
    ours: Vec<f64>,
    other: Vec<f64>,
}

pub(crate) struct Report {
    /// MiB a second until synced: through the journal, and plainly into files.
    append: Pair,
    /// Microseconds of processor time for each frame: with the journal on disk, and in memory.
    cpu: Pair,
    /// Frames a second that are taken from the socket: while the only sink is away, and while it
    /// takes all.
    ingest: Pair,
    /// Processors that one sink keeps busy when it catches up; nothing else is done meanwhile.
    processors: Vec<f64>,
}

pub(crate) fn measure(broker: &dyn Broker, frames: u32) -> Report {
    eprintln!("appends, {TURNS} times each way");
    let append = append::measure(TURNS);
    eprintln!("{append}");
    let mut cpu = Pair::default();
    for turn in 1..=TURNS {
        eprintln!("{frames} frames with the journal on disk and in memory, {turn} of {TURNS}");
        cpu.ours.push(cpu_of(broker, Load::held(frames, false)));
        cpu.other.push(cpu_of(broker, Load::held(frames, true)));
    }
    eprintln!("{cpu}");
    eprintln!("{frames} frames for a sink that is away and one that takes all, {TURNS} times");
    let (ingest, processors) = ingest::measure(frames, TURNS);
    Report {
        append,
        cpu,
        ingest,
        processors,
    }
}

fn cpu_of(broker: &dyn Broker, load: Load) -> f64 {
    let run = run::run(broker, load);
    run.used.cpu_micros_each(u64::from(load.frames))
}

impl Pair {
    fn ratio(&self) -> f64 {
        median(&self.ours) / median(&self.other)
    }

    fn json(&self) -> Value {
        json!({
            "ours": round(median(&self.ours)),
            "other": round(median(&self.other)),
            "ratio": round(self.ratio()),
        })
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ours, other) = (spread(&self.ours), spread(&self.other));
        write!(f, "{ours} : {other} = {:.2}", self.ratio())
    }
}

impl Report {
    pub(crate) fn json(&self) -> Value {
        json!({
            "append_mib_per_second": self.append.json(),
            "cpu_us_per_frame": self.cpu.json(),
            "ingest_frames_per_second": self.ingest.json(),
            "processors_of_one_sink": round(median(&self.processors)),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = [
            ("append, MiB/s", "journal", "plain files", &self.append),
            ("CPU us per frame", "on disk", "in memory", &self.cpu),
            ("ingest, frames/s", "sink away", "sink works", &self.ingest),
        ];
        writeln!(f, "medians of {TURNS} turns, and in brackets the extremes")?;
        for (what, ours, other, pair) in pairs {
            let (ours_is, other_is) = (spread(&pair.ours), spread(&pair.other));
            let ratio = pair.ratio();
            writeln!(
                f,
                "{what:<18} {ours}: {ours_is}, {other}: {other_is}; ratio {ratio:.2}"
            )?;
        }
        let busy = spread(&self.processors);
        writeln!(f, "{:<18} {busy}", "processors a sink")
    }
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    let decimals = if most < 1000.0 { 2 } else { 0 };
    let middle = median(values);
    format!("{middle:.decimals$} ({least:.decimals$} to {most:.decimals$})")
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// To two decimals.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
