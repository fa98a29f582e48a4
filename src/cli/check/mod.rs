//! `check`: every mistake of a config at once and, on request, whether everything that it names answers.

mod connect;

use std::io::{self, Write as _};

use super::{ConfigArgs, Failure, block_on};
use crate::config::Config;
use crate::daemon;

/// Read the config and report every mistake at once
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also connect to every account and every sink, and print what answered
    #[arg(long)]
    connect: bool,
}

/// Prints a summary of the config, or everything that is wrong with it.
///
/// # Errors
/// Every mistake in the config; with `--connect`, that something did not answer as it should.
pub fn run(args: &Args) -> Result<(), Failure> {
    let loaded = args.config.load().map_err(Failure::usage)?;
    block_on(async { daemon::try_out(&loaded.config) })?.map_err(Failure::usage)?;
    for warning in &loaded.warnings {
        writeln!(io::stderr(), "warning: {warning}").map_err(Failure::at_run_time)?;
    }
    writeln!(io::stdout(), "ok: {}", summary(&loaded.config)).map_err(Failure::at_run_time)?;
    if args.connect {
        block_on(connect::try_all(&loaded.config))?.map_err(Failure::at_run_time)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn one_is_singular() {
        assert_eq!(count(1, "sink"), "1 sink");
        assert_eq!(count(0, "sink"), "0 sinks");
        assert_eq!(count(6, "sink"), "6 sinks");
    }
}
