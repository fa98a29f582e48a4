//! What the commands that read a state folder have in common.

use std::io;
use std::path::PathBuf;

use super::{ConfigArgs, Failure};

/// Where the state is: the daemon's own folder, or a copy.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct StateArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The state folder, or a copy of it [default: the config's `state_dir`]
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
}

impl StateArgs {
    /// # Errors
    /// The config is needed and has mistakes, or has no `state_dir`.
    pub(super) fn folder(&self) -> Result<PathBuf, Failure> {
        if let Some(folder) = &self.state_dir {
            return Ok(folder.clone());
        }
        let config = self.config.load().map_err(Failure::usage)?.config;
        config
            .state_dir
            .ok_or_else(|| Failure::usage("the config has no state_dir, so that nothing is stored"))
    }
}

/// A reader that has closed standard output has seen enough: that is no failure.
pub(super) fn printed(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::at_run_time(error)),
        _ => Ok(()),
    }
}
