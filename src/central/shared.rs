//! What all subscriptions of the process share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::auth::registry::Registry;
use super::settings::Settings;
use crate::frame::Timestamp;
use crate::sync::lock;

/// Limits the tries of all subscriptions together, and lets accounts with the same key or client share
/// its renewal. One for a process.
#[derive(Debug)]
pub struct Central {
    settings: Settings,
    began: Instant,
    state_dir: Option<PathBuf>,
    last_received: Option<Timestamp>,
    /// By host: one that does not answer must not hold up the others.
    handshakes: Mutex<HashMap<String, Weak<Semaphore>>>,
    subscriptions: AtomicU32,
    credentials: Arc<Registry>,
}

impl Central {
    /// Renewed keys, subscriber ids and the times of gaps are kept in `state_dir`; without it, they last
    /// as long as the process. `last_received` is when the newest frame in the journal was received.
    #[must_use]
    pub fn new(
        state_dir: Option<&Path>,
        last_received: Option<Timestamp>,
        settings: Settings,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings,
            began: Instant::now(),
            state_dir: state_dir.map(Path::to_owned),
            last_received,
            handshakes: Mutex::default(),
            subscriptions: AtomicU32::new(0),
            credentials: Arc::new(Registry::new(state_dir, &settings)),
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn state_dir(&self) -> Option<&Path> {
        self.state_dir.as_deref()
    }

    pub(crate) fn last_received(&self) -> Option<Timestamp> {
        self.last_received
    }

    pub(crate) fn credentials(&self) -> &Arc<Registry> {
        &self.credentials
    }

    /// Limits the handshakes with one host.
    pub(crate) fn handshakes(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = lock(&self.handshakes);
        if let Some(known) = hosts.get(host).and_then(Weak::upgrade) {
            return known;
        }
        hosts.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.settings.handshakes.max(1)));
        hosts.insert(host.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }

    pub(crate) fn subscription_started(&self) {
        self.subscriptions.fetch_add(1, Relaxed);
    }

    pub(crate) fn subscription_ended(&self) {
        self.subscriptions.fetch_sub(1, Relaxed);
    }

    /// A random wait, so that many subscriptions do not try at once.
    pub(crate) fn spread(&self) -> Duration {
        let all = self
            .settings
            .spread
            .saturating_mul(self.subscriptions.load(Relaxed));
        all.mul_f64(rand::rng().random::<f64>())
    }
}
