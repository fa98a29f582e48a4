//! The status of a delivery: counted where it happens, read without making the delivery wait.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::window::SendWindow;
use crate::connection::ConnectionState;
use crate::frame::Timestamp;
use crate::histogram::{Durations, Histogram};
use crate::journal::Committer;
use crate::sink::{Cause, Failure};
use crate::sync::lock;

/// What a delivery was doing at one moment. Counts begin with the process, or when its sink was added
/// to the config.
#[derive(Clone, Debug)]
pub struct Status {
    pub connection: Connection,
    /// It has been connected at least once.
    pub reached: bool,
    /// Everything up to a certain record is to be resolved, and then it ends.
    pub draining: bool,
    pub last_confirmed: Option<Timestamp>,
    /// The last reason for a new try or a dead letter.
    pub last_error: Option<LastError>,
    /// Records that were handed over and are not resolved.
    pub in_flight_records: u64,
    /// Their payloads.
    pub in_flight_bytes: u64,
    /// Records that were handed over, each time.
    pub sent: u64,
    pub confirmed: u64,
    /// Records that were in flight when a try failed: they are sent again.
    pub resent: u64,
    /// Frames, or routes of one, that cannot be decoded; in `refused` too.
    pub undecodable: u64,
    /// Tries that ended, by cause; causes that never occurred are left out.
    pub retried: BTreeMap<Cause, u64>,
    /// Dead letters, by cause; likewise.
    pub refused: BTreeMap<Cause, u64>,
    /// From the socket to the confirmation.
    pub latency: Durations,
    pub lag: Lag,
    /// How often it panicked, and started again.
    pub panics: u64,
}

/// The connection to the broker.
pub type Connection = ConnectionState<Failure>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    pub at: Timestamp,
    pub why: String,
}

/// How far a sink is behind the journal's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    pub records: u64,
    /// In the journal; perhaps a little more than that of the frames that are not resolved.
    pub bytes: u64,
    /// Since the first unresolved frame was received. Before that frame was read: since the newest
    /// confirmed frame was received, or else the first one of its segment.
    pub time: Duration,
}

/// What a delivery and those that come after it for the same sink count.
#[derive(Debug)]
pub(super) struct Counters {
    connection: Mutex<Connection>,
    last_error: Mutex<Option<LastError>>,
    /// Microseconds since the Unix epoch; 0: not yet.
    first_connected: AtomicI64,
    last_confirmed: AtomicI64,
    /// When the newest frame was received of which a record is confirmed.
    newest_confirmed: AtomicI64,
    /// The first frame in flight, and when it was received.
    first_offset: AtomicU64,
    first_received: AtomicI64,
    in_flight_records: AtomicU64,
    in_flight_bytes: AtomicU64,
    sent: AtomicU64,
    confirmed: AtomicU64,
    resent: AtomicU64,
    retried: [AtomicU64; Cause::ALL.len()],
    refused: [AtomicU64; Cause::ALL.len()],
    latency: Histogram,
    panics: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            connection: Mutex::new(Connection::Connecting),
            last_error: Mutex::default(),
            first_connected: AtomicI64::default(),
            last_confirmed: AtomicI64::default(),
            newest_confirmed: AtomicI64::default(),
            first_offset: AtomicU64::default(),
            first_received: AtomicI64::default(),
            in_flight_records: AtomicU64::default(),
            in_flight_bytes: AtomicU64::default(),
            sent: AtomicU64::default(),
            confirmed: AtomicU64::default(),
            resent: AtomicU64::default(),
            retried: Default::default(),
            refused: Default::default(),
            latency: Histogram::default(),
            panics: AtomicU64::default(),
        }
    }
}

impl Counters {
    pub(super) fn connecting(&self) {
        self.set_connection(Connection::Connecting);
    }

    pub(super) fn connected(&self) {
        self.first_connected.store(Timestamp::now().0, Relaxed);
        self.set_connection(Connection::connected());
    }

    pub(super) fn ended(&self) {
        self.set_connection(Connection::Stopped);
    }

    /// A connection or a send has failed: what was in flight is sent again after the pause.
    pub(super) fn retry(&self, failure: &Failure, unresolved: u64, pause: Duration) {
        self.retried[failure.cause as usize].fetch_add(1, Relaxed);
        self.resent.fetch_add(unresolved, Relaxed);
        self.set_connection(Connection::backing_off(pause, failure.clone()));
        self.failed(&failure.why);
    }

    pub(super) fn refused(&self, failure: &Failure) {
        self.refused[failure.cause as usize].fetch_add(1, Relaxed);
        self.failed(&failure.why);
    }

    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    pub(super) fn confirmed(&self, received_at: Timestamp, now: Timestamp) {
        let micros = u64::try_from(now.0 - received_at.0).unwrap_or(0);
        self.confirmed.fetch_add(1, Relaxed);
        self.last_confirmed.store(now.0, Relaxed);
        self.newest_confirmed.fetch_max(received_at.0, Relaxed);
        self.latency.record(micros);
    }

    /// From the socket to the confirmation.
    pub(super) fn latency_quantile(&self, share: f64) -> Duration {
        self.latency.quantile(share)
    }

    /// What is in flight now.
    pub(super) fn in_flight(&self, window: &SendWindow) {
        self.in_flight_records.store(window.len() as u64, Relaxed);
        self.in_flight_bytes.store(window.bytes() as u64, Relaxed);
        if let Some((offset, received_at)) = window.first() {
            self.first_offset.store(offset, Relaxed);
            self.first_received.store(received_at.0, Relaxed);
        }
    }

    pub(super) fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    pub(super) fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    pub(super) fn confirmed_records(&self) -> u64 {
        self.confirmed.load(Relaxed)
    }

    pub(super) fn resent_records(&self) -> u64 {
        self.resent.load(Relaxed)
    }

    /// Dead letters, and of these the ones that could not be decoded.
    pub(super) fn refused_records(&self) -> (u64, u64) {
        let all = self.refused.iter().map(|count| count.load(Relaxed)).sum();
        (all, self.refused[Cause::Undecodable as usize].load(Relaxed))
    }

    pub(super) fn status(&self, draining: bool, committer: &Committer) -> Status {
        Status {
            connection: lock(&self.connection).clone(),
            reached: self.first_connected.load(Relaxed) > 0,
            draining,
            last_confirmed: Some(self.last_confirmed.load(Relaxed))
                .filter(|at| *at > 0)
                .map(Timestamp),
            last_error: lock(&self.last_error).clone(),
            in_flight_records: self.in_flight_records.load(Relaxed),
            in_flight_bytes: self.in_flight_bytes.load(Relaxed),
            sent: self.sent.load(Relaxed),
            confirmed: self.confirmed.load(Relaxed),
            resent: self.resent.load(Relaxed),
            undecodable: self.refused_records().1,
            retried: by_cause(&self.retried),
            refused: by_cause(&self.refused),
            latency: self.latency.snapshot(),
            lag: self.lag(committer),
            panics: self.panics(),
        }
    }

    fn lag(&self, committer: &Committer) -> Lag {
        let lag = committer.lag();
        if lag.records == 0 {
            return Lag::default();
        }
        let first = Some(self.first_received.load(Relaxed))
            .filter(|at| *at > 0 && self.first_offset.load(Relaxed) >= committer.committed());
        let newest_confirmed = self.newest_confirmed.load(Relaxed);
        let since = first.or(lag.since.map(|at| at.0.max(newest_confirmed)));
        let micros = since.map_or(0, |since| Timestamp::now().0.saturating_sub(since));
        Lag {
            records: lag.records,
            bytes: lag.bytes,
            time: Duration::from_micros(u64::try_from(micros).unwrap_or(0)),
        }
    }

    fn set_connection(&self, connection: Connection) {
        *lock(&self.connection) = connection;
    }

    fn failed(&self, why: &str) {
        *lock(&self.last_error) = Some(LastError {
            at: Timestamp::now(),
            why: why.to_owned(),
        });
    }
}

fn by_cause(counts: &[AtomicU64; Cause::ALL.len()]) -> BTreeMap<Cause, u64> {
    Cause::ALL
        .into_iter()
        .map(|cause| (cause, counts[cause as usize].load(Relaxed)))
        .filter(|(_, count)| *count > 0)
        .collect()
}
