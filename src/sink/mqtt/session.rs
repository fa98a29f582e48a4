//! One connection after its CONNACK: packets out, acknowledgements in, each matched to its record.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::dial::{Reader, Writer, dial};
use super::handshake::{Limits, connect, disconnect, take_connack};
use super::packet::{self, Incoming, PINGREQ};
use super::publish::Packet;
use super::reason;
use crate::config::Mqtt;
use crate::sink::{Cause, Failure, Outcome, Outcomes, Ticket};

/// How long a broker may take to acknowledge a record, to answer a ping, or to let us in. One that
/// was stopped for a while may go on within it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a broker may hear nothing from us, unless it has its own idea. A ping goes out twice in
/// that time, also while records do: their acknowledgements have a clock of their own.
const KEEP_ALIVE: u16 = 30;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Records under way at `QoS` 1 and 2, where the broker allows more: enough for a distant broker,
/// and few to repeat when the connection breaks.
const IN_FLIGHT: usize = 4096;

/// Bytes that are gathered for one write.
const WRITE_BYTES: usize = 64 * 1024;

/// Room for acknowledgements that are read at once.
const READ_BYTES: usize = 8 * 1024;

/// How long a goodbye may take that nobody waits for.
const GOODBYE: Duration = Duration::from_secs(1);

/// A record on its way to the broker.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) ticket: Ticket,
    pub(super) packet: Packet,
}

/// A connection that the broker has let in.
pub(super) struct Line {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// What came behind the CONNACK.
    pub(super) incoming: BytesMut,
    pub(super) limits: Limits,
}

pub(super) struct Session {
    reader: Reader,
    writer: Writer,
    requests: mpsc::Receiver<Request>,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Something was written that may still be in the stream's own buffer.
    unflushed: bool,
    book: Book,
    limits: Limits,
    /// What is said at a good end.
    goodbye: &'static [u8],
    ping_every: Duration,
    last_ping: Instant,
    awaits_pong: bool,
}

/// Which records are where.
struct Book {
    outcomes: Outcomes,
    in_flight: HashMap<u16, Pending>,
    receive_max: usize,
    last_id: u16,
    /// Records at `QoS` 0 with the position in the stream of bytes at which each ends.
    unwritten: VecDeque<(u64, Ticket)>,
    /// Bytes that were put into `outgoing`, and of these, those that were written.
    put: u64,
    written: u64,
}

/// A packet that is to be acknowledged.
struct Pending {
    /// `None`: a packet of our own.
    ticket: Option<Ticket>,
    since: Instant,
}

impl Session {
    pub(super) async fn open(
        mqtt: &Mqtt,
        requests: mpsc::Receiver<Request>,
        outcomes: Outcomes,
    ) -> Result<Self, Failure> {
        let line = Line::open(mqtt).await?;
        let limits = line.limits;
        let keep_alive = match limits.keep_alive {
            None | Some(0) => KEEP_ALIVE,
            Some(seconds) => seconds.min(KEEP_ALIVE),
        };
        let mut session = Self {
            reader: line.reader,
            writer: line.writer,
            requests,
            incoming: line.incoming,
            outgoing: BytesMut::new(),
            unflushed: false,
            book: Book::new(outcomes, IN_FLIGHT.min(limits.receive_max.into())),
            limits,
            goodbye: disconnect(mqtt),
            ping_every: Duration::from_secs(keep_alive.into()) / 2,
            last_ping: Instant::now(),
            awaits_pong: false,
        };
        if let Some(topic) = &mqtt.status_topic {
            session.publish(None, Packet::online(topic, mqtt));
        }
        Ok(session)
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Runs until the sink is dropped or the connection breaks; says why it ended first, then what
    /// became of each record.
    pub(super) async fn run(mut self, given_up: CancellationToken, end: Arc<OnceLock<Failure>>) {
        let Err(failure) = self.serve(&given_up).await else {
            return;
        };
        let failure = named(failure);
        let _ = end.set(failure.clone());
        self.requests.close();
        self.book.give_up(&failure);
        while let Ok(request) = self.requests.try_recv() {
            self.book
                .tell(request.ticket, Outcome::Retry(failure.clone()));
        }
    }

    async fn serve(&mut self, given_up: &CancellationToken) -> Result<(), Failure> {
        let mut clock = clock();
        loop {
            let is_written = self.outgoing.is_empty();
            let must_flush = is_written && self.unflushed;
            let may_take = !must_flush && self.outgoing.len() < WRITE_BYTES && self.book.has_room();
            tokio::select! {
                biased;
                () = given_up.cancelled() => {
                    self.say_goodbye().await;
                    return Ok(());
                }
                _ = clock.tick() => self.look_at_the_clock()?,
                read = self.reader.read_buf(&mut self.incoming) => {
                    read.and_then(more).map_err(lost)?;
                    self.take_packets()?;
                }
                request = self.requests.recv(), if may_take => match request {
                    Some(Request { ticket, packet }) => self.publish(Some(ticket), packet),
                    None => return Ok(()),
                },
                pushed = push(&mut self.writer, &mut self.outgoing), if must_flush || !is_written => {
                    self.book.written += pushed.map_err(lost)? as u64;
                    self.unflushed = !is_written;
                    if is_written {
                        self.book.confirm_written();
                    }
                }
            }
        }
    }

    fn publish(&mut self, ticket: Option<Ticket>, mut packet: Packet) {
        if packet.has_acknowledgement() {
            let id = self.book.enter(ticket);
            self.put(packet.with_id(id));
        } else {
            self.put(packet.with_id(0));
            self.book
                .unwritten
                .extend(ticket.map(|ticket| (self.book.put, ticket)));
        }
    }

    fn put(&mut self, packet: &[u8]) {
        self.outgoing.extend_from_slice(packet);
        self.book.put += packet.len() as u64;
    }

    fn take_packets(&mut self) -> Result<(), Failure> {
        while let Some(incoming) = packet::take(&mut self.incoming)? {
            match incoming {
                Incoming::PubAck { id, reason } | Incoming::PubComp { id, reason } => {
                    self.book.settle(id, reason)?;
                }
                Incoming::PubRec { id, reason } if reason::is_failure(reason) => {
                    self.book.settle(id, reason)?;
                }
                Incoming::PubRec { id, .. } => {
                    self.book.find(id)?;
                    self.put(&packet::pubrel(id));
                }
                Incoming::Pong => self.awaits_pong = false,
                Incoming::Goodbye { reason } => {
                    return Err(reason::failure("the broker ended the connection", reason));
                }
            }
        }
        self.incoming.reserve(READ_BYTES);
        Ok(())
    }

    fn look_at_the_clock(&mut self) -> Result<(), Failure> {
        if self
            .book
            .oldest()
            .is_some_and(|since| since.elapsed() > PATIENCE)
        {
            return Err(late("no acknowledgement from the broker"));
        }
        let since_ping = self.last_ping.elapsed();
        if self.awaits_pong && since_ping > PATIENCE {
            return Err(late("no answer to a ping"));
        }
        if !self.awaits_pong && since_ping >= self.ping_every {
            self.put(&PINGREQ);
            self.awaits_pong = true;
            self.last_ping = Instant::now();
        }
        Ok(())
    }

    /// Only between packets can a DISCONNECT be read; with records under way it would be no good
    /// end either.
    async fn say_goodbye(&mut self) {
        if self.outgoing.is_empty() && self.book.in_flight.is_empty() {
            let goodbye = async {
                self.writer.write_all(self.goodbye).await?;
                self.writer.shutdown().await
            };
            // Nobody is there any more who could do something about an error.
            let _ = timeout(GOODBYE, goodbye).await;
        }
    }
}

impl Line {
    /// Connects and waits for the CONNACK.
    pub(super) async fn open(mqtt: &Mqtt) -> Result<Self, Failure> {
        let (mut reader, mut writer) = dial(mqtt).await?;
        let mut incoming = BytesMut::with_capacity(READ_BYTES);
        let shaken = async {
            send(&mut writer, &connect(mqtt, KEEP_ALIVE)?).await?;
            loop {
                if let Some(limits) = take_connack(&mut incoming, mqtt)? {
                    return Ok::<_, Failure>(limits);
                }
                receive(&mut reader, &mut incoming).await?;
            }
        };
        let limits = timeout(PATIENCE, shaken)
            .await
            .map_err(|_| late("no answer to CONNECT"))??;
        Ok(Self {
            reader,
            writer,
            incoming,
            limits,
        })
    }

    pub(super) async fn send(&mut self, packet: &[u8]) -> Result<(), Failure> {
        send(&mut self.writer, packet).await
    }

    pub(super) async fn next(&mut self) -> Result<Incoming, Failure> {
        loop {
            if let Some(incoming) = packet::take(&mut self.incoming)? {
                return Ok(incoming);
            }
            receive(&mut self.reader, &mut self.incoming).await?;
        }
    }
}

async fn send(writer: &mut Writer, packet: &[u8]) -> Result<(), Failure> {
    let sent = async {
        writer.write_all(packet).await?;
        writer.flush().await
    };
    sent.await.map_err(lost)
}

async fn receive(reader: &mut Reader, to: &mut BytesMut) -> Result<(), Failure> {
    reader.read_buf(to).await.and_then(more).map_err(lost)
}

impl Book {
    fn new(outcomes: Outcomes, receive_max: usize) -> Self {
        Self {
            outcomes,
            in_flight: HashMap::new(),
            receive_max,
            last_id: 0,
            unwritten: VecDeque::new(),
            put: 0,
            written: 0,
        }
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.receive_max
    }

    /// Gives a packet the next free identifier. There is one: fewer are in flight than there are.
    fn enter(&mut self, ticket: Option<Ticket>) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.contains_key(&self.last_id) {
                break;
            }
        }
        let since = Instant::now();
        self.in_flight
            .insert(self.last_id, Pending { ticket, since });
        self.last_id
    }

    fn find(&self, id: u16) -> Result<&Pending, Failure> {
        self.in_flight.get(&id).ok_or_else(|| unknown(id))
    }

    fn settle(&mut self, id: u16, reason: u8) -> Result<(), Failure> {
        let pending = self.in_flight.remove(&id).ok_or_else(|| unknown(id))?;
        match (pending.ticket, reason::outcome(reason)) {
            (Some(ticket), outcome) => self.tell(ticket, outcome),
            (None, Outcome::Confirmed) => {}
            (None, Outcome::Refused(why) | Outcome::Retry(why)) => {
                tracing::warn!("mqtt: status_topic: {why}");
            }
        }
        Ok(())
    }

    fn oldest(&self) -> Option<Instant> {
        self.in_flight.values().map(|pending| pending.since).min()
    }

    fn confirm_written(&mut self) {
        let written = self.written;
        while let Some(&(end, ticket)) = self.unwritten.front()
            && end <= written
        {
            self.unwritten.pop_front();
            self.tell(ticket, Outcome::Confirmed);
        }
    }

    fn give_up(&mut self, failure: &Failure) {
        let in_flight = self
            .in_flight
            .drain()
            .filter_map(|(_, pending)| pending.ticket);
        let unwritten = self.unwritten.drain(..).map(|(_, ticket)| ticket);
        for ticket in in_flight.chain(unwritten) {
            let _ = self
                .outcomes
                .send((ticket, Outcome::Retry(failure.clone())));
        }
    }

    fn tell(&self, ticket: Ticket, outcome: Outcome) {
        // The receiver is gone when this sink was given up: its records are sent again.
        let _ = self.outcomes.send((ticket, outcome));
    }
}

/// Writes what the stream takes, and gives the number of bytes; flushes it when there is nothing to
/// write. Dropping the future loses nothing.
async fn push(writer: &mut Writer, outgoing: &mut BytesMut) -> io::Result<usize> {
    if outgoing.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    match writer.write_buf(outgoing).await {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        written => written,
    }
}

fn clock() -> Interval {
    let mut clock = interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock
}

/// With the name of who says so.
pub(super) fn named(mut failure: Failure) -> Failure {
    failure.why.insert_str(0, "mqtt: ");
    failure
}

/// Reading nothing means that the other side has ended the connection.
fn more(read: usize) -> io::Result<()> {
    match read {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it away")]
fn lost(error: io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the broker closed the connection".to_owned(),
        _ => format!("the connection broke: {error}"),
    };
    Failure::new(Cause::ConnectionLost, why)
}

fn late(what: &str) -> Failure {
    Failure::new(Cause::Timeout, format!("{what} in {PATIENCE:?}"))
}

fn unknown(id: u16) -> Failure {
    format!("the broker acknowledged packet {id}, which is not under way").into()
}
