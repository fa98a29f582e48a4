//! A disk in memory that fails as real disks do.
//!
//! What is written is in the cache until it is synced. A loss of power keeps any of the cached pages
//! and loses the others, and keeps the changes of folders up to any one of them. A failed sync leaves
//! the pages it should have written marked as clean: a later sync succeeds without them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::{File, Storage};
use crate::sync::lock;

/// Small, so that a loss of power cuts records in many places.
const PAGE_BYTES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskFault {
    ShortWrite,
    /// Half of the bytes are written, and an error is returned.
    FailedWrite,
    FailedSync,
    FailedFolderSync,
    FailedCreate,
    FailedRename,
    FailedRemove,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SimulatedDisk(Arc<Mutex<DiskState>>);

#[derive(Debug, Default)]
struct DiskState {
    names: BTreeMap<String, Arc<Mutex<Inode>>>,
    durable_names: BTreeMap<String, Arc<Mutex<Inode>>>,
    /// Changes of folders that are not synced, in order.
    changes: Vec<Change>,
    /// A fault that happens once its operation has succeeded this many times.
    fault: Option<(DiskFault, u32)>,
    /// No file can grow.
    full: bool,
    /// Bytes that all files may have together.
    capacity: Option<usize>,
    /// Bytes of every file that cannot be read.
    unreadable: Option<Range<usize>>,
    gate: Arc<Gate>,
}

/// Where syncs wait while they are held.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    is_shut: bool,
    waiting: u32,
}

impl Gate {
    fn pass(&self) {
        let mut state = lock(&self.state);
        state.waiting += 1;
        let passed = self.changed.wait_while(state, |state| state.is_shut);
        passed.unwrap_or_else(PoisonError::into_inner).waiting -= 1;
    }

    fn set(&self, is_shut: bool) {
        lock(&self.state).is_shut = is_shut;
        self.changed.notify_all();
    }
}

#[derive(Debug, Default)]
struct Inode {
    cache: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Link(String, Arc<Mutex<Inode>>),
    Unlink(String),
    Rename(String, String),
}

impl SimulatedDisk {
    /// The fault happens once, after its operation has succeeded `after` times.
    pub(crate) fn inject_fault(&self, fault: DiskFault, after: u32) {
        lock(&self.0).fault = Some((fault, after));
    }

    /// No file can grow any more.
    pub(crate) fn fill(&self) {
        lock(&self.0).full = true;
    }

    /// All files together can hold this many bytes.
    pub(crate) fn limit(&self, capacity: usize) {
        lock(&self.0).capacity = Some(capacity);
    }

    /// These bytes of every file cannot be read.
    pub(crate) fn make_unreadable(&self, bytes: Range<usize>) {
        lock(&self.0).unreadable = Some(bytes);
    }

    /// While held, syncs do not return.
    pub(crate) fn hold_syncs(&self, held: bool) {
        lock(&self.0).gate.set(held);
    }

    pub(crate) fn is_syncing(&self) -> bool {
        let gate = Arc::clone(&lock(&self.0).gate);
        lock(&gate.state).waiting > 0
    }

    /// Takes back [`Self::inject_fault`] and [`Self::fill`].
    pub(crate) fn repair(&self) {
        let mut disk = lock(&self.0);
        disk.fault = None;
        disk.full = false;
    }

    /// What is on the disk after the loss of power.
    pub(crate) fn after_power_loss(&self, seed: u64) -> Self {
        let mut random = Random(seed);
        let disk = lock(&self.0);
        let kept = random.below(disk.changes.len() + 1);
        let mut names = disk.durable_names.clone();
        for change in &disk.changes[..kept] {
            change.apply(&mut names);
        }
        for inode in names.values_mut() {
            let left = lock(inode).after_power_loss(&mut random);
            *inode = Arc::new(Mutex::new(left));
        }
        Self(Arc::new(Mutex::new(DiskState {
            durable_names: names.clone(),
            names,
            ..DiskState::default()
        })))
    }

    fn handle(&self, inode: &Arc<Mutex<Inode>>) -> Arc<dyn File> {
        Arc::new(Handle {
            disk: Arc::clone(&self.0),
            inode: Arc::clone(inode),
        })
    }
}

impl DiskState {
    /// Whether the injected fault happens now.
    fn fails(&mut self, with: DiskFault) -> bool {
        match &mut self.fault {
            Some((fault, 0)) if *fault == with => {
                self.fault = None;
                true
            }
            Some((fault, left)) if *fault == with => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    fn used(&self) -> usize {
        let files = self.names.values();
        files.map(|inode| lock(inode).cache.len()).sum()
    }

    fn check(&mut self, with: DiskFault) -> io::Result<()> {
        if self.fails(with) {
            return Err(io::Error::other(format!("{with:?}")));
        }
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, Arc<Mutex<Inode>>>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), Arc::clone(inode));
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }

    fn is_in(&self, folder: &str) -> bool {
        let (Self::Link(name, _) | Self::Unlink(name) | Self::Rename(name, _)) = self;
        parent(name) == folder
    }
}

impl Inode {
    fn after_power_loss(&self, random: &mut Random) -> Self {
        let lens = [self.durable.len(), self.cache.len()];
        let len = lens[random.below(2)];
        let mut bytes = self.durable.clone();
        bytes.resize(len, 0);
        for start in (0..len).step_by(PAGE_BYTES) {
            let end = len.min(start + PAGE_BYTES).min(self.cache.len());
            if start < end && random.below(2) == 0 {
                bytes[start..end].copy_from_slice(&self.cache[start..end]);
            }
        }
        Self {
            cache: bytes.clone(),
            durable: bytes,
            dirty: BTreeSet::new(),
        }
    }

    fn write(&mut self, bytes: &[u8], start: usize) {
        let end = start + bytes.len();
        let old = self.cache.len();
        if end > old {
            self.cache.resize(end, 0);
        }
        self.cache[start..end].copy_from_slice(bytes);
        self.dirty
            .extend(start.min(old) / PAGE_BYTES..end.div_ceil(PAGE_BYTES));
    }

    fn sync(&mut self) {
        self.durable.resize(self.cache.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            let start = page * PAGE_BYTES;
            let end = self.cache.len().min(start + PAGE_BYTES);
            if start < end {
                self.durable[start..end].copy_from_slice(&self.cache[start..end]);
            }
        }
    }
}

impl Storage for SimulatedDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut disk = lock(&self.0);
        disk.check(DiskFault::FailedCreate)?;
        if let Some(inode) = disk.names.get(name) {
            lock(inode).cache.clear();
            return Ok(self.handle(inode));
        }
        let inode = Arc::default();
        disk.change(Change::Link(name.to_owned(), Arc::clone(&inode)));
        Ok(self.handle(&inode))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        match lock(&self.0).names.get(name) {
            Some(inode) => Ok(self.handle(inode)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let disk = lock(&self.0);
        let names = disk.names.keys().filter(|name| parent(name) == folder);
        Ok(names
            .map(|name| name.rsplit('/').next().unwrap_or(name).to_owned())
            .collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = lock(&self.0);
        disk.check(DiskFault::FailedRename)?;
        disk.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = lock(&self.0);
        disk.check(DiskFault::FailedRemove)?;
        disk.change(Change::Unlink(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut disk = lock(&self.0);
        disk.check(DiskFault::FailedFolderSync)?;
        let (synced, left) = disk
            .changes
            .drain(..)
            .partition(|change| change.is_in(folder));
        disk.changes = left;
        let synced: Vec<Change> = synced;
        for change in synced {
            change.apply(&mut disk.durable_names);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Handle {
    disk: Arc<Mutex<DiskState>>,
    inode: Arc<Mutex<Inode>>,
}

impl File for Handle {
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let start = usize::try_from(position).unwrap();
        let mut disk = lock(&self.disk);
        let used = disk.used();
        let mut inode = lock(&self.inode);
        let growth = (start + bytes.len()).saturating_sub(inode.cache.len());
        let beyond = disk.capacity.is_some_and(|most| used + growth > most);
        if growth > 0 && (disk.full || beyond) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let half = bytes.len().div_ceil(2);
        if disk.fails(DiskFault::FailedWrite) {
            inode.write(&bytes[..half], start);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let len = if disk.fails(DiskFault::ShortWrite) {
            half
        } else {
            bytes.len()
        };
        inode.write(&bytes[..len], start);
        Ok(len)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let unreadable = lock(&self.disk).unreadable.clone();
        let inode = lock(&self.inode);
        let start = usize::try_from(position).unwrap().min(inode.cache.len());
        let len = buffer.len().min(inode.cache.len() - start);
        if unreadable.is_some_and(|bytes| bytes.start < start + len && start < bytes.end) {
            return Err(io::Error::other("a bad sector"));
        }
        buffer[..len].copy_from_slice(&inode.cache[start..start + len]);
        Ok(len)
    }

    fn sync(&self) -> io::Result<()> {
        let gate = Arc::clone(&lock(&self.disk).gate);
        gate.pass();
        let failed = lock(&self.disk).check(DiskFault::FailedSync);
        let mut inode = lock(&self.inode);
        if failed.is_err() {
            inode.dirty.clear();
        } else {
            inode.sync();
        }
        failed
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut inode = lock(&self.inode);
        inode.cache.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.inode).cache.len() as u64)
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// `SplitMix64`: good enough to choose pages.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}
