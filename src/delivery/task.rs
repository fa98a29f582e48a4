//! The task that delivers to one sink: connect, send, and connect again.

use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};

use super::context::SinkContext;
use super::dead_letter_writer::{DeadLetterWriter, EventWriter};
use super::gap_reporter::GapReporter;
use super::handle::{Handle, Mode, Summary, stopped};
use super::prefetch::Prefetch;
use super::prepare::{Item, PreparedBatch, Preparer, ResumePoint};
use super::status::Counters;
use super::window::{Position, SendWindow};
use crate::backoff::{Backoff, Curve};
use crate::frame::Timestamp;
use crate::journal::{Committer, Cursor};
use crate::sink::{
    Cause, ConnectionError, DeliveryId, Failure, Outcome, OutcomeReceiver, Outcomes, Sink,
};

/// Records that may be in flight at a time; beyond, sending waits.
const WINDOW_RECORDS: usize = 20_000;

/// Payload bytes that may be in flight at a time. One record is always let through.
const WINDOW_BYTES: usize = 32 * 1024 * 1024;

/// Records that are sent before outcomes are handled again.
const BURST: usize = 256;

/// Outcomes that are taken from the queue at a time.
const OUTCOMES: usize = 1024;

/// The pauses between tries to reach a broker.
pub(super) const BACKOFF: Curve = Curve {
    first: Duration::from_millis(500),
    cap: Duration::from_secs(30),
    stable_after: Duration::from_secs(60),
};

/// Why a session ended although its connection works.
enum StopReason {
    /// Somebody asked for the end.
    Asked,
    /// The cursor was moved: records must be prefetched from another place.
    Rewound,
}

/// One sink's delivery.
pub(super) struct Delivery<S: Sink> {
    sink: String,
    config: S::Config,
    preparer: Arc<Preparer>,
    /// Locked by the prefetch.
    cursor: Arc<Mutex<Cursor>>,
    committer: Committer,
    mode: watch::Receiver<Mode>,
    tried: watch::Sender<bool>,
    /// The generation of the plan when the last prefetch began.
    generation: u64,
    window: SendWindow,
    dead_letters: DeadLetterWriter,
    gaps: GapReporter,
    counters: Arc<Counters>,
}

impl<S: Sink> Delivery<S> {
    pub(super) fn new(
        sink: String,
        config: S::Config,
        preparer: Arc<Preparer>,
        context: SinkContext,
        handle: &Handle,
    ) -> Self {
        let committer = context.committer;
        let events = EventWriter {
            preparer: Arc::clone(&preparer),
            journal: context.frames.clone(),
        };
        Self {
            dead_letters: DeadLetterWriter::new(
                sink.clone(),
                committer.clone(),
                &context.dead_letters,
                events,
            ),
            gaps: GapReporter::new(sink.clone(), committer.losses(), context.frames),
            sink,
            config,
            preparer,
            cursor: context.cursor,
            mode: handle.mode.subscribe(),
            tried: handle.tried.clone(),
            generation: 0,
            window: SendWindow::new(Position::start_of(committer.committed())),
            committer,
            counters: Arc::clone(&handle.counters),
        }
    }

    /// Delivers until the end is asked for.
    pub(super) async fn run(mut self) -> Summary {
        let mut backoff = Backoff::new(BACKOFF);
        loop {
            let began = Instant::now();
            let confirmed_before = self.counters.confirmed_records();
            let failure = match self.session().await {
                Ok(StopReason::Asked) => break,
                Ok(StopReason::Rewound) => continue,
                Err(ConnectionError(failure)) => failure,
            };
            let unresolved = self.window.len() as u64;
            self.window.abandon();
            backoff.worked(began.elapsed());
            // A connection that breaks often, and delivers in between, is worth a quick try.
            if self.counters.confirmed_records() > confirmed_before {
                backoff.made_progress();
            }
            let pause = backoff.pause(None, &mut rand::rng());
            self.log_failure(&failure, unresolved, pause);
            self.counters.retry(&failure, unresolved, pause);
            self.counters.in_flight(&self.window);
            if self.stopped_within(pause).await {
                break;
            }
        }
        self.counters.ended();
        Summary::of(&self.counters, self.committer.committed())
    }

    /// One connection: sends until it breaks, or until it is to stop.
    async fn session(&mut self) -> Result<StopReason, ConnectionError> {
        if self.committer.renew() {
            self.window = SendWindow::new(Position::start_of(self.committer.committed()));
        }
        self.counters.connecting();
        let (outcome_sender, mut outcomes) = Outcomes::channel();
        let sink = tokio::select! {
            biased;
            () = stopped(&mut self.mode) => return Ok(StopReason::Asked),
            connected = S::connect(&self.config, outcome_sender) => connected,
        };
        self.tried.send_replace(true);
        let mut sink = sink
            .map_err(|ConnectionError(failure)| ConnectionError(failure.or(Cause::Unreachable)))?;
        self.counters.connected();
        let ended = self.send_all(&mut sink, &mut outcomes).await;
        self.handle_last_outcomes(&mut outcomes);
        ended.map_err(|ConnectionError(failure)| ConnectionError(failure.or(Cause::ConnectionLost)))
    }

    async fn send_all(
        &mut self,
        sink: &mut S,
        outcomes: &mut OutcomeReceiver,
    ) -> Result<StopReason, ConnectionError> {
        let mut prefetch = self.prefetch();
        let mut batch: Option<PreparedBatch> = None;
        let mut received = Vec::with_capacity(OUTCOMES);
        while !self.is_done() {
            tokio::select! {
                biased;
                _ = outcomes.recv_many(&mut received, OUTCOMES) => self.handle_outcomes(&mut received)?,
                asked = self.mode.changed() => if asked.is_err() { return Ok(StopReason::Asked) },
                () = self.committer.rewound() => return Ok(StopReason::Rewound),
                () = self.dead_letters.work() => self.commit(),
                () = self.gaps.work() => {}
                prepared = prefetch.next(), if batch.is_none() => batch = Some(prepared?),
                () = ready(()), if batch.is_some() && self.has_room() => {
                    let Some(prepared) = &mut batch else { continue };
                    // A broker that takes nothing for a while must not delay the end.
                    let mut mode = self.mode.clone();
                    tokio::select! {
                        sent = self.send_burst(sink, prepared) => sent?,
                        () = stopped(&mut mode) => return Ok(StopReason::Asked),
                    }
                    if let Some(sent) = batch.take_if(|batch| batch.is_done()) {
                        prefetch.recycle(sent);
                        self.commit();
                    }
                    self.counters.in_flight(&self.window);
                }
            }
        }
        Ok(StopReason::Asked)
    }

    fn prefetch(&mut self) -> Prefetch {
        let (cursor, preparer) = (Arc::clone(&self.cursor), Arc::clone(&self.preparer));
        // The position counts records as the plan of the last prefetch had them.
        let from = ResumePoint {
            position: self.window.resolved_to(),
            generation: self.generation,
        };
        self.generation = preparer.generation();
        Prefetch::start(cursor, preparer, from)
    }

    fn is_done(&self) -> bool {
        match *self.mode.borrow() {
            Mode::Run => false,
            Mode::Drain(end) => self.committer.committed() >= end,
            Mode::Stop => true,
        }
    }

    fn has_room(&self) -> bool {
        self.window.len() + self.dead_letters.len() < WINDOW_RECORDS
            && self.window.bytes() < WINDOW_BYTES
    }

    /// Sends the next records of a batch.
    async fn send_burst(
        &mut self,
        sink: &mut S,
        batch: &mut PreparedBatch,
    ) -> Result<(), ConnectionError> {
        let mut left = BURST;
        while left > 0
            && self.has_room()
            && let Some(item) = batch.next_item()
        {
            left -= 1;
            match item {
                Item::Record {
                    offset,
                    next,
                    received_at,
                    record,
                } => {
                    let bytes = record.payload.len();
                    let delivery_id = self.window.push(offset, next, bytes, received_at);
                    self.counters.sent();
                    sink.send(delivery_id, &record).await?;
                }
                Item::Undecodable {
                    offset,
                    next,
                    reason,
                } => {
                    let delivery_id = self.window.push(offset, next, 0, Timestamp::now());
                    let reason = format!("cannot be decoded: {reason}");
                    self.refused(delivery_id, &Failure::new(Cause::Undecodable, reason));
                }
                Item::NoRecord { next } => self.window.skip_to(next),
            }
        }
        if batch.is_done() || !self.has_room() {
            sink.flush().await
        } else {
            Ok(())
        }
    }

    /// Handles the outcomes that a sink has sent before it is dropped. Closing the channel tells it
    /// that later ones are not wanted.
    fn handle_last_outcomes(&mut self, outcomes: &mut OutcomeReceiver) {
        outcomes.close();
        let mut rest: Vec<_> = std::iter::from_fn(|| outcomes.try_recv().ok()).collect();
        // The session has ended for another reason, which is known already.
        let _ = self.handle_outcomes(&mut rest);
    }

    /// An error is the first outcome that asks for a retry. Outcomes of records behind it are ignored:
    /// those records are sent again.
    fn handle_outcomes(
        &mut self,
        outcomes: &mut Vec<(DeliveryId, Outcome)>,
    ) -> Result<(), ConnectionError> {
        let now = Timestamp::now();
        let mut retry: Option<(DeliveryId, Failure)> = None;
        for (delivery_id, outcome) in outcomes.drain(..) {
            let is_sent_again = retry
                .as_ref()
                .is_some_and(|(first, _)| *first < delivery_id);
            match outcome {
                _ if is_sent_again => {}
                Outcome::Confirmed => self.confirmed(delivery_id, now),
                Outcome::Refused(why) => self.refused(delivery_id, &why),
                Outcome::Retry(why) => retry = retry.or(Some((delivery_id, why))),
            }
        }
        self.commit();
        retry.map_or(Ok(()), |(_, why)| Err(ConnectionError(why)))
    }

    fn confirmed(&mut self, delivery_id: DeliveryId, now: Timestamp) {
        if let Some(received_at) = self.window.confirm(delivery_id) {
            self.counters.confirmed(received_at, now);
        }
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

    /// Moves the cursor over what is resolved, up to the first dead letter that is not synced yet.
    fn commit(&mut self) {
        while let Some(refused) = self.window.next_refused() {
            self.dead_letters.push(refused);
        }
        let resolved_to = self.window.resolved_to().offset;
        let safe_to = self.dead_letters.first_unsynced().unwrap_or(resolved_to);
        self.committer.commit(resolved_to.min(safe_to));
        self.counters.in_flight(&self.window);
    }

    /// A failure that only an operator can mend is logged as an error.
    fn log_failure(&self, failure: &Failure, unresolved: u64, pause: Duration) {
        let (sink, cause) = (&self.sink, failure.cause.as_str());
        if failure.cause.needs_operator() {
            tracing::error!(
                sink,
                unresolved,
                cause,
                "{failure}; nothing is dropped, next try in {pause:.1?}"
            );
        } else {
            tracing::warn!(
                sink,
                unresolved,
                cause,
                "{failure}; next try in {pause:.1?}"
            );
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
                () = self.dead_letters.work() => self.commit(),
                () = self.gaps.work() => {}
            }
        }
    }
}
