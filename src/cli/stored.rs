//! What the commands that look into a state folder have in common.

use std::io;
use std::path::PathBuf;

use super::{ConfigArgs, Failure};

/// Where the state is: the daemon's, or a copy.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct StateArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The state's folder, or a copy of it; left out: the config's `state_dir`
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
        config.state_dir.ok_or_else(|| {
            Failure::usage("the config has no state_dir: nothing outlives the daemon")
        })
    }
}

/// Nobody reads standard output any more: that is no failure.
pub(super) fn printed(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::at_run_time(error)),
        _ => Ok(()),
    }
}
