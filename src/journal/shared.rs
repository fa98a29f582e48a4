//! What the writer thread, appenders, cursors and observers of one journal share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::counters::Counters;
use super::cursor::state::CursorState;
use super::log::index::Index;
use super::log::queue::Queue;
use super::storage::Storage;
use crate::sync::lock;

/// How far the journal has come: offsets of the first record that is not yet written or synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub written: u64,
    pub synced: u64,
    /// The writer thread has ended: nothing more will come.
    pub closed: bool,
}

/// What the writer thread, appenders and cursors share. Whoever needs both locks takes `cursors`
/// before `index`.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) queue: Queue,
    index: Mutex<Index>,
    cursors: Mutex<BTreeMap<String, Arc<CursorState>>>,
    pub(crate) progress: watch::Sender<Progress>,
    /// Cancelled when the writer thread has ended. `progress` says so too, but changes with every
    /// batch: whoever waits only for the end sleeps until then.
    pub(crate) ended: CancellationToken,
    pub(crate) counters: Counters,
}

impl Shared {
    pub(crate) fn new(storage: Arc<dyn Storage>, index: Index, queue_bytes: u32) -> Self {
        let end = index.end;
        Self {
            storage,
            queue: Queue::new(queue_bytes, end),
            index: Mutex::new(index),
            cursors: Mutex::default(),
            progress: watch::Sender::new(Progress {
                written: end,
                synced: end,
                closed: false,
            }),
            ended: CancellationToken::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    /// By the cursors' names.
    pub(crate) fn cursors(&self) -> MutexGuard<'_, BTreeMap<String, Arc<CursorState>>> {
        lock(&self.cursors)
    }
}
