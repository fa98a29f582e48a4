//! One file a subcommand: parse, call the library, print.

pub mod check;
pub mod decode;
pub mod simulate;

use std::path::PathBuf;

use clap::Args;

use crate::config::{self, Loaded, Mistakes};

/// Where the config is, for the commands that need one.
#[derive(Args, Clone, Debug)]
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
    pub fn load(&self) -> Result<Loaded, Mistakes> {
        // Names and values that are not UTF-8 cannot be meant for the config.
        let env = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        config::load(&self.config, env, |_, _| Ok(()))
    }
}
