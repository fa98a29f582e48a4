//! Reads the log from a position on, across the ends of segments and past damaged or removed records.

use std::io;
use std::sync::{Arc, Mutex};

use super::index::SegmentInfo;
use super::position::Position;
use super::quarantine;
use super::record::{self, HEADER_BYTES, SubscriptionCache};
use super::segment::{self, Chunk};
use crate::journal::batch::Entry;
use crate::journal::shared::Shared;
use crate::journal::storage::File;
use crate::sync::lock;

/// What one read gave.
#[derive(Debug)]
pub(crate) struct ReadRecords {
    pub(crate) entries: Vec<Entry>,
    /// Records before the first entry that were removed with their segment.
    pub(crate) skipped: u64,
    /// Records before the first entry that are in the log, but cannot be read.
    pub(crate) damaged: u64,
    /// Valid records of a kind that this version does not know.
    pub(crate) unknown: u64,
    /// Where the first entry is.
    pub(crate) first: Option<Position>,
    /// Where to read on.
    pub(crate) next: Position,
}

/// Cheap to clone: each read is done by a clone, so that nothing is lost if nobody waits for it.
#[derive(Clone, Debug)]
pub(crate) struct LogReader {
    shared: Arc<Shared>,
    open: Option<OpenSegment>,
    subscriptions: Arc<Mutex<SubscriptionCache>>,
}

#[derive(Clone, Debug)]
struct OpenSegment {
    base: u64,
    generation: u32,
    file: Arc<dyn File>,
}

/// A segment with bytes to read, as it was in the index a moment ago.
#[derive(Clone, Copy, Debug)]
struct Readable {
    base: u64,
    segment: SegmentInfo,
    /// Where the next segment begins, if there is one.
    next: Option<u64>,
}

impl LogReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            open: None,
            subscriptions: Arc::default(),
        }
    }

    /// Reads up to about `max_bytes` of records from `position` on. Without entries there is nothing
    /// to read, or nothing that can be read.
    pub(crate) fn read(&mut self, position: Position, max_bytes: usize) -> io::Result<ReadRecords> {
        self.read_from(position, max_bytes, false)
    }

    /// The same for one record at a time; what the disk does not give back counts as damaged.
    pub(crate) fn read_past_errors(&mut self, position: Position) -> io::Result<ReadRecords> {
        self.read_from(position, HEADER_BYTES, true)
    }

    fn read_from(
        &mut self,
        position: Position,
        max_bytes: usize,
        past_errors: bool,
    ) -> io::Result<ReadRecords> {
        let mut read = ReadRecords {
            entries: Vec::new(),
            skipped: 0,
            damaged: 0,
            unknown: 0,
            first: None,
            next: position,
        };
        while read.entries.is_empty() {
            let Some(readable) = self.go_to_readable(&mut read) else {
                break;
            };
            let file = match self.file(&readable) {
                Ok(file) => file,
                Err(_) if self.is_stale(&readable) => continue,
                Err(error) => return Err(error),
            };
            let chunk = segment::read(&*file, read.next.byte, readable.segment.len, max_bytes);
            let chunk = match chunk {
                Err(_) if past_errors => Chunk {
                    damaged: true,
                    ..Chunk::default()
                },
                chunk => chunk?,
            };
            if chunk.damaged && self.is_stale(&readable) {
                continue;
            }
            if chunk.records.is_empty() {
                self.pass_damage(&*file, &readable, &mut read.next);
            } else {
                self.take(chunk, &readable, &mut read);
            }
        }
        Ok(read)
    }

    /// Moves on to a segment with bytes to read; `None` if there is none.
    fn go_to_readable(&self, read: &mut ReadRecords) -> Option<Readable> {
        let index = self.shared.index();
        let at = &mut read.next;
        loop {
            let next = index.next(at.segment);
            match index.get(at.segment) {
                Some(segment) if at.byte < segment.len => {
                    let base = at.segment;
                    return Some(Readable {
                        base,
                        segment,
                        next,
                    });
                }
                Some(segment) if at.byte == segment.len => {
                    let Some(base) = next else {
                        // What is missing at the very end cannot be read.
                        read.damaged += index.end.saturating_sub(at.offset);
                        at.offset = at.offset.max(index.end);
                        return None;
                    };
                    read.damaged += base.saturating_sub(at.offset);
                    *at = Position::start_of(base).seek(at.offset.max(base));
                }
                // The segment was removed, or rewritten after a failed sync.
                _ => {
                    let base = index.containing(at.offset)?;
                    read.skipped += base.saturating_sub(at.offset);
                    *at = Position::start_of(base).seek(at.offset.max(base));
                }
            }
        }
    }

    /// Goes on to the next valid record, or to the segment's end.
    fn pass_damage(&self, file: &dyn File, readable: &Readable, at: &mut Position) {
        let len = readable.segment.len;
        let valid = segment::find(file, readable.base, at.byte + 1, len);
        let damaged = at.byte..valid.unwrap_or(len);
        tracing::error!(
            segment = segment::name(readable.base),
            position = damaged.start,
            bytes = damaged.end - damaged.start,
            "passed over damage in the journal",
        );
        at.byte = damaged.end;
        quarantine::copy(&*self.shared.storage, readable.base, file, damaged);
    }

    fn file(&mut self, readable: &Readable) -> io::Result<Arc<dyn File>> {
        let generation = readable.segment.generation;
        if let Some(open) = &self.open
            && (open.base, open.generation) == (readable.base, generation)
        {
            return Ok(Arc::clone(&open.file));
        }
        let file = self.shared.storage.open(&segment::name(readable.base))?;
        self.open = Some(OpenSegment {
            base: readable.base,
            generation,
            file: Arc::clone(&file),
        });
        Ok(file)
    }

    /// Whether the segment was removed, rewritten or cut since it was looked up.
    fn is_stale(&self, readable: &Readable) -> bool {
        let index = self.shared.index();
        index.get(readable.base).is_none_or(|now| {
            now.generation != readable.segment.generation || now.len < readable.segment.len
        })
    }

    /// Takes records, up to the first that has damaged ones before it: those must be reported before
    /// the batch that begins with it.
    fn take(&self, chunk: Chunk, readable: &Readable, read: &mut ReadRecords) {
        let mut subscriptions = lock(&self.subscriptions);
        for (header, record) in chunk.records {
            let at = read.next;
            if readable.next.is_some_and(|next| header.offset >= next) {
                read.next.byte = readable.segment.len;
                return;
            }
            let missing = header.offset.saturating_sub(at.offset);
            if missing > 0 && !read.entries.is_empty() {
                return;
            }
            if header.offset >= at.offset && header.is_frame() {
                match record::decode(&header, &record, &mut subscriptions) {
                    Some((frame, refusal)) => read.push(Entry {
                        offset: header.offset,
                        frame,
                        refusal,
                    }),
                    None if read.entries.is_empty() => read.damaged += 1,
                    None => return,
                }
            } else if header.offset >= at.offset {
                read.unknown += 1;
            }
            read.damaged += missing;
            read.next.byte = at.byte + record.len() as u64;
            read.next.offset = at.offset.max(header.offset + 1);
        }
    }
}

impl ReadRecords {
    /// Adds the record that begins at `next`.
    fn push(&mut self, entry: Entry) {
        self.first.get_or_insert(self.next.seek(entry.offset));
        self.entries.push(entry);
    }
}
