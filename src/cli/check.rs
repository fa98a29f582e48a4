//! `central-forwarder check`: every mistake of a config at once.

use std::process::ExitCode;

use super::ConfigArgs;
use crate::config::Config;

/// The exit code for bad usage and bad config.
const BAD_CONFIG: u8 = 2;

/// Read the config and report every mistake at once
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Prints what is wrong to standard error, or what there is to standard output.
#[must_use]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is its whole job"
)]
pub fn run(args: &Args) -> ExitCode {
    match args.config.load() {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            println!("ok: {}", summary(&loaded.config));
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            eprintln!("{mistakes}");
            ExitCode::from(BAD_CONFIG)
        }
    }
}

fn summary(config: &Config) -> String {
    let subscriptions = config.accounts.values().map(|account| account.topics.len());
    [
        count(config.accounts.len(), "account"),
        count(subscriptions.sum(), "subscription"),
        count(config.sinks.len(), "sink"),
        count(config.routes.len(), "route"),
    ]
    .join(", ")
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
