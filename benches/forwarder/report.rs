//! What was measured, for people and for programs.

use std::fmt;

use serde_json::{Value, json};

use crate::broker::Ceiling;
use crate::run::Run;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

pub(crate) struct Report {
    pub(crate) broker: String,
    pub(crate) full: Run,
    pub(crate) paced: Run,
    pub(crate) ceiling: Ceiling,
}

impl Report {
    pub(crate) fn json(&self) -> Value {
        let Self {
            full,
            paced,
            ceiling,
            ..
        } = self;
        json!({
            "broker": self.broker,
            "frames": full.load.frames,
            "payload_bytes": ceiling.payload_bytes,
            "frames_per_second": round(full.per_second),
            "ratio": round(self.ratio()),
            "cpu_us_per_frame": round(cpu(full)),
            "simulator_cpu_us_per_frame": round(simulator_cpu(full)),
            "peak_memory_bytes": full.peak_memory,
            "p50_ms": full.latency.p50,
            "p99_ms": full.latency.p99,
            "machine_busy": round(full.used.machine),
            "paced": {
                "rate": paced.load.rate,
                "frames": paced.load.frames,
                "frames_per_second": round(paced.per_second),
                "cpu_us_per_frame": round(cpu(paced)),
                "peak_memory_bytes": paced.peak_memory,
                "p50_ms": paced.latency.p50,
                "p99_ms": paced.latency.p99,
                "machine_busy": round(paced.used.machine),
            },
            "ceiling": {
                "records_per_second": round(ceiling.per_second()),
                "cpu_us_per_record": round(ceiling_cpu(ceiling)),
                "machine_busy": round(ceiling.used.machine),
            },
        })
    }

    /// How near the forwarder comes to the bare client.
    fn ratio(&self) -> f64 {
        self.full.per_second / self.ceiling.per_second()
    }

    fn rows(&self) -> [[String; 4]; 7] {
        let Self {
            full,
            paced,
            ceiling,
            ..
        } = self;
        let rates = [full.per_second, paced.per_second, ceiling.per_second()];
        [
            row("records/s", rates, 0),
            row("payload, MiB/s", rates.map(|rate| self.mebibytes(rate)), 1),
            row(
                "CPU us per record",
                [cpu(full), cpu(paced), ceiling_cpu(ceiling)],
                1,
            ),
            texts(
                "peak memory, MiB",
                [memory(full), memory(paced), String::new()],
            ),
            texts(
                "p50, ms",
                [
                    millis(full.latency.p50),
                    millis(paced.latency.p50),
                    String::new(),
                ],
            ),
            texts(
                "p99, ms",
                [
                    millis(full.latency.p99),
                    millis(paced.latency.p99),
                    String::new(),
                ],
            ),
            row(
                "machine busy, %",
                [full.used, paced.used, ceiling.used].map(|used| used.machine * 100.0),
                0,
            ),
        ]
    }

    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    fn mebibytes(&self, rate: f64) -> f64 {
        rate * self.ceiling.payload_bytes as f64 / MEBIBYTE
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            full,
            paced,
            ceiling,
            ..
        } = self;
        writeln!(f, "{}", self.broker)?;
        writeln!(
            f,
            "{} monitoring frames at full speed, {} at {} a second; {} bytes as JSON",
            full.load.frames, paced.load.frames, paced.load.rate, ceiling.payload_bytes,
        )?;
        let heads = texts(
            "",
            ["full speed", "paced", "bare client"].map(str::to_owned),
        );
        for [name, full, paced, bare] in [heads].into_iter().chain(self.rows()) {
            writeln!(f, "{name:<18} {full:>12} {paced:>12} {bare:>12}")?;
        }
        writeln!(
            f,
            "full speed is {:.2} of the bare client; the simulator took {:.1} us per frame",
            self.ratio(),
            simulator_cpu(full),
        )
    }
}

fn cpu(run: &Run) -> f64 {
    run.used.cpu_micros_each(u64::from(run.load.frames))
}

fn simulator_cpu(run: &Run) -> f64 {
    run.simulator_cpu.as_secs_f64() * 1e6 / f64::from(run.load.frames)
}

fn ceiling_cpu(ceiling: &Ceiling) -> f64 {
    ceiling.used.cpu_micros_each(ceiling.records)
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn memory(run: &Run) -> String {
    format!("{:.1}", run.peak_memory as f64 / MEBIBYTE)
}

fn millis(value: f64) -> String {
    format!("{value:.1}")
}

fn row(name: &str, values: [f64; 3], decimals: usize) -> [String; 4] {
    texts(name, values.map(|value| format!("{value:.decimals$}")))
}

fn texts(name: &str, [full, paced, bare]: [String; 3]) -> [String; 4] {
    [name.to_owned(), full, paced, bare]
}

/// To two decimals.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
