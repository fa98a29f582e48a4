//! Arguments to a command, and its result to an exit code.

use std::process::ExitCode;

use central_forwarder::cli::{self, Arguments};
use clap::Parser as _;

fn main() -> ExitCode {
    match cli::execute(Arguments::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}
