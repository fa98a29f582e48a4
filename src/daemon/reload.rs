//! Reading the config again while the daemon runs.
//!
//! The new config is read and tried out as a whole: schemas and routes are compiled, certificates are
//! read, cursors of new sinks are made. Only if all of that succeeds is something touched, and only
//! what differs: a changed route closes no connection, a changed sink reconnects alone, a changed
//! account keeps its old connections until the new ones are up.

use std::fmt;
use std::sync::Arc;

use super::error::ReloadError;
use super::view::Reloaded;
use crate::config::{Config, ConfigErrors, Loaded};
use crate::delivery::Plan;
use crate::supervise::blocking;

/// Reads the config again.
#[derive(Clone)]
pub struct Loader(Arc<Load>);

type Load = dyn Fn() -> Result<Loaded, ConfigErrors> + Send + Sync;

impl Loader {
    pub fn new(load: impl Fn() -> Result<Loaded, ConfigErrors> + Send + Sync + 'static) -> Self {
        Self(Arc::new(load))
    }

    /// For a daemon without reloads.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|| Err(ConfigErrors::new(Vec::new())))
    }

    /// Reads the files and compiles the schemas, on a thread for blocking work.
    pub(super) async fn load(&self) -> Result<(Loaded, Plan), ReloadError> {
        let load = Arc::clone(&self.0);
        let loaded = blocking(move || {
            let loaded = load()?;
            let plan = Plan::new(&loaded.config)?;
            Ok::<_, ConfigErrors>((loaded, plan))
        });
        Ok(loaded.await??)
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loader")
    }
}

/// The new config, but for what takes effect after a restart only.
pub(super) fn in_effect(new: Config, running: &Config) -> Config {
    Config {
        state_dir: running.state_dir.clone(),
        log: running.log.clone(),
        journal: running.journal.clone(),
        admin: running.admin.clone(),
        ..new
    }
}

pub(super) fn log(outcome: &Result<Reloaded, ReloadError>) {
    match outcome {
        Ok(reloaded) => {
            for warning in &reloaded.warnings {
                tracing::warn!("{warning}");
            }
            for key in &reloaded.after_restart {
                tracing::warn!("{key} differs, and takes effect after a restart only");
            }
            if reloaded.changed.is_empty() {
                tracing::info!("reloaded: nothing has changed; the schemas were read again");
            } else {
                tracing::info!("reloaded: {}", reloaded.changed.join(", "));
            }
        }
        Err(ReloadError::ConfigErrors(mistakes)) => {
            for mistake in mistakes.diagnostics() {
                tracing::error!("{mistake}");
            }
            tracing::error!("not reloaded: the config has mistakes, and nothing has changed");
        }
        Err(error) => tracing::error!("not reloaded, and nothing has changed: {error}"),
    }
}
