//! What runs, for everything that only reads: metrics, status, the page, systemd's status line.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::ReloadError;
use crate::central::subscription;
use crate::config::Config;
use crate::delivery;
use crate::frame::Timestamp;
use crate::journal::Observer;
use crate::sink::kafka;

/// What runs at one moment. Its handles stay live: only a reload makes a new view.
#[derive(Clone, Debug)]
pub struct View {
    /// The config in effect.
    pub config: Arc<Config>,
    pub started_at: Timestamp,
    /// 1 at the start, one more with each reload that succeeded.
    pub generation: u64,
    pub last_reload: Option<LastReload>,
    /// By account and topic.
    pub subscriptions: Vec<subscription::Handle>,
    /// By the names of their sinks.
    pub deliveries: Vec<delivery::Handle>,
    /// The clusters of the Kafka sinks, by the sinks' names.
    pub kafka: BTreeMap<String, kafka::Target>,
    pub journal: Observer,
    /// The journal of dead letters.
    pub dead_letters: Observer,
}

/// How the last reload went.
#[derive(Clone, Debug)]
pub struct LastReload {
    pub at: Timestamp,
    /// An error is everything that was wrong, a line each; then nothing has changed.
    pub outcome: Result<Reloaded, Vec<String>>,
}

impl LastReload {
    pub(super) fn now(outcome: &Result<Reloaded, ReloadError>) -> Self {
        Self {
            at: Timestamp::now(),
            outcome: match outcome {
                Ok(reloaded) => Ok(reloaded.clone()),
                Err(error) => Err(error.to_string().lines().map(str::to_owned).collect()),
            },
        }
    }
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// The key paths of what was added, changed or removed, such as `sinks.lake (changed)`.
    pub changed: Vec<String>,
    /// The key paths of what differs and takes effect after a restart only.
    pub after_restart: Vec<String>,
    /// What an operator should know about the config, a line each.
    pub warnings: Vec<String>,
}
