//! Reads the journal from a place on, over the ends of segments and past what is damaged or gone.

use std::io;
use std::sync::{Arc, Mutex};

use super::aside;
use super::cursor::Entry;
use super::cursor_file::Mark;
use super::index::Segment;
use super::record::{self, HEADER_BYTES, Names};
use super::segment::{self, Chunk};
use super::storage::File;
use super::{Shared, lock};

/// Where to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    /// A record begins here, or the segment ends.
    pub(super) position: u64,
    /// The record that is wanted; those before it are passed over.
    pub(super) offset: u64,
}

impl Place {
    /// From the start of the segment that holds `offset`.
    pub(super) fn of(shared: &Shared, offset: u64) -> Self {
        let segment = shared.index().containing(offset).unwrap_or(offset);
        Self {
            segment,
            position: 0,
            offset,
        }
    }

    /// From a mark at or before `offset`.
    pub(super) fn near(mark: Mark, offset: u64) -> Self {
        Self {
            segment: mark.segment,
            position: mark.position,
            offset,
        }
    }
}

/// What one pass over the disk gave.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) entries: Vec<Entry>,
    /// Records before the first entry that are gone: dropped with their segment.
    pub(super) skipped: u64,
    /// Records before the first entry that are there, but cannot be read.
    pub(super) damaged: u64,
    /// Good records of a kind that this version does not know.
    pub(super) unknown: u64,
    /// The first entry.
    pub(super) first: Option<Mark>,
    pub(super) next: Place,
}

/// Cheap to clone: a pass takes a clone with it, so that nothing is lost if it is not waited for.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    shared: Arc<Shared>,
    open: Option<Open>,
    names: Arc<Mutex<Names>>,
}

#[derive(Clone, Debug)]
struct Open {
    base: u64,
    generation: u32,
    file: Arc<dyn File>,
}

/// A segment with bytes to read, as it was when it was looked up.
#[derive(Clone, Copy, Debug)]
struct Source {
    base: u64,
    segment: Segment,
    /// Where the next segment begins, if there is one.
    next: Option<u64>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            open: None,
            names: Arc::default(),
        }
    }

    /// Reads up to about `max_bytes` of records from `place` on. No entries: there is nothing to read,
    /// or what there is cannot be.
    pub(super) fn read(&mut self, place: Place, max_bytes: usize) -> io::Result<Window> {
        self.pass(place, max_bytes, false)
    }

    /// The same, one record at a time, and what cannot be read counts as damaged.
    pub(super) fn read_past_errors(&mut self, place: Place) -> io::Result<Window> {
        self.pass(place, HEADER_BYTES, true)
    }

    fn pass(&mut self, place: Place, max_bytes: usize, past_errors: bool) -> io::Result<Window> {
        let mut window = Window {
            entries: Vec::new(),
            skipped: 0,
            damaged: 0,
            unknown: 0,
            first: None,
            next: place,
        };
        while window.entries.is_empty() {
            let Some(source) = self.settle(&mut window) else {
                break;
            };
            let file = match self.file(&source) {
                Ok(file) => file,
                Err(_) if self.is_stale(&source) => continue,
                Err(error) => return Err(error),
            };
            let position = window.next.position;
            let chunk = match segment::read(&*file, position, source.segment.len, max_bytes) {
                Err(_) if past_errors => Chunk {
                    damaged: true,
                    ..Chunk::default()
                },
                read => read?,
            };
            if chunk.damaged && self.is_stale(&source) {
                continue;
            }
            if chunk.records.is_empty() {
                self.pass_damage(&*file, &source, &mut window);
            } else {
                self.take(chunk, &source, &mut window);
            }
        }
        Ok(window)
    }

    /// Moves on to where there are bytes to read; `None` if that is nowhere.
    fn settle(&self, window: &mut Window) -> Option<Source> {
        let index = self.shared.index();
        let place = &mut window.next;
        loop {
            let next = index.next(place.segment);
            match index.get(place.segment) {
                Some(segment) if place.position < segment.len => {
                    let base = place.segment;
                    return Some(Source {
                        base,
                        segment,
                        next,
                    });
                }
                Some(segment) if place.position == segment.len => {
                    let Some(base) = next else {
                        // What is missing at the very end cannot be read.
                        window.damaged += index.end.saturating_sub(place.offset);
                        place.offset = place.offset.max(index.end);
                        return None;
                    };
                    window.damaged += base.saturating_sub(place.offset);
                    *place = Place {
                        segment: base,
                        position: 0,
                        offset: place.offset.max(base),
                    };
                }
                // Removed, or begun anew after a failed sync.
                _ => {
                    let base = index.containing(place.offset)?;
                    window.skipped += base.saturating_sub(place.offset);
                    *place = Place {
                        segment: base,
                        position: 0,
                        offset: place.offset.max(base),
                    };
                }
            }
        }
    }

    /// Goes on to the next good record, or to the segment's end.
    fn pass_damage(&self, file: &dyn File, source: &Source, window: &mut Window) {
        let place = &mut window.next;
        let len = source.segment.len;
        let good = segment::find(file, source.base, place.position + 1, len);
        let damaged = place.position..good.unwrap_or(len);
        tracing::error!(
            segment = segment::name(source.base),
            position = damaged.start,
            bytes = damaged.end - damaged.start,
            "passed over damage in the journal",
        );
        place.position = damaged.end;
        aside::keep(&*self.shared.storage, source.base, file, damaged);
    }

    fn file(&mut self, source: &Source) -> io::Result<Arc<dyn File>> {
        let generation = source.segment.generation;
        if let Some(open) = &self.open
            && (open.base, open.generation) == (source.base, generation)
        {
            return Ok(Arc::clone(&open.file));
        }
        let file = self.shared.storage.open(&segment::name(source.base))?;
        self.open = Some(Open {
            base: source.base,
            generation,
            file: Arc::clone(&file),
        });
        Ok(file)
    }

    /// What was read may not be what is there now: the segment was removed or begun anew.
    fn is_stale(&self, source: &Source) -> bool {
        let index = self.shared.index();
        index.get(source.base).is_none_or(|now| {
            now.generation != source.segment.generation || now.len < source.segment.len
        })
    }

    /// Takes records up to the next one that something must be said about first.
    fn take(&self, chunk: Chunk, source: &Source, window: &mut Window) {
        let mut names = lock(&self.names);
        for (header, record) in chunk.records {
            let place = &mut window.next;
            if source.next.is_some_and(|next| header.offset >= next) {
                place.position = source.segment.len;
                return;
            }
            let lost = header.offset.saturating_sub(place.offset);
            if lost > 0 && !window.entries.is_empty() {
                return;
            }
            let position = place.position;
            if header.offset >= place.offset && header.is_frame() {
                match record::decode(&header, &record, &mut names) {
                    Some((frame, refusal)) => window.push(
                        position,
                        Entry {
                            offset: header.offset,
                            frame,
                            refusal,
                        },
                    ),
                    None if window.entries.is_empty() => window.damaged += 1,
                    None => return,
                }
            } else if header.offset >= place.offset {
                window.unknown += 1;
            }
            window.damaged += lost;
            window.next.position = position + record.len() as u64;
            window.next.offset = window.next.offset.max(header.offset + 1);
        }
    }
}

impl Window {
    fn push(&mut self, position: u64, entry: Entry) {
        self.first.get_or_insert(Mark {
            offset: entry.offset,
            segment: self.next.segment,
            position,
        });
        self.entries.push(entry);
    }
}
