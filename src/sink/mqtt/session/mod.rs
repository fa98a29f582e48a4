//! One connection after its CONNACK: packets out, acknowledgements in, each matched to its record.

mod in_flight;

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use self::in_flight::Book;
use super::codec::handshake::{Limits, disconnect};
use super::codec::packet::{self, Incoming, PINGREQ};
use super::codec::publish::Packet;
use super::codec::reason;
use super::connection::{GOODBYE, KEEP_ALIVE, PATIENCE, READ_BYTES, late, lost, more};
use super::dial::{Reader, Writer};
use super::qos2::pending::{Key, Leftover, Leftovers, State};
use super::qos2::resume::begin;
use crate::config::Mqtt;
use crate::sink::{DeliveryId, Failure, Outcomes};

/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Records under way at `QoS` 1 and 2, where the broker allows more: enough for a distant broker,
/// and few to repeat when the connection breaks.
const IN_FLIGHT: usize = 4096;

/// Bytes that are gathered for one write.
const WRITE_BYTES: usize = 64 * 1024;

/// A packet on its way to the broker.
#[derive(Debug)]
pub(crate) struct Request {
    /// `None`: no record, but a packet of our own.
    pub(crate) delivery_id: Option<DeliveryId>,
    /// At `QoS` 2.
    pub(crate) key: Option<Key>,
    pub(crate) packet: Packet,
}

pub(crate) struct Session {
    reader: Reader,
    writer: Writer,
    requests: mpsc::Receiver<Request>,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Something was written that may still be in the stream's own buffer.
    unflushed: bool,
    /// Bytes that were put into `outgoing`, and of these, those that were written.
    put: u64,
    written: u64,
    limits: Limits,
    /// What is said at a good end.
    goodbye: &'static [u8],
    ping_every: Duration,
    last_ping: Instant,
    awaits_pong: bool,
    /// The last field: the next connection begins when the book is given back, and this one has to be
    /// closed by then.
    book: Book,
}

impl Session {
    pub(crate) async fn open(
        mqtt: &Mqtt,
        requests: mpsc::Receiver<Request>,
        outcomes: Outcomes,
        mut leftovers: OwnedMutexGuard<Leftovers>,
    ) -> Result<Self, Failure> {
        let line = begin(mqtt, &mut leftovers).await?;
        let limits = line.limits;
        let keep_alive = match limits.keep_alive {
            None | Some(0) => KEEP_ALIVE,
            Some(seconds) => seconds.min(KEEP_ALIVE),
        };
        let receive_max = IN_FLIGHT.min(limits.receive_max.into());
        let mut session = Self {
            reader: line.reader,
            writer: line.writer,
            requests,
            incoming: line.incoming,
            outgoing: BytesMut::new(),
            unflushed: false,
            put: 0,
            written: 0,
            limits,
            goodbye: disconnect(mqtt),
            ping_every: Duration::from_secs(keep_alive.into()) / 2,
            last_ping: Instant::now(),
            awaits_pong: false,
            book: Book::new(outcomes, receive_max, leftovers),
        };
        if let Some(topic) = &mqtt.status_topic {
            session.publish(Request {
                delivery_id: None,
                key: None,
                packet: Packet::online(topic, mqtt),
            });
        }
        Ok(session)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Runs until the sink is dropped.
    ///
    /// # Errors
    /// Why the connection can no longer be used.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        let ended = self.serve(&stop).await;
        self.book.close();
        ended.map_err(named)
    }

    async fn serve(&mut self, stop: &CancellationToken) -> Result<(), Failure> {
        let mut clock = clock();
        loop {
            let is_written = self.outgoing.is_empty();
            let must_flush = is_written && self.unflushed;
            let may_take = !must_flush && self.outgoing.len() < WRITE_BYTES && self.book.has_room();
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.say_goodbye().await;
                    return Ok(());
                }
                _ = clock.tick() => self.look_at_the_clock()?,
                read = self.reader.read_buf(&mut self.incoming) => {
                    read.and_then(more).map_err(lost)?;
                    self.take_packets()?;
                }
                request = self.requests.recv(), if may_take => match request {
                    Some(request) => self.publish(request),
                    None => return Ok(()),
                },
                pushed = push(&mut self.writer, &mut self.outgoing), if must_flush || !is_written => {
                    self.written += pushed.map_err(lost)? as u64;
                    self.unflushed = !is_written;
                    if is_written {
                        self.book.confirm_written(self.written);
                    }
                }
            }
        }
    }

    fn publish(&mut self, request: Request) {
        let Request {
            delivery_id,
            key,
            mut packet,
        } = request;
        if !packet.has_acknowledgement() {
            self.put(packet.with_id(0));
            if let Some(delivery_id) = delivery_id {
                self.book.enter_unacknowledged(delivery_id, self.put);
            }
            return;
        }
        if key.is_some_and(|key| self.book.claim(delivery_id, key)) {
            return;
        }
        let id = self.book.next_id();
        self.put(packet.with_id(id));
        let state = State::Published(packet);
        let leftover = key.map(|key| Leftover { id, key, state });
        self.book.enter(id, delivery_id, leftover);
    }

    fn put(&mut self, packet: &[u8]) {
        self.outgoing.extend_from_slice(packet);
        self.put += packet.len() as u64;
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
                    self.book.receive(id)?;
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
        if self.book.is_overdue(PATIENCE) {
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
        if self.outgoing.is_empty() && self.book.is_idle() {
            let goodbye = async {
                self.writer.write_all(self.goodbye).await?;
                self.writer.shutdown().await
            };
            // Nobody is there any more who could do something about an error.
            let _ = timeout(GOODBYE, goodbye).await;
        }
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
pub(crate) fn named(mut failure: Failure) -> Failure {
    failure.why.insert_str(0, "mqtt: ");
    failure
}
