//! The journal against a model of what it promises, on a [simulated disk](super::sim) that loses
//! power and fails: what was reported as synced is read back, in order, once by each cursor, but for
//! what a cursor with a limit had to skip.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use proptest::prelude::*;

use super::reader::{Place, Reader};
use super::registered::Registered;
use super::sim::{Fault, Sim};
use super::syncing::SyncJob;
use super::writer::Writer;
use super::{Appender, Cursor, Limits, Progress, Shared, Start};
use crate::config::{Backlog, OnFull};
use crate::frame::{Frame, Stream, SubscriptionId, Timestamp};

const NAMES: [&str; 2] = ["fast", "slow"];
const SLOW: usize = 1;

const LIMITS: Limits = Limits {
    segment: 600,
    total: None,
    queue: 2000,
    retain_micros: 0,
};

/// How far the cursor `slow` may lag behind; `fast` may as far as it likes.
const BACKLOG: Backlog = Backlog {
    max_bytes: 1500,
    on_full: OnFull::SkipOldest,
};

#[derive(Clone, Debug)]
enum Step {
    /// A frame of so many bytes.
    Append(usize),
    Write,
    Sync,
    /// One that other steps may come before the end of; the disk does it at once, or only then.
    StartSync {
        with_cursors: bool,
        at_once: bool,
    },
    EndSync,
    /// The thread that should have done it is gone.
    LoseSync,
    Store,
    Remove,
    Read {
        cursor: usize,
        window: usize,
    },
    /// Everything that was read is done, but for so many records.
    Commit {
        cursor: usize,
        but: u64,
    },
    /// Back to what is done.
    Seek {
        cursor: usize,
    },
    /// As an operator asks for it: to that part, in percent, of what is there.
    Rewind {
        cursor: usize,
        percent: u64,
    },
    Plan {
        fault: Fault,
        after: u32,
    },
    Fill,
    Heal,
    /// The process ends; the disk keeps what was written.
    Kill,
    LosePower {
        seed: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let cursor = 0..NAMES.len();
    let fault = prop_oneof![
        Just(Fault::ShortWrite),
        Just(Fault::FailedWrite),
        Just(Fault::FailedSync),
        Just(Fault::FailedFolderSync),
        Just(Fault::FailedCreate),
        Just(Fault::FailedRename),
        Just(Fault::FailedRemove),
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
        6 => (cursor.clone(), 1_usize..1500).prop_map(|(cursor, window)| Step::Read { cursor, window }),
        4 => (cursor.clone(), 0_u64..4).prop_map(|(cursor, but)| Step::Commit { cursor, but }),
        1 => cursor.clone().prop_map(|cursor| Step::Seek { cursor }),
        1 => (cursor, 0_u64..=100).prop_map(|(cursor, percent)| Step::Rewind { cursor, percent }),
        3 => (fault, 0_u32..3).prop_map(|(fault, after)| Step::Plan { fault, after }),
        1 => Just(Step::Fill),
        2 => Just(Step::Heal),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(|seed| Step::LosePower { seed }),
    ]
}

/// The journal under test, and what is known of it.
struct Model {
    disk: Sim,
    writer: Writer,
    unwritten: Option<super::queue::Batch>,
    /// A sync that has begun, and that the disk has not done.
    job: Option<SyncJob>,
    cursors: Vec<Cursor>,
    /// By offset, the identities of the frames that must be read.
    present: BTreeMap<u64, u64>,
    /// Taken by the queue, not known to be written.
    queued: BTreeMap<u64, u64>,
    next_offset: u64,
    next_identity: u64,
    /// What each cursor reads next.
    places: [u64; NAMES.len()],
    /// The furthest that each has done, in this process.
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
        let disk = Sim::default();
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
            places: [0; NAMES.len()],
            done: [0; NAMES.len()],
        }
    }

    /// Five records, which the first cursor has had.
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
        let window = 1000;
        self.run(&Step::Read { cursor, window });
        self.run(&Step::Commit { cursor, but: 0 });
    }

    /// A write that has failed may have reached the file all the same.
    fn fail_to_store(&mut self) {
        let fault = Fault::FailedWrite;
        self.run(&Step::Plan { fault, after: 0 });
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
            Step::Read { cursor, window } => drop(self.read(cursor, window)),
            Step::Commit { cursor, but } => {
                let done = self.places[cursor].saturating_sub(but);
                self.cursors[cursor].committer().commit(done);
            }
            Step::Seek { cursor } => {
                let done = self.cursors[cursor].committer().committed();
                self.cursors[cursor].seek(done);
                self.places[cursor] = done;
            }
            Step::Rewind { cursor, percent } => self.rewind(cursor, percent),
            Step::Plan { fault, after } => self.disk.plan(fault, after),
            Step::Fill => self.disk.fill(),
            Step::Heal => self.disk.heal(),
            Step::Kill => self.restart(None),
            Step::LosePower { seed } => self.restart(Some(seed)),
        }
    }

    fn start_sync(&mut self, with_cursors: bool, at_once: bool) {
        if !self.writer.is_syncing() && !self.writer.is_suspect() {
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

    /// It waits for the one that has begun.
    fn sync(&mut self) -> io::Result<()> {
        self.do_job();
        self.writer.sync()
    }

    /// What was promised to be there is, until the cursor has passed it again.
    fn rewind(&mut self, cursor: usize, percent: u64) {
        let (oldest, end) = {
            let index = self.shared().index();
            (index.oldest().unwrap(), index.end)
        };
        let offset = oldest + (end - oldest) * percent / 100;
        let cursor_of = &mut self.cursors[cursor];
        cursor_of.committer().rewind(offset).unwrap();
        cursor_of.seek(offset);
        self.places[cursor] = offset;
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
            let mut spare = Some(self.writer.spare());
            self.shared()
                .queue
                .wait(Some(Instant::now()), &mut spare, true)
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

    fn slow(&self) -> Arc<Registered> {
        Arc::clone(&self.shared().cursors()[NAMES[SLOW]])
    }

    /// Enough is skipped, and no segment that need not be.
    fn check_skip(&self, before: u64) {
        let slow = self.slow();
        let index = self.shared().index();
        let (lag, now) = (slow.lag(&index), slow.committed());
        let (_, newest) = index.last().unwrap();
        assert!(lag <= BACKLOG.max_bytes.max(newest), "{lag} bytes behind");
        if now > before {
            let skipped = index.bases().map(|(base, _)| base);
            let last_skipped = skipped.take_while(|base| *base < now).last().unwrap();
            let with_it = index.bytes_from(last_skipped, 0);
            assert!(with_it > BACKLOG.max_bytes, "skipped {before} to {now}");
        }
    }

    /// Reads once; whether there was something.
    fn read(&mut self, cursor: usize, window: usize) -> bool {
        let place = &mut self.places[cursor];
        let batch = self.cursors[cursor].read_now(window).unwrap();
        let skipped = batch.as_ref().map_or(0, |batch| batch.skipped);
        assert!(skipped == 0 || cursor == SLOW, "{skipped} skipped");
        *place += skipped;
        let read: Vec<_> = batch.iter().flat_map(|batch| &batch.entries).collect();
        let end = read.last().map_or(u64::MAX, |last| last.offset + 1);
        let read: Vec<_> = read
            .iter()
            .map(|entry| (entry.offset, identity(&entry.frame.payload)))
            .collect();
        let wanted: Vec<_> = self
            .present
            .range(*place..end)
            .map(|(at, id)| (*at, *id))
            .collect();
        assert_eq!(read, wanted, "read by {}", NAMES[cursor]);
        if end == u64::MAX {
            return false;
        }
        *place = end;
        true
    }

    /// The process ends and begins again, with or without the loss of power in between.
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
        self.disk.heal();
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
            self.places[number] = now;
            self.done[number] = now;
        }
    }

    /// What no cursor may be behind of after a restart: what is stored, unless it was moved back.
    fn cursor_bounds(&self) -> Vec<u64> {
        let cursors = self.shared().cursors();
        NAMES.iter().map(|name| cursors[*name].needed()).collect()
    }

    /// What was not synced may be lost or not, but must be what was appended if it is there.
    fn take_survivors(&mut self, maybe: &BTreeMap<u64, u64>) {
        let oldest = self.shared().index().oldest().unwrap();
        let mut reader = Reader::new(Arc::clone(self.shared()));
        let mut place = Place::of(self.shared(), oldest);
        loop {
            let window = reader.read(place, 1000).unwrap();
            if window.entries.is_empty() {
                break;
            }
            place = window.next;
            for entry in window.entries {
                let found = identity(&entry.frame.payload);
                match maybe.get(&entry.offset) {
                    Some(wanted) => assert_eq!(found, *wanted),
                    None => assert_eq!(self.present.get(&entry.offset), Some(&found)),
                }
                self.present.insert(entry.offset, found);
            }
        }
    }

    /// Once the disk is well again, everything is.
    fn finish(&mut self) {
        self.disk.heal();
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

fn open(disk: &Sim) -> (Writer, Vec<Cursor>) {
    let (writer, _) = Writer::open(Arc::new(disk.clone()), LIMITS).unwrap();
    let register = |name: &&str| Cursor::register(writer.shared(), name, Start::End).unwrap();
    let cursors: Vec<_> = NAMES.iter().map(register).collect();
    cursors[SLOW].committer().limit(BACKLOG);
    (writer, cursors)
}

#[test]
fn a_cursor_that_was_moved_back_after_it_could_not_be_stored_is_stored_again() {
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
fn what_a_cursor_needs_that_was_moved_back_and_could_not_be_stored_is_kept() {
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
