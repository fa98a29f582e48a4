//! What a subscription counts, from its start on.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::error::Cause;
use crate::event::Gap;
use crate::frame::Timestamp;
use crate::sync::lock;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
    text_frames: AtomicU64,
    abandoned: AtomicU64,
    duplicates: AtomicU64,
    connections: AtomicU64,
    gaps: Mutex<Gaps>,
    /// Microseconds since the epoch; 0 before the first frame.
    last_frame: AtomicI64,
    failures: [AtomicU64; Cause::ALL.len()],
    iterations: AtomicU64,
    waiting: AtomicBool,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Binary frames that the journal took.
    pub frames: u64,
    pub bytes: u64,
    /// Text frames, which carry no event and are ignored.
    pub text_frames: u64,
    /// Frames that were read but not stored: the journal was full until the subscription stopped, or
    /// the frame is larger than a journal record may be.
    pub abandoned: u64,
    /// Frames that came twice and were stored once: over both connections of a handover, or with the
    /// id of an earlier `CloudEvent`.
    pub duplicates: u64,
    /// Connections that were opened.
    pub connections: u64,
    pub gaps: Gaps,
    pub last_frame: Option<Timestamp>,
    /// Connections that failed or could not be opened, by cause. Causes that never occurred are left
    /// out.
    pub failures: BTreeMap<Cause, u64>,
}

/// The gaps that are over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    pub count: u64,
    /// How long they lasted in all.
    pub time: Duration,
    pub last: Option<Gap>,
}

impl Counters {
    pub(crate) fn frame(&self, bytes: usize, received_at: Timestamp) {
        self.frames.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.last_frame.store(received_at.0, Relaxed);
    }

    pub(crate) fn text_frame(&self) {
        self.text_frames.fetch_add(1, Relaxed);
    }

    pub(crate) fn abandoned(&self) {
        self.abandoned.fetch_add(1, Relaxed);
    }

    pub(crate) fn duplicate(&self) {
        self.duplicates.fetch_add(1, Relaxed);
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn gap(&self, gap: &Gap) {
        let mut gaps = lock(&self.gaps);
        let micros = gap.until.0.saturating_sub(gap.from.0);
        gaps.count += 1;
        gaps.time += Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        gaps.last = Some(gap.clone());
    }

    pub(crate) fn failed(&self, cause: Cause) {
        self.failures[cause as usize].fetch_add(1, Relaxed);
    }

    /// The read loop has run once more.
    pub(crate) fn iterated(&self) {
        self.iterations.fetch_add(1, Relaxed);
    }

    /// Whether the read loop waits for room in the journal.
    pub(crate) fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Relaxed);
    }

    /// Runs of the read loop; `None` while it waits for room in the journal.
    pub(crate) fn iterations(&self) -> Option<u64> {
        let waiting = self.waiting.load(Relaxed);
        (!waiting).then(|| self.iterations.load(Relaxed))
    }

    pub(crate) fn snapshot(&self) -> Counts {
        let failures = Cause::ALL
            .into_iter()
            .map(|cause| (cause, self.failures[cause as usize].load(Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect();
        Counts {
            frames: self.frames.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            text_frames: self.text_frames.load(Relaxed),
            abandoned: self.abandoned.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            connections: self.connections.load(Relaxed),
            gaps: lock(&self.gaps).clone(),
            last_frame: Some(Timestamp(self.last_frame.load(Relaxed))).filter(|last| last.0 != 0),
            failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_counted_by_itself() {
        let counters = Counters::default();
        for (times, cause) in Cause::ALL.into_iter().enumerate() {
            for _ in 0..times {
                counters.failed(cause);
            }
        }
        let failures = counters.snapshot().failures;
        assert_eq!(failures.len(), Cause::ALL.len() - 1, "{failures:?}");
        assert_eq!(failures[&Cause::Panicked], 10);
    }
}
