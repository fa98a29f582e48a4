//! Arguments to a command, and its result to an exit code.

use std::process::ExitCode;

use central_forwarder::cli::{self, Command};
use clap::Parser;

/// Bridges the event streams of HPE Aruba Networking Central to Kafka, AMQP and MQTT.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    match cli::execute(Arguments::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}
