//! Frames that wait for the writer thread. They are encoded by the task that appends them, into one
//! buffer, which the thread takes whole.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::record::{self, Refusal};
use crate::frame::{Frame, Timestamp};
use crate::sync::lock;

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the journal is closed")]
    Closed,
    /// Its payload is beyond [`MAX_PAYLOAD_BYTES`](crate::journal::MAX_PAYLOAD_BYTES), or a name beyond 64 KiB.
    #[error("the frame is too large for the journal")]
    TooLarge,
}

#[derive(Debug)]
pub(crate) struct Queue {
    /// Free bytes.
    room: Semaphore,
    capacity: u32,
    state: Mutex<QueueState>,
    /// The writer thread sleeps on it.
    wake: Condvar,
    waited_micros: AtomicU64,
}

#[derive(Debug)]
struct QueueState {
    batch: QueuedBatch,
    next_offset: u64,
    /// A cursor has moved since the writer thread last took notice.
    committed: bool,
    /// A sync has ended since then.
    synced: bool,
    closing: bool,
}

/// Encoded records, one after the other.
#[derive(Debug, Default)]
pub(crate) struct QueuedBatch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) first_offset: u64,
    /// The offset after the last record.
    pub(crate) end_offset: u64,
    /// When its first frame was received.
    pub(crate) received_at: Option<Timestamp>,
    /// Bytes of the queue that this batch still occupies: see [`Queue::release`].
    pub(crate) room: usize,
}

/// Why the writer thread woke up. With nothing set, its timer has run out.
#[derive(Debug)]
pub(crate) struct Wake {
    pub(crate) batch: Option<QueuedBatch>,
    pub(crate) committed: bool,
    pub(crate) closing: bool,
}

impl Queue {
    pub(crate) fn new(capacity: u32, next_offset: u64) -> Self {
        Self {
            room: Semaphore::new(capacity as usize),
            capacity,
            state: Mutex::new(QueueState {
                batch: QueuedBatch::starting(Vec::new(), next_offset),
                next_offset,
                committed: false,
                synced: false,
                closing: false,
            }),
            wake: Condvar::new(),
            waited_micros: AtomicU64::new(0),
        }
    }

    pub(super) async fn append(
        &self,
        frame: &Frame,
        refusal: Option<&Refusal>,
    ) -> Result<u64, AppendError> {
        let len = record::encoded_len(frame, refusal).ok_or(AppendError::TooLarge)?;
        // A record larger than the whole queue waits until the queue is empty, and goes alone.
        let cost = u32::try_from(len).unwrap_or(u32::MAX).min(self.capacity);
        let room = match self.room.try_acquire_many(cost) {
            Ok(room) => room,
            Err(_) => self.wait_for_room(cost).await?,
        };
        let (offset, first) = {
            let mut state = lock(&self.state);
            if state.closing {
                return Err(AppendError::Closed);
            }
            // The writer thread sleeps only while the batch is empty.
            let first = state.batch.bytes.is_empty();
            (state.push(frame, refusal, cost), first)
        };
        room.forget();
        if first {
            self.wake.notify_one();
        }
        Ok(offset)
    }

    async fn wait_for_room(
        &self,
        cost: u32,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, AppendError> {
        let since = Instant::now();
        let room = self.room.acquire_many(cost).await;
        let waited = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_micros.fetch_add(waited, Ordering::Relaxed);
        room.map_err(|_| AppendError::Closed)
    }

    /// Makes room for appenders: this many bytes were written.
    pub(crate) fn release(&self, room: usize) {
        self.room.add_permits(room);
    }

    /// Wakes the writer thread to look at the cursors.
    pub(crate) fn note_commit(&self) {
        let mut state = lock(&self.state);
        if !state.committed {
            state.committed = true;
            self.wake.notify_one();
        }
    }

    /// Wakes the writer thread to look at the sync that was running.
    pub(crate) fn note_sync(&self) {
        lock(&self.state).synced = true;
        self.wake.notify_one();
    }

    /// Takes no more frames; those that wait will still be written.
    pub(crate) fn close(&self) {
        self.room.close();
        lock(&self.state).closing = true;
        self.wake.notify_one();
    }

    /// Blocks the writer thread until there is something to do or it is `until`. If a batch is taken,
    /// `buffer` replaces its buffer; without a buffer no batch is taken. Unless `wants_commits`, a
    /// cursor that moves does not end the wait, and is reported by a later one.
    pub(crate) fn wait(
        &self,
        until: Option<Instant>,
        buffer: &mut Option<Vec<u8>>,
        wants_commits: bool,
    ) -> Wake {
        let mut state = lock(&self.state);
        loop {
            let ready = buffer.is_some() && !state.batch.bytes.is_empty();
            let now = Instant::now();
            let synced = std::mem::take(&mut state.synced);
            let committed = wants_commits && state.committed;
            let woken = synced || committed || state.closing;
            if ready || woken || until.is_some_and(|until| until <= now) {
                return Wake {
                    batch: ready.then(|| state.take(buffer.take().unwrap_or_default())),
                    committed: wants_commits && std::mem::take(&mut state.committed),
                    closing: state.closing,
                };
            }
            state = match until {
                None => self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let woken = self.wake.wait_timeout(state, until - now);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// The offset that the next frame gets.
    pub(crate) fn next_offset(&self) -> u64 {
        lock(&self.state).next_offset
    }

    /// Records that the writer thread has not taken yet.
    pub(crate) fn waiting_records(&self) -> u64 {
        let state = lock(&self.state);
        state.batch.end_offset - state.batch.first_offset
    }

    /// How long all appenders together have waited for room.
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_micros.load(Ordering::Relaxed))
    }

    /// Bytes that wait to be written or are being written.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.capacity) - self.room.available_permits() as u64
    }
}

impl QueueState {
    fn push(&mut self, frame: &Frame, refusal: Option<&Refusal>, cost: u32) -> u64 {
        let offset = self.next_offset;
        record::encode(frame, refusal, offset, &mut self.batch.bytes);
        self.batch.received_at.get_or_insert(frame.received_at);
        self.batch.room += cost as usize;
        self.next_offset += 1;
        self.batch.end_offset = self.next_offset;
        offset
    }

    fn take(&mut self, buffer: Vec<u8>) -> QueuedBatch {
        let next = QueuedBatch::starting(buffer, self.next_offset);
        std::mem::replace(&mut self.batch, next)
    }
}

impl QueuedBatch {
    fn starting(bytes: Vec<u8>, offset: u64) -> Self {
        Self {
            bytes,
            first_offset: offset,
            end_offset: offset,
            received_at: None,
            room: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_the_writer_does_not_want_is_reported_once_when_it_does() {
        let queue = Queue::new(1000, 0);
        let committed = |commits| {
            let now = Some(Instant::now());
            queue.wait(now, &mut None, commits).committed
        };
        queue.note_commit();
        assert!(!committed(false));
        assert!(committed(true));
        assert!(!committed(true), "it is reported once");
    }
}
