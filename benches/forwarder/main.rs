//! The whole forwarder, from Central's socket to the broker's confirmation, beside the ceiling: the
//! broker's bare client library, which sends the same bytes with the same guarantees.
//!
//! Use `scripts/bench`: it brings up a broker for this alone. What is measured, and how, is in
//! `docs/performance.md`.

mod amqp;
mod broker;
mod journal;
mod kafka;
mod memory;
mod mqtt;
mod report;
mod run;
mod usage;

use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};

use self::amqp::Amqp;
use self::broker::{Broker, Ceiling};
use self::kafka::Kafka;
use self::mqtt::Mqtt;
use self::report::Report;
use self::run::{Load, Run};

/// How long the paced run lasts, in seconds.
const PACED_SECONDS: u32 = 10;

/// How long the run before it lasts, which nobody measures.
const WARM_UP_SECONDS: u32 = 3;

/// How often the bare client and the forwarder run at full speed, in turns.
const TURNS: usize = 3;

#[derive(Parser)]
struct Arguments {
    /// The sink that is measured
    #[arg(long, value_enum, default_value_t = Sink::Kafka)]
    sink: Sink,
    /// The broker's host:port
    #[arg(long, value_name = "ADDR")]
    at: Option<String>,
    /// Frames of the run at full speed
    #[arg(long, value_name = "N", default_value_t = 200_000,
          value_parser = clap::value_parser!(u32).range(1000..))]
    frames: u32,
    /// Frames a second of the paced run
    #[arg(long, value_name = "N", default_value_t = 2000,
          value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Partitions of each Kafka topic
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// A librdkafka property, for the forwarder and the bare client alike; may be given more than once
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = option)]
    options: Vec<(String, String)>,
    /// Measure the journal instead: its appends, its share of the processor, and what is taken from
    /// the socket while a sink is away
    #[arg(long)]
    journal: bool,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sink {
    Kafka,
    Amqp,
    Mqtt,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (Some(address), true) = (&arguments.at, arguments.bench) else {
        eprintln!("the forwarder is measured by scripts/bench, which brings up a broker");
        return ExitCode::SUCCESS;
    };
    let broker: Box<dyn Broker> = match arguments.sink {
        Sink::Kafka => {
            let options = arguments.options.clone();
            Box::new(Kafka::new(address, arguments.partitions, options))
        }
        Sink::Amqp => Box::new(Amqp::new(address)),
        Sink::Mqtt => Box::new(Mqtt::new(address)),
    };
    if arguments.journal {
        let report = journal::measure(broker.as_ref(), arguments.frames);
        println!("{report}\n{}", report.json());
        return ExitCode::SUCCESS;
    }
    let report = measure(broker.as_ref(), &arguments);
    println!("{report}");
    println!("{}", report.json());
    ExitCode::SUCCESS
}

/// A broker that has only just started compiles itself while it works, turns away the first producer
/// that asks it for an id, and may find memory that costs less than what comes after it: runs come
/// first that do not count. The bare client and the forwarder then take turns, and of each the fastest
/// run counts, so that a machine that is disturbed for a while flatters neither.
fn measure(broker: &dyn Broker, arguments: &Arguments) -> Report {
    eprintln!("memory is taken from the machine's host");
    let _held = memory::Held::take();
    eprintln!("a broker that is fresh is warmed up");
    run::run(broker, Load::paced(arguments.rate, WARM_UP_SECONDS));
    eprintln!("{} frames a second, for {PACED_SECONDS} s", arguments.rate);
    let paced = run::run(broker, Load::paced(arguments.rate, PACED_SECONDS));
    let turn = || {
        let ceiling = ceiling(broker, &paced.destination, arguments.frames);
        (ceiling, full(broker, arguments.frames))
    };
    eprintln!("a turn that does not count");
    turn();
    let (ceilings, fulls): (Vec<_>, Vec<_>) = (0..TURNS).map(|_| turn()).unzip();
    Report {
        broker: broker.description(),
        full: fastest(fulls, |run| run.per_second),
        paced,
        ceiling: fastest(ceilings, Ceiling::per_second),
    }
}

fn fastest<T>(runs: Vec<T>, per_second: impl Fn(&T) -> f64) -> T {
    let fastest = runs
        .into_iter()
        .max_by(|one, other| per_second(one).total_cmp(&per_second(other)));
    fastest.expect("there is a turn")
}

fn ceiling(broker: &dyn Broker, from: &str, records: u32) -> Ceiling {
    settle_disk();
    let ceiling = broker.ceiling(from, records.into());
    eprintln!(
        "the bare client, {records} records: {:.0} a second",
        ceiling.per_second()
    );
    ceiling
}

fn full(broker: &dyn Broker, frames: u32) -> Run {
    settle_disk();
    let full = run::run(broker, Load::full(frames));
    broker.discard(&full.destination);
    eprintln!(
        "{frames} frames, as fast as they are taken: {:.0} a second",
        full.per_second
    );
    full
}

/// What one run has left to be written is not for the next one to wait for.
fn settle_disk() {
    let synced = Command::new("sync").status();
    assert!(synced.is_ok_and(|status| status.success()), "sync failed");
}

fn option(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("it needs a =")?;
    Ok((name.to_owned(), value.to_owned()))
}
