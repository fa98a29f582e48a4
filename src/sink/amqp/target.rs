//! A broker, as a sink's config names it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config;

/// A broker, and what the connections to it share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Target {
    pub(super) config: Arc<config::Amqp>,
    pub(super) size_limit: SizeLimit,
}

impl From<config::Amqp> for Target {
    fn from(config: config::Amqp) -> Self {
        Self {
            config: Arc::new(config),
            size_limit: SizeLimit::default(),
        }
    }
}

/// How many bytes of payload the broker accepts. It reveals that only by closing the channel over a larger
/// record: without this limit the same record would close each later channel too.
#[derive(Clone, Debug)]
pub(super) struct SizeLimit(Arc<AtomicUsize>);

impl Default for SizeLimit {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }
}

impl SizeLimit {
    pub(super) fn set(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.set(usize::MAX);
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
