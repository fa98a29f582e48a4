//! What runs, for those who only look: metrics, status, the page, systemd's status line.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::central::subscription;
use crate::config::Config;
use crate::delivery;
use crate::frame::Timestamp;
use crate::journal::Observer;
use crate::sink::kafka;

/// What runs at one moment. Its handles stay live: only a reload makes a new view.
#[derive(Clone, Debug)]
pub struct View {
    /// What is in effect.
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
    /// Or everything that was wrong, a line each; then nothing has changed.
    pub outcome: Result<Reloaded, Vec<String>>,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// The key paths of what is new, changed or gone, such as `sinks.lake (changed)`.
    pub changed: Vec<String>,
    /// The key paths of what differs and takes effect after a restart only.
    pub after_restart: Vec<String>,
    /// What an operator should know about the config, a line each.
    pub warnings: Vec<String>,
}
