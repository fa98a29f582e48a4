//! What a new config changes in the daemon while it runs.
//!
//! Schemas and routes are replaced together, for the next batch of frames; no socket and no sink is
//! touched. All else waits for a restart.

use std::fmt;
use std::sync::Arc;

use super::view::{LastReload, Reloaded};
use super::{Daemon, ReloadError};
use crate::config::{self, Loaded, Mistakes};
use crate::delivery::Plan;
use crate::frame::Timestamp;

/// Reads the config anew.
#[derive(Clone)]
pub struct Loader(Arc<Read>);

type Read = dyn Fn() -> Result<Loaded, Mistakes> + Send + Sync;

impl Loader {
    pub fn new(read: impl Fn() -> Result<Loaded, Mistakes> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// For a daemon that nobody can ask for a reload.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|| Err(Mistakes::new(Vec::new())))
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loader")
    }
}

impl Daemon {
    /// Reads the config anew and puts what differs into effect. On any mistake nothing changes.
    pub(super) async fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        let outcome = match self.read_anew().await {
            Ok((loaded, plan)) => Ok(self.apply(loaded, plan)),
            Err(error) => Err(error),
        };
        log(&outcome);
        self.show(Some(LastReload {
            at: Timestamp::now(),
            outcome: match &outcome {
                Ok(reloaded) => Ok(reloaded.clone()),
                Err(error) => Err(error.to_string().lines().map(str::to_owned).collect()),
            },
        }));
        outcome
    }

    /// Reads files and compiles schemas, which takes a while.
    async fn read_anew(&self) -> Result<(Loaded, Plan), ReloadError> {
        let read = Arc::clone(&self.loader.0);
        let reading = tokio::task::spawn_blocking(move || {
            let loaded = read()?;
            let plan = Plan::new(&loaded.config)?;
            Ok::<_, Mistakes>((loaded, plan))
        });
        tokio::select! {
            biased;
            () = self.drain.cancelled() => Err(ReloadError::Ending),
            read = reading => Ok(read.map_err(|bug| ReloadError::Bug(bug.to_string()))??),
        }
    }

    fn apply(&mut self, loaded: Loaded, plan: Plan) -> Reloaded {
        plan.replace(&self.plans);
        let old = self.config();
        let after_restart = config::needs_restart(&old, &loaded.config);
        let config = config::Config {
            routes: loaded.config.routes,
            schemas: loaded.config.schemas,
            ..(*old).clone()
        };
        self.view.send_modify(|view| {
            let view = Arc::make_mut(view);
            view.config = Arc::new(config);
            view.generation += 1;
        });
        Reloaded {
            changed: vec!["routes".to_owned(), "schemas".to_owned()],
            after_restart,
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        }
    }
}

fn log(outcome: &Result<Reloaded, ReloadError>) {
    match outcome {
        Ok(reloaded) => {
            for warning in &reloaded.warnings {
                tracing::warn!("{warning}");
            }
            for key in &reloaded.after_restart {
                tracing::warn!("{key} takes effect after a restart only");
            }
            tracing::info!("reloaded: schemas and routes are in effect");
        }
        Err(ReloadError::Mistakes(mistakes)) => {
            for mistake in mistakes.remarks() {
                tracing::error!("{mistake}");
            }
            tracing::error!("not reloaded: the config has mistakes, and nothing has changed");
        }
        Err(error) => tracing::error!("not reloaded: {error}"),
    }
}
