//! What waits for the writer thread: frames are encoded where they are appended, into one buffer
//! that the thread takes whole.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::record::{self, Refusal};
use super::{Shared, lock};
use crate::frame::{Frame, Timestamp};

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the journal is closed")]
    Closed,
    /// Its payload is beyond [`MAX_PAYLOAD_BYTES`](super::MAX_PAYLOAD_BYTES), or a name beyond 64 KiB.
    #[error("the frame is too large for the journal")]
    TooLarge,
}

/// Appends frames to the journal. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Appender(Arc<Shared>);

impl Appender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Hands a frame to the writer thread, and tells its offset; waits while the queue is full.
    /// Frames that one task appends keep their order. Dropping the future before it is ready appends
    /// nothing.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, frame: &Frame) -> Result<u64, AppendError> {
        self.0.queue.append(frame, None).await
    }

    /// The same for a dead letter.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append_refused(
        &self,
        frame: &Frame,
        refusal: &Refusal,
    ) -> Result<u64, AppendError> {
        self.0.queue.append(frame, Some(refusal)).await
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    /// Bytes that are free.
    room: Semaphore,
    capacity: u32,
    state: Mutex<State>,
    wake: Condvar,
    waited_micros: AtomicU64,
}

#[derive(Debug)]
struct State {
    batch: Batch,
    next_offset: u64,
    /// A cursor has moved since the thread last looked.
    committed: bool,
    /// A sync has ended since then.
    synced: bool,
    closing: bool,
}

/// Encoded records, one after the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) first_offset: u64,
    /// The offset after the last record.
    pub(super) end_offset: u64,
    /// When its first frame was received.
    pub(super) received_at: Option<Timestamp>,
    /// What to give back to [`Queue::release`].
    pub(super) room: usize,
}

/// Why the writer thread was woken; it may be that only its time has come.
#[derive(Debug)]
pub(super) struct Wake {
    pub(super) batch: Option<Batch>,
    pub(super) committed: bool,
    pub(super) closing: bool,
}

impl Queue {
    pub(super) fn new(capacity: u32, next_offset: u64) -> Self {
        Self {
            room: Semaphore::new(capacity as usize),
            capacity,
            state: Mutex::new(State {
                batch: Batch::starting(Vec::new(), next_offset),
                next_offset,
                committed: false,
                synced: false,
                closing: false,
            }),
            wake: Condvar::new(),
            waited_micros: AtomicU64::new(0),
        }
    }

    async fn append(&self, frame: &Frame, refusal: Option<&Refusal>) -> Result<u64, AppendError> {
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
            // The thread may be asleep when a batch begins.
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

    /// Gives back the room of a batch that is written.
    pub(super) fn release(&self, room: usize) {
        self.room.add_permits(room);
    }

    /// The writer thread should look at the cursors.
    pub(super) fn note_commit(&self) {
        let mut state = lock(&self.state);
        if !state.committed {
            state.committed = true;
            self.wake.notify_one();
        }
    }

    /// The writer thread should look at the sync that was under way.
    pub(super) fn note_sync(&self) {
        lock(&self.state).synced = true;
        self.wake.notify_one();
    }

    /// Takes no more frames; those that wait are still written.
    pub(super) fn close(&self) {
        self.room.close();
        lock(&self.state).closing = true;
        self.wake.notify_one();
    }

    /// Blocks until there is something to do or `until` has come. `spare` becomes the next buffer if
    /// a batch is taken; without one no batch is wanted. Without `commits` a cursor that moves wakes
    /// nobody, and is told the next time.
    pub(super) fn wait(
        &self,
        until: Option<Instant>,
        spare: &mut Option<Vec<u8>>,
        commits: bool,
    ) -> Wake {
        let mut state = lock(&self.state);
        loop {
            let ready = spare.is_some() && !state.batch.bytes.is_empty();
            let now = Instant::now();
            let synced = std::mem::take(&mut state.synced);
            let committed = commits && state.committed;
            let woken = synced || committed || state.closing;
            if ready || woken || until.is_some_and(|until| until <= now) {
                return Wake {
                    batch: ready.then(|| state.take(spare.take().unwrap_or_default())),
                    committed: commits && std::mem::take(&mut state.committed),
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
    pub(super) fn next_offset(&self) -> u64 {
        lock(&self.state).next_offset
    }

    /// Records that no thread has taken.
    pub(super) fn waiting_records(&self) -> u64 {
        let state = lock(&self.state);
        state.batch.end_offset - state.batch.first_offset
    }

    /// How long appenders have waited for room, all together.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_micros.load(Ordering::Relaxed))
    }

    /// Bytes that wait or are being written.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.capacity) - self.room.available_permits() as u64
    }
}

impl State {
    fn push(&mut self, frame: &Frame, refusal: Option<&Refusal>, cost: u32) -> u64 {
        let offset = self.next_offset;
        record::encode(frame, refusal, offset, &mut self.batch.bytes);
        self.batch.received_at.get_or_insert(frame.received_at);
        self.batch.room += cost as usize;
        self.next_offset += 1;
        self.batch.end_offset = self.next_offset;
        offset
    }

    fn take(&mut self, spare: Vec<u8>) -> Batch {
        let next = Batch::starting(spare, self.next_offset);
        std::mem::replace(&mut self.batch, next)
    }
}

impl Batch {
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
    fn a_commit_that_is_not_asked_for_wakes_nobody_and_is_told_the_next_time() {
        let queue = Queue::new(1000, 0);
        let committed = |commits| {
            let now = Some(Instant::now());
            queue.wait(now, &mut None, commits).committed
        };
        queue.note_commit();
        assert!(!committed(false));
        assert!(committed(true));
        assert!(!committed(true), "it is told once");
    }
}
