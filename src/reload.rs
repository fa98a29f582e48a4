//! What a new config changes in the daemon while it runs.
//!
//! Schemas and routes are replaced together, for the next batch of frames; no socket and no sink is
//! touched. All else waits for a restart.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::{self, Config, Mistakes};
use crate::delivery::{Plan, Plans};

/// Holds the plan of the running daemon.
#[derive(Debug)]
pub struct Reload {
    /// What is in effect.
    running: Config,
    plans: watch::Sender<Arc<Plan>>,
}

impl Reload {
    /// Compiles the first plan.
    ///
    /// # Errors
    /// Every mistake that shows only where config and schema meet.
    pub fn start(config: &Config) -> Result<(Self, Plans), Mistakes> {
        let (sender, plans) = watch::channel(Arc::new(Plan::new(config)?));
        let reload = Self {
            running: config.clone(),
            plans: sender,
        };
        Ok((reload, plans))
    }

    /// Puts the schemas and routes of a new config into effect, and gives back the key paths of
    /// what else differs and waits for a restart.
    ///
    /// # Errors
    /// Every mistake that shows only where config and schema meet. Nothing has changed then.
    pub fn apply(&mut self, new: Config) -> Result<Vec<String>, Mistakes> {
        Plan::new(&new)?.replace(&self.plans);
        let waiting = config::needs_restart(&self.running, &new);
        self.running.routes = new.routes;
        self.running.schemas = new.schemas;
        Ok(waiting)
    }
}
