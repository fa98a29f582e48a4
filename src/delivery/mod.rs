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
mod handle;
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
use tokio::sync::{Mutex, watch};

pub use self::handle::{Handle, Summary};
pub use self::plan::{Plan, Plans};
pub use self::prepare::Preparer;
pub use self::status::{Connection, Lag, LastError, Status};
pub use self::supervise::spawn;

use self::feed::Feed;
use self::gaps::Gaps;
use self::handle::{Mode, latencies, stopped};
use self::letters::{DeadLetters, Events, Letters};
use self::prepare::{Item, Prepared, Resume};
use self::status::Counters;
use self::window::{Position, Window};
use crate::backoff::{Backoff, Curve};
use crate::frame::Timestamp;
use crate::journal::{Appender, Committer, Cursor, Journal};
use crate::sink::{
    Cause, ConnectionError, DeliveryId, Failure, Outcome, OutcomeReceiver, Outcomes, Sink,
};

/// Records that may be unsettled at a time; beyond, sending waits.
const WINDOW_RECORDS: usize = 20_000;

/// Payload bytes that may be unsettled at a time. One record is always let through.
const WINDOW_BYTES: usize = 32 * 1024 * 1024;

/// Records handed over before outcomes are looked at again.
const BURST: usize = 256;

/// Outcomes taken from the queue at a time.
const OUTCOMES: usize = 1024;

/// The pauses between tries to reach a broker.
const PAUSES: Curve = Curve {
    first: Duration::from_millis(500),
    cap: Duration::from_secs(30),
    stable_after: Duration::from_secs(60),
};

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
                Err(ConnectionError(failure)) => failure,
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
    async fn session(&mut self) -> Result<Leave, ConnectionError> {
        if self.committer.renew() {
            self.window = Window::new(Position {
                offset: self.committer.committed(),
                record: 0,
            });
        }
        self.counters.connecting();
        let (outcome_sender, mut outcomes) = Outcomes::channel();
        let sink = tokio::select! {
            biased;
            () = stopped(&mut self.mode) => return Ok(Leave::End),
            connected = S::connect(&self.config, outcome_sender) => connected,
        };
        self.tried.send_replace(true);
        let mut sink = sink
            .map_err(|ConnectionError(failure)| ConnectionError(failure.or(Cause::Unreachable)))?;
        self.counters.connected();
        let ended = self.send_all(&mut sink, &mut outcomes).await;
        self.settle_rest(&mut outcomes);
        ended.map_err(|ConnectionError(failure)| ConnectionError(failure.or(Cause::ConnectionLost)))
    }

    /// Sends until it breaks, or until the end that was asked for.
    async fn send_all(
        &mut self,
        sink: &mut S,
        outcomes: &mut OutcomeReceiver,
    ) -> Result<Leave, ConnectionError> {
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
                    let Some(prepared) = &mut batch else { continue };
                    // A broker that takes nothing for a while must not keep us from ending.
                    let mut mode = self.mode.clone();
                    tokio::select! {
                        sent = self.send_burst(sink, prepared) => sent?,
                        _ = mode.wait_for(|mode| *mode == Mode::Stop) => return Ok(Leave::End),
                    }
                    if let Some(sent) = batch.take_if(|batch| batch.is_over()) {
                        feed.give_back(sent);
                        self.commit();
                    }
                    self.counters.in_flight(&self.window);
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

    /// Hands over the next records of a batch.
    async fn send_burst(
        &mut self,
        sink: &mut S,
        prepared: &mut Prepared,
    ) -> Result<(), ConnectionError> {
        let mut left = BURST;
        while left > 0
            && self.has_room()
            && let Some(item) = prepared.next()
        {
            left -= 1;
            match item {
                Item::Record {
                    offset,
                    then,
                    received_at,
                    record,
                } => {
                    let bytes = record.payload.len();
                    let delivery_id = self.window.admit(offset, then, bytes, received_at);
                    self.counters.sent();
                    sink.send(delivery_id, &record).await?;
                }
                Item::Undecodable { offset, then, why } => {
                    let delivery_id = self.window.admit(offset, then, 0, Timestamp::now());
                    let why = format!("cannot be decoded: {why}");
                    self.refused(delivery_id, &Failure::new(Cause::Undecodable, why));
                }
                Item::Nothing { then } => self.window.pass(then),
            }
        }
        if prepared.is_over() || !self.has_room() {
            sink.flush().await
        } else {
            Ok(())
        }
    }

    /// What a sink that is left has said already is not asked for again. From here on it hears that
    /// nobody listens.
    fn settle_rest(&mut self, outcomes: &mut OutcomeReceiver) {
        outcomes.close();
        let mut rest: Vec<_> = std::iter::from_fn(|| outcomes.try_recv().ok()).collect();
        // Why the sink is left is known by now.
        let _ = self.settle_all(&mut rest);
    }

    fn settle_all(
        &mut self,
        outcomes: &mut Vec<(DeliveryId, Outcome)>,
    ) -> Result<(), ConnectionError> {
        let now = Timestamp::now();
        let mut put_off: Option<(DeliveryId, Failure)> = None;
        for (delivery_id, outcome) in outcomes.drain(..) {
            let is_sent_again = put_off
                .as_ref()
                .is_some_and(|(first, _)| *first < delivery_id);
            match outcome {
                _ if is_sent_again => {}
                Outcome::Confirmed => self.confirmed(delivery_id, now),
                Outcome::Refused(why) => self.refused(delivery_id, &why),
                Outcome::Retry(why) => put_off = put_off.or(Some((delivery_id, why))),
            }
        }
        self.commit();
        put_off.map_or(Ok(()), |(_, why)| Err(ConnectionError(why)))
    }

    fn confirmed(&mut self, delivery_id: DeliveryId, now: Timestamp) {
        let Some(received_at) = self.window.confirm(delivery_id) else {
            return;
        };
        let micros = self.counters.confirmed(received_at, now);
        self.latency.saturating_record(micros);
    }

    fn refused(&mut self, delivery_id: DeliveryId, failure: &Failure) {
        if self
            .window
            .refuse(delivery_id, failure.why.clone())
            .is_some()
        {
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
