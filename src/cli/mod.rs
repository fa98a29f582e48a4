//! One file a subcommand: parse, call the library, print.

pub mod check;
pub mod dead_letters;
pub mod decode;
pub mod demo;
pub mod healthcheck;
pub mod import;
pub mod journal;
mod logging;
pub mod rewind;
pub mod run;
pub mod schema;
pub mod simulate;
mod state_dir;
pub mod tail;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{self, ConfigErrors, Loaded};
use crate::process::scheduling::set_batch_scheduling;
use crate::sink::{self, kafka};

/// The exit code for bad usage and bad config.
const BAD_USAGE: u8 = 2;

/// Bridges the event streams of HPE Aruba Networking Central to Kafka, AMQP and MQTT.
#[derive(Clone, Debug, clap::Parser)]
#[command(version, about, name = "central-forwarder", max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    Run(run::Args),
    Check(check::Args),
    #[command(subcommand)]
    Config(schema::Command),
    Demo(demo::Args),
    Decode(decode::Args),
    Tail(Box<tail::Args>),
    Import(import::Args),
    #[command(subcommand)]
    Journal(journal::Command),
    Rewind(rewind::Args),
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    Simulate(Box<simulate::Args>),
    Healthcheck(healthcheck::Args),
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: ExitCode,
}

impl Failure {
    /// The arguments or the config are wrong.
    fn usage(error: impl fmt::Display) -> Self {
        Self {
            message: error.to_string(),
            code: ExitCode::from(BAD_USAGE),
        }
    }

    /// It failed at run time.
    fn at_run_time(error: impl fmt::Display) -> Self {
        Self {
            message: format!("central-forwarder: {error}"),
            code: ExitCode::FAILURE,
        }
    }

    fn of_the_daemon(error: run::Error) -> Self {
        if error.is_usage() {
            Self::usage(error)
        } else {
            Self::at_run_time(error)
        }
    }

    /// What the process exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Carries a command out.
///
/// # Errors
/// What went wrong, and the exit code for it.
pub fn execute(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Decode(args) => return Ok(decode::run(&args)),
        Command::Check(args) => check::run(&args),
        Command::Config(command) => schema::run(command),
        Command::Import(args) => import::run(&args),
        Command::Tail(args) => block_on(tail::run(*args))?,
        Command::Journal(command) => return journal::run(&command),
        Command::Rewind(args) => rewind::run(&args),
        Command::DeadLetters(command) => block_on(dead_letters::run(command))?,
        Command::Run(args) => {
            set_batch_scheduling();
            block_on(run::run(args))?.map_err(Failure::of_the_daemon)
        }
        Command::Healthcheck(args) => block_on(healthcheck::run(args))?,
        Command::Demo(args) => block_on(demo::run(args))?.map_err(Failure::at_run_time),
        Command::Simulate(args) => block_on(simulate::run(*args))?.map_err(Failure::at_run_time),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn block_on<T>(command: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::at_run_time)?;
    Ok(runtime.block_on(command))
}

/// Where the config is, for the commands that need one.
#[derive(clap::Args, Clone, Debug)]
pub struct ConfigArgs {
    /// A TOML file, or a folder that stands for its *.toml in the order of their names; several
    /// are layered in order
    #[arg(short, long = "config", value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: Vec<PathBuf>,
}

impl ConfigArgs {
    /// Reads the files and the environment.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        // Variables that are not UTF-8 cannot be meant for the config.
        let env = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let loaded = config::load(&self.config, env, kafka::check_option)?;
        sink::check(&loaded.config)?;
        Ok(loaded)
    }
}
