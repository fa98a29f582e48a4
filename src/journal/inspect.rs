//! Reads a journal without owning it: one that a process has open, or a copy. Takes no lock and changes
//! nothing, except in [`rewind`] and [`forget`].

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::batch::Batch;
use super::cursor::file::{self, CursorFile, FileContent, StoredCursor};
use super::cursor::state::OffsetOutOfRange;
use super::error::OpenError;
use super::log::index::{Index, SegmentInfo};
use super::log::position::Position;
use super::log::reader::LogReader;
use super::log::scan::{self, SegmentScan};
use super::log::segment;
use super::shared::Shared;
use super::storage::Storage;
use super::storage::disk::{Disk, Lock};
use crate::frame::Timestamp;

/// How much is read at once.
const READ_BYTES: usize = 1 << 20;

/// What is in a journal's folder at one moment.
#[derive(Debug)]
pub struct Inspector {
    shared: Arc<Shared>,
    reader: LogReader,
    /// Where to read on.
    position: Position,
    incomplete_bytes: u64,
}

/// One file of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The offset of its first record.
    pub base: u64,
    pub bytes: u64,
    /// When its first frame was received.
    pub received_at: Option<Timestamp>,
}

/// How far a sink has come, as its cursor's file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorInfo {
    pub name: String,
    /// Everything below is done; `None` if the file is damaged or empty.
    pub offset: Option<u64>,
}

/// Why a cursor could not be moved or forgotten.
#[derive(Debug, thiserror::Error)]
pub enum RewindError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the cursor cannot be written: {0}")]
    Io(#[from] io::Error),
    #[error("there is no cursor {0:?}")]
    Unknown(String),
    #[error(transparent)]
    OutOfRange(#[from] OffsetOutOfRange),
}

impl Inspector {
    /// Looks at the journal in `folder`, and begins to read at its oldest record.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let storage: Arc<dyn Storage> = Arc::new(Disk::for_reading(folder));
        let mut index = Index::default();
        let mut last = None;
        for base in scan::bases(&*storage)? {
            let file = storage.open(&segment::name(base))?;
            index.insert(base, scan::describe(&*file)?);
            last = Some((base, file));
        }
        let mut incomplete_bytes = 0;
        if let Some((base, file)) = last {
            let scan = SegmentScan::of(&*file, base)?;
            let described = scan::describe(&*file)?;
            incomplete_bytes = described.len.saturating_sub(scan.len);
            index.end = scan.end;
            let segment = SegmentInfo {
                len: scan.len,
                ..described
            };
            index.insert(base, segment);
        }
        let oldest = index.oldest().unwrap_or_default();
        let shared = Arc::new(Shared::new(storage, index, 0));
        Ok(Self {
            reader: LogReader::new(Arc::clone(&shared)),
            position: Position::start_of(oldest),
            shared,
            incomplete_bytes,
        })
    }

    /// The same for a journal that is open in this process.
    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        let oldest = shared.index().oldest().unwrap_or_default();
        Self {
            reader: LogReader::new(Arc::clone(shared)),
            position: Position::start_of(oldest),
            shared: Arc::clone(shared),
            incomplete_bytes: 0,
        }
    }

    /// In the order of their records.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentSummary> {
        let index = self.shared.index();
        let segments = index.bases().map(|(base, segment)| SegmentSummary {
            base,
            bytes: segment.len,
            received_at: segment.received_at,
        });
        segments.collect()
    }

    /// In the order of their names. Their sinks need not be in the config any more.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn cursors(&self) -> io::Result<Vec<CursorInfo>> {
        let storage = &*self.shared.storage;
        let mut names = file::names(storage)?;
        names.sort_unstable();
        let info = |name: String| {
            let offset = match CursorFile::open(storage, &name)? {
                (_, FileContent::Valid(stored)) => Some(stored.offset),
                _ => None,
            };
            Ok(CursorInfo { name, offset })
        };
        names.into_iter().map(info).collect()
    }

    /// The offset after the last record.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.shared.index().end
    }

    /// Bytes after the last valid record: of one that is being written, or was when a process died.
    #[must_use]
    pub fn incomplete_bytes(&self) -> u64 {
        self.incomplete_bytes
    }

    /// Reads on from `offset`.
    pub fn seek(&mut self, offset: u64) {
        self.position = Position::of(&self.shared.index(), offset);
    }

    /// The next records; `None` at the end. Segments that were removed meanwhile count as skipped.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn read(&mut self) -> io::Result<Option<Batch>> {
        loop {
            match self.reader.read(self.position, READ_BYTES) {
                Ok(read) => {
                    let from = self.position.offset;
                    self.position = read.next;
                    let found = !read.entries.is_empty() || read.damaged > 0;
                    return Ok(found.then_some(Batch {
                        from,
                        end: read.next.offset,
                        skipped: read.skipped,
                        damaged: read.damaged,
                        unknown: read.unknown,
                        entries: read.entries,
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let mut index = self.shared.index();
                    let oldest = index.oldest();
                    if oldest.and_then(|base| index.remove(base)).is_none() {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The offset of the first frame that was received at `time` or later; the end if there is none.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn offset_at(&mut self, time: Timestamp) -> io::Result<u64> {
        let segments = self.segments();
        let before = segments
            .iter()
            .rev()
            .find(|segment| segment.received_at.is_some_and(|received| received < time));
        self.seek(
            before
                .or(segments.first())
                .map_or(0, |segment| segment.base),
        );
        while let Some(batch) = self.read()? {
            let mut entries = batch.entries.iter();
            if let Some(entry) = entries.find(|entry| entry.frame.received_at >= time) {
                return Ok(entry.offset);
            }
        }
        Ok(self.end())
    }
}

/// Moves the cursor `name` of the journal in `folder`, so that its sink is sent everything from
/// `offset` on once more. Durable when it returns.
///
/// # Errors
/// A process has the journal open, there is no such cursor, or the offset is not in the journal.
pub fn rewind(folder: &Path, name: &str, offset: u64) -> Result<(), RewindError> {
    let (disk, _lock) = with_cursor(folder, name)?;
    let inspector = Inspector::open(folder)?;
    let (oldest, base) = {
        let index = inspector.shared.index();
        (index.oldest().unwrap_or_default(), index.containing(offset))
    };
    let end = inspector.end();
    if !(oldest..=end).contains(&offset) {
        return Err(OffsetOutOfRange { oldest, end }.into());
    }
    let near = Position::start_of(base.unwrap_or_default());
    let (mut file, _) = CursorFile::open(&disk, name)?;
    file.write(&StoredCursor { offset, near })?;
    Ok(())
}

/// Forgets the cursor `name` of the journal in `folder`: its sink begins as a new one. Durable when it
/// returns.
///
/// # Errors
/// A process has the journal open, or there is no such cursor.
pub fn forget(folder: &Path, name: &str) -> Result<(), RewindError> {
    let (disk, _lock) = with_cursor(folder, name)?;
    Ok(file::remove(&disk, name)?)
}

/// Takes the lock of a journal that has the cursor.
fn with_cursor(folder: &Path, name: &str) -> Result<(Disk, Lock), RewindError> {
    let (disk, lock) = Disk::open(folder)?;
    if !file::names(&disk)?.iter().any(|known| known == name) {
        return Err(RewindError::Unknown(name.to_owned()));
    }
    Ok((disk, lock))
}
