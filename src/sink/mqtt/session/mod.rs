//! One connection after its CONNACK: packets out, acknowledgements in, each matched to its record.

mod in_flight;

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use self::in_flight::InFlight;
use super::codec::handshake::{Limits, disconnect};
use super::codec::packet::{self, Incoming, PINGREQ};
use super::codec::publish::PublishPacket;
use super::codec::reason;
use super::connection::{
    CLOSE_TIMEOUT, KEEP_ALIVE, READ_BYTES, TIMEOUT, connection_lost, not_at_end, timed_out,
};
use super::dial::{Reader, Writer};
use super::qos2::pending::{Exchange, PendingExchanges, RecordHash, Stage};
use super::qos2::resume::connect_for_records;
use crate::config::Mqtt;
use crate::sink::{DeliveryId, Failure, Outcomes};

/// How often timeouts are checked.
const TICK: Duration = Duration::from_secs(1);

/// Records in flight at `QoS` 1 and 2, where the broker allows more: enough for a distant broker, and
/// few to repeat when the connection breaks.
const MAX_IN_FLIGHT: usize = 4096;

/// Bytes that are gathered for one write.
const WRITE_BYTES: usize = 64 * 1024;

/// A packet that is to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    /// `None`: it is not a record, but the forwarder's own status.
    pub(crate) delivery_id: Option<DeliveryId>,
    /// At `QoS` 2.
    pub(crate) record: Option<RecordHash>,
    pub(crate) packet: PublishPacket,
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
    queued: u64,
    written: u64,
    limits: Limits,
    /// The packet that ends the session in good order; empty for none.
    disconnect: &'static [u8],
    ping_every: Duration,
    last_ping: Instant,
    awaits_pong: bool,
    /// The last field, so that it is dropped last: the next connection begins once `in_flight` unlocks the
    /// pending exchanges, and this connection has to be closed by then.
    in_flight: InFlight,
}

impl Session {
    pub(crate) async fn open(
        mqtt: &Mqtt,
        requests: mpsc::Receiver<Request>,
        outcomes: Outcomes,
        mut pending: OwnedMutexGuard<PendingExchanges>,
    ) -> Result<Self, Failure> {
        let connection = connect_for_records(mqtt, &mut pending)
            .await
            .map_err(with_protocol)?;
        let limits = connection.limits;
        let keep_alive = match limits.keep_alive {
            None | Some(0) => KEEP_ALIVE,
            Some(seconds) => seconds.min(KEEP_ALIVE),
        };
        let receive_max = MAX_IN_FLIGHT.min(limits.receive_max.into());
        let mut session = Self {
            reader: connection.reader,
            writer: connection.writer,
            requests,
            incoming: connection.incoming,
            outgoing: BytesMut::new(),
            unflushed: false,
            queued: 0,
            written: 0,
            limits,
            disconnect: disconnect(mqtt),
            ping_every: Duration::from_secs(keep_alive.into()) / 2,
            last_ping: Instant::now(),
            awaits_pong: false,
            in_flight: InFlight::new(outcomes, receive_max, pending),
        };
        if let Some(topic) = &mqtt.status_topic {
            session.publish(Request {
                delivery_id: None,
                record: None,
                packet: PublishPacket::online(topic, mqtt),
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
        self.in_flight.close();
        ended.map_err(with_protocol)
    }

    async fn serve(&mut self, stop: &CancellationToken) -> Result<(), Failure> {
        let mut clock = clock();
        loop {
            let is_written = self.outgoing.is_empty();
            let must_flush = is_written && self.unflushed;
            let may_take =
                !must_flush && self.outgoing.len() < WRITE_BYTES && self.in_flight.has_room();
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.disconnect().await;
                    return Ok(());
                }
                _ = clock.tick() => self.check_timeouts()?,
                read = self.reader.read_buf(&mut self.incoming) => {
                    read.and_then(not_at_end).map_err(connection_lost)?;
                    self.handle_packets()?;
                }
                request = self.requests.recv(), if may_take => match request {
                    Some(request) => self.publish(request),
                    None => return Ok(()),
                },
                pushed = push(&mut self.writer, &mut self.outgoing), if must_flush || !is_written => {
                    self.written += pushed.map_err(connection_lost)? as u64;
                    self.unflushed = !is_written;
                    if is_written {
                        self.in_flight.confirm_written(self.written);
                    }
                }
            }
        }
    }

    fn publish(&mut self, request: Request) {
        let Request {
            delivery_id,
            record,
            mut packet,
        } = request;
        if !packet.has_acknowledgement() {
            self.queue(packet.with_id(0));
            if let Some(delivery_id) = delivery_id {
                self.in_flight
                    .insert_unacknowledged(delivery_id, self.queued);
            }
            return;
        }
        if record.is_some_and(|record| self.in_flight.confirm_if_complete(delivery_id, record)) {
            return;
        }
        let packet_id = self.in_flight.next_id();
        self.queue(packet.with_id(packet_id));
        let exchange = record.map(|record| Exchange {
            packet_id,
            record,
            stage: Stage::Published(packet),
        });
        self.in_flight.insert(packet_id, delivery_id, exchange);
    }

    fn queue(&mut self, packet: &[u8]) {
        self.outgoing.extend_from_slice(packet);
        self.queued += packet.len() as u64;
    }

    fn handle_packets(&mut self) -> Result<(), Failure> {
        while let Some(incoming) = packet::take(&mut self.incoming)? {
            match incoming {
                Incoming::PubAck { id, reason } | Incoming::PubComp { id, reason } => {
                    self.in_flight.acknowledged(id, reason)?;
                }
                Incoming::PubRec { id, reason } if reason::is_failure(reason) => {
                    self.in_flight.acknowledged(id, reason)?;
                }
                Incoming::PubRec { id, .. } => {
                    self.in_flight.received(id)?;
                    self.queue(&packet::pubrel(id));
                }
                Incoming::PingResponse => self.awaits_pong = false,
                Incoming::Disconnect { reason } => {
                    return Err(reason::failure("the broker ended the connection", reason));
                }
            }
        }
        self.incoming.reserve(READ_BYTES);
        Ok(())
    }

    /// Fails if the broker owes an answer for too long; sends a ping when the time has come.
    fn check_timeouts(&mut self) -> Result<(), Failure> {
        if self.in_flight.is_overdue(TIMEOUT) {
            return Err(timed_out("no acknowledgement from the broker"));
        }
        let since_ping = self.last_ping.elapsed();
        if self.awaits_pong && since_ping > TIMEOUT {
            return Err(timed_out("no answer to a ping"));
        }
        if !self.awaits_pong && since_ping >= self.ping_every {
            self.queue(&PINGREQ);
            self.awaits_pong = true;
            self.last_ping = Instant::now();
        }
        Ok(())
    }

    /// Sends a DISCONNECT, if it is not in the middle of another packet and nothing is in flight.
    async fn disconnect(&mut self) {
        if self.outgoing.is_empty() && self.in_flight.is_empty() {
            let disconnected = async {
                self.writer.write_all(self.disconnect).await?;
                self.writer.shutdown().await
            };
            // The sink is gone: nobody could act on an error.
            let _ = timeout(CLOSE_TIMEOUT, disconnected).await;
        }
    }
}

/// Writes what the stream accepts, and returns the number of bytes; flushes the stream when there is
/// nothing to write. Nothing is lost if the future is dropped.
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

/// With the protocol's name in front.
pub(crate) fn with_protocol(mut failure: Failure) -> Failure {
    failure.why.insert_str(0, "mqtt: ");
    failure
}
