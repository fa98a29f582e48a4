//! What the journal does when it holds more than it may: see "Full" in [the module above](super).

use std::io;
use std::sync::atomic::Ordering;

use super::index::Segment;
use super::registered::Registered;
use super::writer::Writer;
use crate::config::{Backlog, OnFull};

impl Writer {
    /// Lets sinks skip that are further behind than they may be, and drops the oldest segments while
    /// there are too many.
    pub(super) fn keep_limits(&mut self) {
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

    /// Whether nothing more may be written now, since a sink must not skip.
    pub(super) fn is_blocked(&self) -> bool {
        let has_excess = self.has_excess();
        let oldest_end = self.oldest_closed().map(|(_, end)| end);
        let cursors = self.shared.cursors();
        cursors.values().any(|cursor| {
            let holds_oldest = oldest_end.is_some_and(|end| cursor.committed() < end);
            blocks(cursor).is_some_and(|max_bytes| {
                cursor.lag(&self.shared.index()) > max_bytes || (has_excess && holds_oldest)
            })
        })
    }

    /// On a full disk: closes the segment that is written to, so that it can go one day, and drops
    /// the oldest one. Whether there is more room now.
    pub(super) fn make_room(&mut self) -> io::Result<bool> {
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
                && cursor.lag(&index) > max_bytes
            {
                self.skip(name, cursor, index.newest(max_bytes).unwrap_or_default());
            }
        }
    }

    /// Drops the oldest segment, unless it is the last or a sink that must not skip needs it. Those
    /// that may skip do.
    fn drop_oldest(&mut self) -> io::Result<bool> {
        let Some((oldest, segment)) = self.take_oldest() else {
            return Ok(false);
        };
        self.remove_file(oldest, segment)?;
        let dropped = &self.shared.numbers.dropped_segments;
        dropped.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Takes the oldest segment out of the index, and has the cursors skip it that have not passed
    /// it: no cursor comes to be in it in between.
    fn take_oldest(&self) -> Option<(u64, Segment)> {
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

    fn skip(&self, name: &str, cursor: &Registered, base: u64) {
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

/// How far a sink may lag behind that must not skip.
fn blocks(cursor: &Registered) -> Option<u64> {
    let backlog = cursor.backlog()?;
    (backlog.on_full == OnFull::Block).then_some(backlog.max_bytes)
}
