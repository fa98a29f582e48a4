//! One task a sink: it reads the journal with a cursor of its own, makes records of the frames,
//! sends them in order, and moves the cursor over the unbroken run of those that are settled.
//!
//! This is the only place that retries towards a broker. When a try fails, or the connection breaks,
//! the sink is given up, and after a backoff a new one is sent everything from the first unsettled
//! record on, in order.
//!
//! What a broker refuses for good and what cannot be decoded becomes a dead letter; the cursor moves
//! over it once the letter is synced.

mod feed;
mod gaps;
mod letters;
mod plan;
mod prepare;
mod status;
mod supervise;
#[cfg(test)]
mod tests;
mod window;

use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc, watch};

pub use self::plan::{Plan, Plans};
pub use self::prepare::Preparer;
pub use self::status::{Connection, Lag, LastError, Status};
pub use self::supervise::spawn;

use self::feed::Feed;
use self::gaps::Gaps;
use self::letters::{DeadLetters, Events, Letters};
use self::prepare::{Item, Prepared, Resume};
use self::status::Counters;
use self::window::{Position, Window};
use crate::backoff::{Backoff, Curve};
use crate::frame::Timestamp;
use crate::journal::{Appender, Committer, Cursor, Journal, Outside};
use crate::sink::{Broken, Cause, Failure, Outcome, Sink, Ticket};

/// Records that may be unsettled at a time; beyond, sending waits.
const WINDOW_RECORDS: usize = 20_000;

/// Payload bytes that may be unsettled at a time. One record is always let through.
const WINDOW_BYTES: usize = 32 * 1024 * 1024;

/// Records handed over before outcomes are looked at again.
const BURST: usize = 256;

/// Outcomes taken from the queue at a time.
const OUTCOMES: usize = 1024;

/// Latencies are kept from a microsecond to a day, to two digits; a longer one counts as a day.
const LONGEST_LATENCY: Duration = Duration::from_secs(24 * 60 * 60);
const LATENCY_DIGITS: u8 = 2;

/// The pauses between tries to reach a broker.
const PAUSES: Curve = Curve {
    first: Duration::from_millis(500),
    cap: Duration::from_secs(30),
    stable_after: Duration::from_secs(60),
};

/// How a delivery is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Run,
    /// Settle everything before this offset, then end.
    Drain(u64),
    /// End now; what is unsettled is sent again after the next start.
    Stop,
}

/// What others may ask of a running delivery. Dropping it does not stop the task.
#[derive(Clone, Debug)]
pub struct Handle {
    sink: String,
    mode: watch::Sender<Mode>,
    /// Whether a first try to reach the broker has come to its end.
    tried: watch::Sender<bool>,
    counters: Arc<Counters>,
    committer: Committer,
}

impl Handle {
    fn new(sink: String, committer: Committer) -> Self {
        Self {
            sink,
            mode: watch::Sender::new(Mode::Run),
            tried: watch::Sender::new(false),
            counters: Arc::default(),
            committer,
        }
    }

    /// The sink's name in the config.
    #[must_use]
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// Asks for an end as soon as everything before `end` is settled.
    pub fn drain_to(&self, end: u64) {
        self.mode.send_replace(Mode::Drain(end));
    }

    /// Asks for an end now.
    pub fn stop(&self) {
        self.mode.send_replace(Mode::Stop);
    }

    /// Waits until a first try to reach the broker has come to its end, well or not.
    pub async fn first_try(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.tried.subscribe().wait_for(|tried| *tried).await;
    }

    /// How often it failed by a bug of ours and was begun anew.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.counters.panics()
    }

    /// Has everything from `offset` on sent once more, or goes on there. What is in flight is given up.
    ///
    /// # Errors
    /// The journal does not hold that offset.
    pub fn rewind(&self, offset: u64) -> Result<(), Outside> {
        self.committer.rewind(offset)?;
        tracing::info!(sink = self.sink, offset, "rewound");
        Ok(())
    }

    /// How it is doing. Takes a few short locks, no disk work.
    #[must_use]
    pub fn status(&self) -> Status {
        let mode = *self.mode.borrow();
        self.counters.status(mode, &self.committer)
    }
}

/// What a delivery did while it ran.
#[derive(Debug)]
pub struct Summary {
    pub confirmed: u64,
    pub refused: u64,
    pub undecodable: u64,
    /// Records that were handed over again after a failure.
    pub resent: u64,
    /// From the socket to the confirmation, in microseconds.
    pub latency: Histogram<u64>,
    /// The first offset in the journal that is not settled.
    pub settled_to: u64,
}

impl Summary {
    fn of(counters: &Counters, latency: Histogram<u64>, settled_to: u64) -> Self {
        let (refused, undecodable) = counters.refused_records();
        Self {
            confirmed: counters.confirmed_records(),
            refused: refused - undecodable,
            undecodable,
            resent: counters.resent_records(),
            latency,
            settled_to,
        }
    }
}

fn latencies() -> Histogram<u64> {
    let longest = u64::try_from(LONGEST_LATENCY.as_micros()).unwrap_or(u64::MAX);
    Histogram::new_with_max(longest, LATENCY_DIGITS).expect("the bounds are within its range")
}

/// What the deliveries of one sink, one after the other, read, and where they put what they cannot
/// deliver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ends {
    /// Lent to the feed of the delivery that runs.
    cursor: Arc<Mutex<Cursor>>,
    committer: Committer,
    /// Of events of our own.
    frames: Appender,
    dead_letters: DeadLetters,
}

impl Ends {
    #[must_use]
    pub fn new(cursor: Cursor, frames: &Journal, dead_letters: &Journal) -> Self {
        Self {
            frames: frames.appender(),
            committer: cursor.committer(),
            cursor: Arc::new(Mutex::new(cursor)),
            dead_letters: DeadLetters::of(dead_letters),
        }
    }

    /// How far the sink has come.
    #[must_use]
    pub fn committer(&self) -> &Committer {
        &self.committer
    }
}

/// Why a sink is left that works.
enum Leave {
    /// The end was asked for.
    End,
    /// The cursor was moved: another feed is needed.
    Rewound,
}

struct Delivery<S: Sink> {
    sink: String,
    config: S::Config,
    preparer: Arc<Preparer>,
    /// Lent to the feed.
    cursor: Arc<Mutex<Cursor>>,
    committer: Committer,
    mode: watch::Receiver<Mode>,
    tried: watch::Sender<bool>,
    /// Of the plan that held when the last feed began.
    generation: u64,
    window: Window,
    letters: Letters,
    gaps: Gaps,
    counters: Arc<Counters>,
    latency: Histogram<u64>,
}

impl<S: Sink> Delivery<S> {
    fn new(
        sink: String,
        config: S::Config,
        preparer: Arc<Preparer>,
        ends: Ends,
        handle: &Handle,
    ) -> Self {
        let committer = ends.committer;
        let from = Position {
            offset: committer.committed(),
            record: 0,
        };
        Self {
            letters: Letters::new(
                sink.clone(),
                committer.clone(),
                &ends.dead_letters,
                Events {
                    preparer: Arc::clone(&preparer),
                    journal: ends.frames.clone(),
                },
            ),
            gaps: Gaps::new(sink.clone(), committer.losses(), ends.frames),
            sink,
            config,
            preparer,
            cursor: ends.cursor,
            committer,
            mode: handle.mode.subscribe(),
            tried: handle.tried.clone(),
            generation: 0,
            window: Window::new(from),
            counters: Arc::clone(&handle.counters),
            latency: latencies(),
        }
    }

    async fn run(mut self) -> Summary {
        let mut backoff = Backoff::new(PAUSES);
        loop {
            let began = Instant::now();
            let confirmed_before = self.counters.confirmed_records();
            let failure = match self.session().await {
                Ok(Leave::End) => break,
                Ok(Leave::Rewound) => continue,
                Err(Broken(failure)) => failure,
            };
            let unsettled = self.window.len() as u64;
            self.window.give_up();
            backoff.worked(began.elapsed());
            // A connection that is cut often, and delivers in between, is worth a quick try.
            if self.counters.confirmed_records() > confirmed_before {
                backoff.got_on();
            }
            let pause = backoff.pause(None, &mut rand::rng());
            self.tell(&failure, unsettled, pause);
            self.counters.retry(&failure, unsettled, pause);
            self.counters.in_flight(&self.window);
            if self.stopped_within(pause).await {
                break;
            }
        }
        self.counters.ended();
        Summary::of(&self.counters, self.latency, self.committer.committed())
    }

    /// Connects and sends until it breaks, or until the end that was asked for.
    async fn session(&mut self) -> Result<Leave, Broken> {
        if self.committer.renew() {
            self.window = Window::new(Position {
                offset: self.committer.committed(),
                record: 0,
            });
        }
        self.counters.connecting();
        let (outcome_sender, mut outcomes) = mpsc::unbounded_channel();
        let sink = tokio::select! {
            biased;
            () = stopped(&mut self.mode) => return Ok(Leave::End),
            connected = S::connect(&self.config, outcome_sender) => connected,
        };
        self.tried.send_replace(true);
        let mut sink = sink.map_err(|Broken(failure)| Broken(failure.or(Cause::Unreachable)))?;
        self.counters.connected();
        let ended = self.send_all(&mut sink, &mut outcomes).await;
        ended.map_err(|Broken(failure)| Broken(failure.or(Cause::ConnectionLost)))
    }

    /// Sends until it breaks, or until the end that was asked for.
    async fn send_all(
        &mut self,
        sink: &mut S,
        outcomes: &mut mpsc::UnboundedReceiver<(Ticket, Outcome)>,
    ) -> Result<Leave, Broken> {
        let mut feed = self.feed();
        let mut batch: Option<Prepared> = None;
        let mut settled = Vec::with_capacity(OUTCOMES);
        while !self.is_done() {
            tokio::select! {
                biased;
                _ = outcomes.recv_many(&mut settled, OUTCOMES) => self.settle_all(&mut settled)?,
                asked = self.mode.changed() => if asked.is_err() { return Ok(Leave::End) },
                () = self.committer.rewound() => return Ok(Leave::Rewound),
                () = self.letters.work() => self.commit(),
                () = self.gaps.work() => {}
                prepared = feed.next(), if batch.is_none() => batch = Some(prepared?),
                () = ready(()), if batch.is_some() && self.has_room() => {
                    // A broker that takes nothing for a while must not keep us from ending.
                    let mut mode = self.mode.clone();
                    tokio::select! {
                        sent = self.send_burst(sink, &mut batch) => {
                            sent?;
                            self.counters.in_flight(&self.window);
                        }
                        _ = mode.wait_for(|mode| *mode == Mode::Stop) => return Ok(Leave::End),
                    }
                }
            }
        }
        Ok(Leave::End)
    }

    fn feed(&mut self) -> Feed {
        let (cursor, preparer) = (Arc::clone(&self.cursor), Arc::clone(&self.preparer));
        // What is settled was counted since the feed before began, if no plan came in between.
        let from = Resume {
            at: self.window.settled_to(),
            generation: self.generation,
        };
        self.generation = preparer.generation();
        Feed::start(cursor, preparer, from)
    }

    fn is_done(&self) -> bool {
        match *self.mode.borrow() {
            Mode::Run => false,
            Mode::Drain(end) => self.committer.committed() >= end,
            Mode::Stop => true,
        }
    }

    fn has_room(&self) -> bool {
        self.window.len() + self.letters.len() < WINDOW_RECORDS
            && self.window.bytes() < WINDOW_BYTES
    }

    /// Hands over the next records of a batch, and takes the batch away after its last one.
    async fn send_burst(
        &mut self,
        sink: &mut S,
        batch: &mut Option<Prepared>,
    ) -> Result<(), Broken> {
        let Some(prepared) = batch else {
            return Ok(());
        };
        for _ in 0..BURST {
            if !self.has_room() {
                return sink.flush().await;
            }
            let Some(item) = prepared.next() else {
                *batch = None;
                self.commit();
                return sink.flush().await;
            };
            match item {
                Item::Record {
                    offset,
                    then,
                    received_at,
                    record,
                } => {
                    let bytes = record.payload.len();
                    let ticket = self.window.admit(offset, then, bytes, received_at);
                    self.counters.sent();
                    sink.send(ticket, &record).await?;
                }
                Item::Undecodable { offset, then, why } => {
                    let ticket = self.window.admit(offset, then, 0, Timestamp::now());
                    let why = format!("cannot be decoded: {why}");
                    self.refused(ticket, &Failure::new(Cause::Undecodable, why));
                }
                Item::Nothing { then } => self.window.pass(then),
            }
        }
        Ok(())
    }

    fn settle_all(&mut self, outcomes: &mut Vec<(Ticket, Outcome)>) -> Result<(), Broken> {
        let now = Timestamp::now();
        for (ticket, outcome) in outcomes.drain(..) {
            match outcome {
                Outcome::Confirmed => self.confirmed(ticket, now),
                Outcome::Refused(why) => self.refused(ticket, &why),
                Outcome::Retry(why) => return Err(Broken(why)),
            }
        }
        self.commit();
        Ok(())
    }

    fn confirmed(&mut self, ticket: Ticket, now: Timestamp) {
        let Some(received_at) = self.window.confirm(ticket) else {
            return;
        };
        let micros = self.counters.confirmed(received_at, now);
        self.latency.saturating_record(micros);
    }

    fn refused(&mut self, ticket: Ticket, failure: &Failure) {
        if self.window.refuse(ticket, failure.why.clone()).is_some() {
            self.counters.refused(failure);
        }
    }

    /// The cursor moves over what is settled, but for letters that are not safe yet.
    fn commit(&mut self) {
        while let Some(refused) = self.window.next_refused() {
            self.letters.push(refused);
        }
        let settled_to = self.window.settled_to().offset;
        let safe_to = self.letters.first_unsafe().unwrap_or(settled_to);
        self.committer.commit(settled_to.min(safe_to));
        self.counters.in_flight(&self.window);
    }

    /// What no time heals is said as an error.
    fn tell(&self, failure: &Failure, unsettled: u64, pause: Duration) {
        let (sink, cause) = (&self.sink, failure.cause.as_str());
        if failure.cause.needs_operator() {
            tracing::error!(
                sink,
                unsettled,
                cause,
                "{failure}; nothing is dropped, next try in {pause:.1?}"
            );
        } else {
            tracing::warn!(sink, unsettled, cause, "{failure}; next try in {pause:.1?}");
        }
    }

    /// Waits for the pause to pass; `true` if the end was asked for instead.
    async fn stopped_within(&mut self, pause: Duration) -> bool {
        let mut passed = std::pin::pin!(tokio::time::sleep(pause));
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut self.mode) => return true,
                () = &mut passed => return self.is_done(),
                () = self.letters.work() => self.commit(),
                () = self.gaps.work() => {}
            }
        }
    }
}

/// Waits until the end is asked for, or nobody can ask any more.
async fn stopped(mode: &mut watch::Receiver<Mode>) {
    let _ = mode.wait_for(|mode| *mode == Mode::Stop).await;
}
