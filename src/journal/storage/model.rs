//! Tests the journal against a model of its guarantees, on a [simulated disk](super::simulated) that
//! fails and loses power: each cursor reads what was reported as synced, in order, once, except what a
//! cursor with a limit had to skip.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use proptest::prelude::*;

use crate::config::{Backlog, OnFull};
use crate::frame::{Frame, Stream, SubscriptionId, Timestamp};
use crate::journal::cursor::state::CursorState;
use crate::journal::log::position::Position;
use crate::journal::log::queue::QueuedBatch;
use crate::journal::log::reader::LogReader;
use crate::journal::log::syncing::SyncJob;
use crate::journal::log::writer::Writer;
use crate::journal::options::Limits;
use crate::journal::shared::Shared;
use crate::journal::storage::simulated::{DiskFault, SimulatedDisk};
use crate::journal::{Appender, Cursor, Progress, Start};

const NAMES: [&str; 2] = ["fast", "slow"];
const SLOW: usize = 1;

const LIMITS: Limits = Limits {
    segment: 600,
    total: None,
    queue: 2000,
    retain_micros: 0,
};

/// How far the cursor `slow` may lag behind; `fast` has no limit.
const BACKLOG: Backlog = Backlog {
    max_bytes: 1500,
    on_full: OnFull::SkipOldest,
};

#[derive(Clone, Debug)]
enum Step {
    /// A frame of this many bytes.
    Append(usize),
    Write,
    Sync,
    /// A sync that ends with `EndSync`; the disk does the work at once, or only at the end.
    StartSync {
        with_cursors: bool,
        at_once: bool,
    },
    EndSync,
    /// The thread that should have synced has ended.
    LoseSync,
    Store,
    Remove,
    Read {
        cursor: usize,
        max_bytes: usize,
    },
    /// Everything that was read is done, except this many records.
    Commit {
        cursor: usize,
        but: u64,
    },
    /// Reads on after what is done.
    Seek {
        cursor: usize,
    },
    /// As an operator asks for it: to this percentage of what the journal holds.
    Rewind {
        cursor: usize,
        percent: u64,
    },
    InjectFault {
        fault: DiskFault,
        after: u32,
    },
    Fill,
    Repair,
    /// The process ends; the disk keeps what was written.
    Kill,
    LosePower {
        seed: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let cursor = 0..NAMES.len();
    let fault = prop_oneof![
        Just(DiskFault::ShortWrite),
        Just(DiskFault::FailedWrite),
        Just(DiskFault::FailedSync),
        Just(DiskFault::FailedFolderSync),
        Just(DiskFault::FailedCreate),
        Just(DiskFault::FailedRename),
        Just(DiskFault::FailedRemove),
    ];
    prop_oneof![
        12 => (0_usize..200).prop_map(Step::Append),
        8 => Just(Step::Write),
        2 => Just(Step::Sync),
        6 => (any::<bool>(), any::<bool>())
            .prop_map(|(with_cursors, at_once)| Step::StartSync { with_cursors, at_once }),
        4 => Just(Step::EndSync),
        1 => Just(Step::LoseSync),
        4 => Just(Step::Store),
        2 => Just(Step::Remove),
        6 => (cursor.clone(), 1_usize..1500).prop_map(|(cursor, max_bytes)| Step::Read { cursor, max_bytes }),
        4 => (cursor.clone(), 0_u64..4).prop_map(|(cursor, but)| Step::Commit { cursor, but }),
        1 => cursor.clone().prop_map(|cursor| Step::Seek { cursor }),
        1 => (cursor, 0_u64..=100).prop_map(|(cursor, percent)| Step::Rewind { cursor, percent }),
        3 => (fault, 0_u32..3).prop_map(|(fault, after)| Step::InjectFault { fault, after }),
        1 => Just(Step::Fill),
        2 => Just(Step::Repair),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(|seed| Step::LosePower { seed }),
    ]
}

/// The journal under test, and what is known of it.
struct Model {
    disk: SimulatedDisk,
    writer: Writer,
    unwritten: Option<QueuedBatch>,
    /// A sync that has begun, and that the disk has not done yet.
    job: Option<SyncJob>,
    cursors: Vec<Cursor>,
    /// By offset, the identities of the frames that must be read.
    present: BTreeMap<u64, u64>,
    /// Taken by the queue, not known to be written.
    queued: BTreeMap<u64, u64>,
    next_offset: u64,
    next_identity: u64,
    /// The offset that each cursor reads next.
    next_read: [u64; NAMES.len()],
    /// How far each cursor has committed in this process.
    done: [u64; NAMES.len()],
}

fn frame(identity: u64, len: usize) -> Frame {
    let mut payload = identity.to_le_bytes().to_vec();
    payload.resize(8 + len, 0xF7);
    Frame {
        subscription: SubscriptionId::new("a", Stream::parse("classic/x").unwrap()),
        received_at: Timestamp(0),
        payload: payload.into(),
    }
}

fn identity(payload: &Bytes) -> u64 {
    u64::from_le_bytes(payload[..8].try_into().unwrap())
}

impl Model {
    fn new() -> Self {
        let disk = SimulatedDisk::default();
        let (writer, cursors) = open(&disk);
        Self {
            disk,
            writer,
            unwritten: None,
            job: None,
            cursors,
            present: BTreeMap::new(),
            queued: BTreeMap::new(),
            next_offset: 0,
            next_identity: 0,
            next_read: [0; NAMES.len()],
            done: [0; NAMES.len()],
        }
    }

    /// Five synced records, which the first cursor has read and committed.
    fn with_five_read() -> Self {
        let mut model = Self::new();
        for _ in 0..5 {
            model.run(&Step::Append(100));
        }
        model.run(&Step::Write);
        model.read_and_commit(0);
        model.run(&Step::Sync);
        model
    }

    fn read_and_commit(&mut self, cursor: usize) {
        let max_bytes = 1000;
        self.run(&Step::Read { cursor, max_bytes });
        self.run(&Step::Commit { cursor, but: 0 });
    }

    /// Fails to store the cursors; half of the write has reached the file.
    fn fail_to_store(&mut self) {
        let fault = DiskFault::FailedWrite;
        self.run(&Step::InjectFault { fault, after: 0 });
        self.run(&Step::Store);
    }

    fn shared(&self) -> &Arc<Shared> {
        self.writer.shared()
    }

    fn progress(&self) -> Progress {
        *self.shared().progress.borrow()
    }

    fn run(&mut self, step: &Step) {
        self.take(step);
        for (done, cursor) in self.done.iter_mut().zip(&self.cursors) {
            *done = cursor.committer().committed().max(*done);
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Append(len) => self.append(len),
            Step::Write => self.write(),
            Step::Sync => drop(self.sync()),
            Step::StartSync {
                with_cursors,
                at_once,
            } => self.start_sync(with_cursors, at_once),
            Step::EndSync => {
                self.do_job();
                self.writer.poll_sync();
            }
            Step::LoseSync => self.job = None,
            Step::Store => drop(self.sync().and_then(|()| self.writer.store_cursors())),
            Step::Remove => drop(self.writer.remove_passed()),
            Step::Read { cursor, max_bytes } => drop(self.read(cursor, max_bytes)),
            Step::Commit { cursor, but } => {
                let done = self.next_read[cursor].saturating_sub(but);
                self.cursors[cursor].committer().commit(done);
            }
            Step::Seek { cursor } => {
                let done = self.cursors[cursor].committer().committed();
                self.cursors[cursor].seek(done);
                self.next_read[cursor] = done;
            }
            Step::Rewind { cursor, percent } => self.rewind(cursor, percent),
            Step::InjectFault { fault, after } => self.disk.inject_fault(fault, after),
            Step::Fill => self.disk.fill(),
            Step::Repair => self.disk.repair(),
            Step::Kill => self.restart(None),
            Step::LosePower { seed } => self.restart(Some(seed)),
        }
    }

    fn start_sync(&mut self, with_cursors: bool, at_once: bool) {
        if !self.writer.is_syncing() && !self.writer.has_failed_sync() {
            self.job = Some(self.writer.start_sync(with_cursors));
        }
        if at_once {
            self.do_job();
        }
    }

    fn do_job(&mut self) {
        if let Some(job) = self.job.take() {
            job.run();
        }
    }

    /// Ends the sync that has begun, and syncs the rest.
    fn sync(&mut self) -> io::Result<()> {
        self.do_job();
        self.writer.sync()
    }

    /// What is synced is kept until the cursor has passed it again.
    fn rewind(&mut self, cursor: usize, percent: u64) {
        let (oldest, end) = {
            let index = self.shared().index();
            (index.oldest().unwrap(), index.end)
        };
        let offset = oldest + (end - oldest) * percent / 100;
        let cursor_of = &mut self.cursors[cursor];
        cursor_of.committer().rewind(offset).unwrap();
        cursor_of.seek(offset);
        self.next_read[cursor] = offset;
    }

    fn append(&mut self, len: usize) {
        let frame = frame(self.next_identity, len);
        let appender = Appender::new(Arc::clone(self.shared()));
        if let Some(appended) = appender.append(&frame).now_or_never() {
            appended.unwrap();
            self.queued.insert(self.next_offset, self.next_identity);
            self.next_offset += 1;
            self.next_identity += 1;
        }
    }

    fn write(&mut self) {
        let batch = self.unwritten.take().or_else(|| {
            let mut buffer = Some(self.writer.take_buffer());
            self.shared()
                .queue
                .wait(Some(Instant::now()), &mut buffer, true)
                .batch
        });
        let Some(batch) = batch else { return };
        if self.writer.needs_file() {
            self.do_job();
        }
        let end = batch.end_offset;
        let before = self.slow().committed();
        match self.writer.write(batch) {
            Ok(()) => {
                self.check_skip(before);
                let rest = self.queued.split_off(&end);
                self.present
                    .append(&mut std::mem::replace(&mut self.queued, rest));
            }
            Err((batch, _)) => self.unwritten = Some(batch),
        }
    }

    fn slow(&self) -> Arc<CursorState> {
        Arc::clone(&self.shared().cursors()[NAMES[SLOW]])
    }

    /// Enough is skipped, and no segment more than that.
    fn check_skip(&self, before: u64) {
        let slow = self.slow();
        let index = self.shared().index();
        let (lag, now) = (slow.lag_bytes(&index), slow.committed());
        let (_, newest) = index.last().unwrap();
        assert!(lag <= BACKLOG.max_bytes.max(newest), "{lag} bytes behind");
        if now > before {
            let skipped = index.bases().map(|(base, _)| base);
            let last_skipped = skipped.take_while(|base| *base < now).last().unwrap();
            let with_it = index.bytes_from(last_skipped, 0);
            assert!(with_it > BACKLOG.max_bytes, "skipped {before} to {now}");
        }
    }

    /// Reads once. Whether there was something to read.
    fn read(&mut self, cursor: usize, max_bytes: usize) -> bool {
        let next = &mut self.next_read[cursor];
        let batch = self.cursors[cursor].read_now(max_bytes).unwrap();
        let skipped = batch.as_ref().map_or(0, |batch| batch.skipped);
        assert!(skipped == 0 || cursor == SLOW, "{skipped} skipped");
        *next += skipped;
        let read: Vec<_> = batch.iter().flat_map(|batch| &batch.entries).collect();
        let end = read.last().map_or(u64::MAX, |last| last.offset + 1);
        let read: Vec<_> = read
            .iter()
            .map(|entry| (entry.offset, identity(&entry.frame.payload)))
            .collect();
        let wanted: Vec<_> = self
            .present
            .range(*next..end)
            .map(|(at, id)| (*at, *id))
            .collect();
        assert_eq!(read, wanted, "read by {}", NAMES[cursor]);
        if end == u64::MAX {
            return false;
        }
        *next = end;
        true
    }

    /// The process ends and starts again, with a loss of power in between or without.
    fn restart(&mut self, power_loss: Option<u64>) {
        let progress = self.progress();
        let safe = if power_loss.is_some() {
            progress.synced
        } else {
            progress.written
        };
        let bounds = self.cursor_bounds();
        if let Some(seed) = power_loss {
            self.disk = self.disk.after_power_loss(seed);
        }
        self.disk.repair();
        (self.unwritten, self.job) = (None, None);
        (self.writer, self.cursors) = open(&self.disk);

        let mut maybe = self.present.split_off(&safe);
        maybe.append(&mut self.queued);
        self.take_survivors(&maybe);
        let end = self.shared().index().end;
        self.next_offset = end;
        assert!(self.next_offset >= safe, "an offset is given twice");
        for (number, least) in bounds.into_iter().enumerate() {
            let now = self.cursors[number].committer().committed();
            let most = self.done[number];
            assert!((least..=most).contains(&now), "{now} of {least}..={most}");
            self.next_read[number] = now;
            self.done[number] = now;
        }
    }

    /// Each cursor must be at this offset or after it when the journal is opened again: what is stored,
    /// unless it was moved back.
    fn cursor_bounds(&self) -> Vec<u64> {
        let cursors = self.shared().cursors();
        NAMES.iter().map(|name| cursors[*name].needed()).collect()
    }

    /// Records that were not synced may be lost. Those that are not must be what was appended.
    fn take_survivors(&mut self, maybe: &BTreeMap<u64, u64>) {
        let oldest = self.shared().index().oldest().unwrap();
        let mut reader = LogReader::new(Arc::clone(self.shared()));
        let mut position = Position::start_of(oldest);
        loop {
            let read = reader.read(position, 1000).unwrap();
            if read.entries.is_empty() {
                break;
            }
            position = read.next;
            for entry in read.entries {
                let found = identity(&entry.frame.payload);
                match maybe.get(&entry.offset) {
                    Some(wanted) => assert_eq!(found, *wanted),
                    None => assert_eq!(self.present.get(&entry.offset), Some(&found)),
                }
                self.present.insert(entry.offset, found);
            }
        }
    }

    /// After the disk is repaired, everything is written, synced, read and removed.
    fn finish(&mut self) {
        self.disk.repair();
        self.run(&Step::EndSync);
        while !self.queued.is_empty() {
            self.write();
        }
        self.sync().unwrap();
        assert_eq!(self.progress().synced, self.next_offset);
        for cursor in 0..NAMES.len() {
            while self.read(cursor, 1000) {}
            self.cursors[cursor].committer().commit(self.next_offset);
        }
        self.writer.store_cursors().unwrap();
        self.writer.remove_passed().unwrap();
        assert_eq!(self.shared().index().segments().count(), 1);
    }
}

fn open(disk: &SimulatedDisk) -> (Writer, Vec<Cursor>) {
    let (writer, _) = Writer::open(Arc::new(disk.clone()), LIMITS).unwrap();
    let register = |name: &&str| Cursor::register(writer.shared(), name, Start::End).unwrap();
    let cursors: Vec<_> = NAMES.iter().map(register).collect();
    cursors[SLOW].committer().limit(BACKLOG);
    (writer, cursors)
}

#[test]
fn a_cursor_that_could_not_be_stored_is_stored_after_a_rewind() {
    let mut model = Model::with_five_read();
    model.fail_to_store();
    model.run(&Step::Rewind {
        cursor: 0,
        percent: 0,
    });
    model.run(&Step::Store);
    model.run(&Step::Kill);
    assert_eq!(model.cursors[0].committer().committed(), 0);
}

#[test]
fn what_a_rewound_cursor_needs_is_kept_after_it_could_not_be_stored() {
    let mut model = Model::with_five_read();
    model.run(&Step::Store);
    model.run(&Step::Rewind {
        cursor: 0,
        percent: 0,
    });
    model.fail_to_store();
    model.read_and_commit(0);
    assert_eq!(model.cursor_bounds()[0], 0);
    model.run(&Step::Kill);
    assert_eq!(model.cursors[0].committer().committed(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_synced_is_read_back_in_order_once_by_each_cursor(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut model = Model::new();
        for step in &steps {
            model.run(step);
        }
        model.finish();
    }
}
