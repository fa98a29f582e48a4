//! What the journal does when it holds more than it may: see "Full" in [its format](crate::journal).

use std::io;
use std::sync::atomic::Ordering;

use super::index::SegmentInfo;
use super::writer::Writer;
use crate::config::{Backlog, OnFull};
use crate::journal::cursor::state::CursorState;

impl Writer {
    /// Makes cursors skip that are further behind than they may be, and drops the oldest segments while
    /// there are too many.
    pub(crate) fn keep_limits(&mut self) {
        self.skip_laggards();
        while self.has_excess() {
            match self.drop_oldest() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(%error, "a full journal's oldest segment cannot be removed");
                    return;
                }
            }
        }
    }

    /// Whether nothing may be written now, because of a cursor that must not skip.
    pub(crate) fn is_blocked(&self) -> bool {
        let has_excess = self.has_excess();
        let oldest_end = self.oldest_closed().map(|(_, end)| end);
        let cursors = self.shared.cursors();
        cursors.values().any(|cursor| {
            let holds_oldest = oldest_end.is_some_and(|end| cursor.committed() < end);
            blocks(cursor).is_some_and(|max_bytes| {
                cursor.lag_bytes(&self.shared.index()) > max_bytes || (has_excess && holds_oldest)
            })
        })
    }

    /// On a full disk: closes the segment that is written to, so that it can be removed later, and drops
    /// the oldest one. Whether there is more room now.
    pub(crate) fn make_room(&mut self) -> io::Result<bool> {
        if self.active.len > 0 {
            self.sync()?;
            self.rotate()?;
        }
        let before = self.oldest_closed();
        self.store_cursors()?;
        self.remove_passed_before(i64::MAX)?;
        Ok(self.oldest_closed() != before || self.drop_oldest()?)
    }

    fn has_excess(&self) -> bool {
        let limit = self.limits.total;
        limit.is_some_and(|most| self.shared.index().bytes() > most)
    }

    fn skip_laggards(&self) {
        for (name, cursor) in &*self.shared.cursors() {
            if let Some(Backlog {
                max_bytes,
                on_full: OnFull::SkipOldest,
            }) = cursor.backlog()
                && let index = self.shared.index()
                && cursor.lag_bytes(&index) > max_bytes
            {
                self.skip(name, cursor, index.newest(max_bytes).unwrap_or_default());
            }
        }
    }

    /// Drops the oldest segment, unless it is the last one or a cursor that must not skip needs it. Other
    /// cursors skip it. Whether a segment was dropped.
    fn drop_oldest(&mut self) -> io::Result<bool> {
        let Some((oldest, segment)) = self.take_oldest() else {
            return Ok(false);
        };
        self.remove_file(oldest, segment)?;
        let dropped = &self.shared.counters.dropped_segments;
        dropped.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Takes the oldest segment out of the index and makes the cursors that have not passed it skip it.
    /// Holds both locks, so that no cursor moves into the segment meanwhile.
    fn take_oldest(&self) -> Option<(u64, SegmentInfo)> {
        let cursors = self.shared.cursors();
        let mut index = self.shared.index();
        let (oldest, end) = index.oldest_closed()?;
        let behind = || cursors.iter().filter(|(_, at)| at.committed() < end);
        if behind().any(|(_, cursor)| blocks(cursor).is_some()) {
            return None;
        }
        for (name, cursor) in behind() {
            self.skip(name, cursor, end);
        }
        let segment = index.remove(oldest)?;
        Some((oldest, segment))
    }

    fn skip(&self, name: &str, cursor: &CursorState, base: u64) {
        let skipped = cursor.skip_to(base);
        if skipped > 0 {
            tracing::error!(
                cursor = name,
                skipped,
                next_offset = base,
                "too far behind: the oldest frames are skipped"
            );
            self.shared.queue.note_commit();
        }
    }
}

/// How far a cursor may lag behind before it blocks appenders; `None` if it skips instead.
fn blocks(cursor: &CursorState) -> Option<u64> {
    let backlog = cursor.backlog()?;
    (backlog.on_full == OnFull::Block).then_some(backlog.max_bytes)
}
