//! A simulator of either generation whose faults a test orders, and a forwarder that writes one topic of it
//! into a file.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator};
use serde_json::Value;
use tempfile::TempDir;

use support::config::{Account, Config, Route, Sink};
use support::eventually;
use support::forwarder::Forwarder;
use support::stand::{number_of, records};

/// What of each generation is streamed.
pub(crate) const TOPIC: &str = "audit";
pub(crate) const EVENT: &str = "ap-events";
pub(crate) const EVENT_PATH: &str = "network-monitoring/v1alpha1/ap-events";

/// Frames a second: enough for a test to be short.
pub(crate) const RATE: u32 = 200;

/// Long enough for a refusal, which is tried again after up to 30 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Records that arrive before a fault, and again after it.
pub(crate) const SOME: usize = 30;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Generation {
    Classic,
    New,
}

use Generation::{Classic, New};

/// A simulator, and a forwarder that writes one topic of it into a file.
pub(crate) struct Stand {
    pub(crate) generation: Generation,
    pub(crate) simulator: Simulator,
    pub(crate) forwarder: Forwarder,
    pub(crate) folder: TempDir,
}

impl Stand {
    pub(crate) async fn new(generation: Generation) -> Self {
        Self::with(generation, "").await
    }

    /// `more` is what the account has besides.
    pub(crate) async fn with(generation: Generation, more: &str) -> Self {
        let simulator = Simulator::start(Options {
            rate: RATE,
            ..Options::default()
        })
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let account = account(generation, &simulator).line(more);
        Config::in_folder(path)
            .account("acme", &account)
            .sink("file", &Sink::file(&path.join("out")))
            .sink("gaps", &Sink::file(&path.join("gaps")))
            .route(&Route::all("file"))
            .route(&Route::of(&["@gaps"], "gaps"))
            .write(path);
        let stand = Self {
            generation,
            simulator,
            forwarder: run(path),
            folder,
        };
        stand.more_arrive();
        stand
    }

    /// The numbers of the records in the file, in its order.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.records("out").iter().map(number_of).collect()
    }

    /// The gaps that were told.
    pub(crate) fn gaps(&self) -> Vec<Value> {
        let gaps = self.records("gaps");
        gaps.into_iter().map(|mut gap| gap["data"].take()).collect()
    }

    pub(crate) fn records(&self, file: &str) -> Vec<Value> {
        records(&self.folder.path().join(file))
    }

    /// Once more.
    pub(crate) fn start(&mut self) {
        self.forwarder = run(self.folder.path());
    }

    pub(crate) fn more_arrive(&self) {
        let before = self.numbers().len();
        eventually(PATIENCE, "more records arrive", || {
            self.numbers().len() >= before + SOME
        });
    }

    pub(crate) fn order(&self, fault: &str) {
        self.simulator.order(fault.parse().unwrap());
    }

    /// Orders a fault, and waits until it has happened and the log says what came of it.
    pub(crate) fn suffer(&mut self, fault: &str, said: &str) {
        self.order(fault);
        self.forwarder.wait_for_stderr(PATIENCE, said);
        let orders = self.simulator.orders();
        assert!(orders.iter().all(|order| order.happened > 0), "{orders:?}");
    }

    /// The last number that was sent.
    pub(crate) fn last(&self) -> u64 {
        let stream = match self.generation {
            Classic => TOPIC,
            New => EVENT_PATH,
        };
        self.simulator.sent()[stream].last_sequence
    }

    /// How many handshakes were answered with this status.
    pub(crate) fn handshakes(&self, status: u16) -> usize {
        let all = self.simulator.handshakes();
        all.iter()
            .filter(|handshake| handshake.status == status)
            .count()
    }

    /// Frames go on, and in the end each that was sent is in the file, in order; gives back how many
    /// were there more than once.
    pub(crate) async fn nothing_is_lost(self) -> usize {
        self.more_arrive();
        self.simulator.be_quiet();
        let mut numbers = Vec::new();
        eventually(PATIENCE, "all that was sent arrives", || {
            numbers = self.numbers();
            numbers.last().copied().unwrap_or(0) == self.last()
        });
        assert!(numbers.is_sorted(), "{numbers:?}");
        let different: BTreeSet<u64> = numbers.iter().copied().collect();
        let all = (1..=*numbers.last().unwrap()).collect();
        let missing: Vec<_> = BTreeSet::difference(&all, &different).collect();
        assert!(missing.is_empty(), "{missing:?} are missing");
        self.end().await;
        numbers.len() - different.len()
    }

    pub(crate) async fn end(mut self) {
        self.forwarder.terminate();
        assert!(self.forwarder.wait(PATIENCE).success());
        self.simulator.stop().await;
    }
}

fn run(folder: &Path) -> Forwarder {
    Forwarder::run(&folder.join("config.toml"))
}

fn account(generation: Generation, simulator: &Simulator) -> Account {
    match generation {
        Classic => Account::classic(&simulator.endpoint(), &[TOPIC]),
        New => Account::new_central(simulator, &[EVENT]),
    }
}
