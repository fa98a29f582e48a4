//! `config`: what is known about the config itself.

use std::io::{self, Write as _};

use super::Failure;
use crate::config;

/// What is known about the config itself
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum Command {
    /// Its JSON Schema, for editors
    Schema,
}

/// Prints it.
///
/// # Errors
/// Standard output takes nothing.
pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Schema => {
            writeln!(io::stdout(), "{:#}", config::schema()).map_err(Failure::at_run_time)
        }
    }
}
