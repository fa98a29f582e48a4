//! `config`: what the config may contain.

use std::io::{self, Write as _};

use super::Failure;
use crate::config;

/// Describe what the config may contain
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum Command {
    /// Print the JSON Schema of the config, for editors
    Schema,
}

/// Prints it.
///
/// # Errors
/// Standard output takes nothing.
pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Schema => {
            writeln!(io::stdout(), "{:#}", config::json_schema()).map_err(Failure::at_run_time)
        }
    }
}
