//! Sends frames on one connection, and its faults.

mod closing;

use std::future::pending;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;

use self::closing::{LINGER, Socket};
use crate::simulator::auth::keys::Expiry;
use crate::simulator::central::{Admitted, Central};
use crate::simulator::clock::since_epoch;
use crate::simulator::faults::{self, Due, FaultKind};
use crate::simulator::frames::Ring;
use crate::simulator::supply::{Supply, ledger};

/// Frames that are sent before the client's messages are read again.
const MAX_FRAMES: u64 = 64;

/// Bytes that a slow connection sends between two pauses.
const SLOW_BYTES: usize = 256;

/// No message of Central begins with these bytes.
const GARBAGE: &[u8] = b"\xff\xfe\xfd this is no protobuf";

/// A number that no frame has, for a frame that is not sent whole.
const NO_NUMBER: u64 = 0;

/// The codes of a close without a code, and of an expired key (RFC 6455, section 7.4.1).
const NO_CODE: u16 = 1005;
const POLICY: u16 = 1008;

/// Why the connection ends.
#[derive(Debug)]
enum End {
    /// The client has closed the connection, or is about to.
    Closed,
    /// The connection is dropped as by a network failure.
    Dropped,
    /// The key has expired.
    Expired,
    Close(u16),
    /// It ends in the middle of a frame.
    InFrame,
    /// Nothing more is sent, and the connection stays open.
    Silent,
}

impl From<tungstenite::Error> for End {
    fn from(_: tungstenite::Error) -> Self {
        Self::Closed
    }
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self::Closed
    }
}

struct Connection<'a> {
    central: &'a Central,
    /// Topic or path.
    stream: &'a str,
    ledger: &'a ledger::StreamLedger,
    ring: Arc<Ring>,
    supply: Supply,
    expiry: Expiry,
    /// Cancelled to drop the connection.
    cut: CancellationToken,
    orders: watch::Receiver<()>,
    socket: Socket,
    sent: u64,
    /// How many more times the next frame is sent.
    duplicates: u32,
    /// The pause between two pieces of a frame.
    pause: Option<Duration>,
}

/// Serves a connection whose handshake was answered, until it ends, or `cut` is cancelled.
pub(super) async fn serve(
    central: Arc<Central>,
    admitted: Admitted,
    upgrade: OnUpgrade,
    cut: CancellationToken,
) {
    let Ok(upgraded) = upgrade.await else { return };
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let Some(ledger) = central.ledger.stream(&admitted.stream) else {
        return;
    };
    let connection = Connection {
        central: &central,
        stream: &admitted.stream,
        ledger,
        ring: admitted.ring,
        supply: admitted.supply,
        expiry: admitted.expiry,
        cut,
        orders: central.faults.watch(),
        socket,
        sent: 0,
        duplicates: 0,
        pause: None,
    };
    tracing::debug!(stream = %admitted.stream, "a client is connected");
    connection.run().await;
    tracing::debug!(stream = %admitted.stream, "a client is gone");
}

impl Connection<'_> {
    /// Sends until the connection ends.
    async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        // Before the end takes its time: the others of the subscriber get this connection's share.
        drop(self.supply);
        match end {
            End::Closed => {}
            End::Dropped => closing::hang_up(self.socket).await,
            End::Expired => closing::close(self.socket, POLICY, "the key has expired").await,
            End::Close(code) => closing::close(self.socket, code, "").await,
            End::InFrame => {
                let frame = self.ring.frame(NO_NUMBER, 0, &mut BytesMut::new());
                let half = &faults::whole_frame(&frame)[..frame.len() / 2];
                closing::break_off(self.socket, half).await;
            }
            End::Silent => closing::go_silent(self.socket, &self.cut).await,
        }
    }

    async fn step(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.cut.is_cancelled() {
            return Err(End::Dropped);
        }
        if self.expiry.is_over(now) {
            return Err(End::Expired);
        }
        let most = match self.central.faults.on_connection(self.stream, self.sent) {
            Due::Now(kind) => return self.inject_fault(kind).await,
            Due::After(frames) => frames.min(MAX_FRAMES),
        };
        let quiet = self.central.is_quiet();
        if !quiet {
            let numbers = self.supply.take(self.ledger, now, most);
            if !numbers.is_empty() {
                self.send(numbers).await?;
                return self.read_messages();
            }
        }
        let wake = self.supply.wake(now).filter(|_| !quiet);
        self.wait(wake).await
    }

    /// Waits until the next frame is due, or for anything else that may happen.
    async fn wait(&mut self, wake: Option<Instant>) -> Result<(), End> {
        let due = async {
            match wake {
                Some(wake) => sleep_until(wake).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = due => Ok(()),
            () = self.cut.cancelled() => Ok(()),
            () = self.expiry.over() => Ok(()),
            _ = self.orders.changed() => Ok(()),
            message = self.socket.next() => self.note(message),
        }
    }

    async fn inject_fault(&mut self, kind: FaultKind) -> Result<(), End> {
        match kind {
            FaultKind::Drop => return Err(End::Dropped),
            FaultKind::Close(code) => return Err(End::Close(code)),
            FaultKind::HalfOpen => return Err(End::Silent),
            FaultKind::TruncatedFrame => return Err(End::InFrame),
            FaultKind::ExpiredKey => {
                self.central.expire_credentials();
                return Err(End::Expired);
            }
            FaultKind::UnknownFrame => {
                self.raw(&faults::RESERVED_OPCODE).await?;
                // The client must close the connection, and would not read anything more.
                return Err(End::Silent);
            }
            FaultKind::Slow(pause) => self.pause = Some(pause),
            FaultKind::TextFrame => self.socket.send(Message::text("keep-alive")).await?,
            FaultKind::GarbageFrame => {
                let garbage = Message::Binary(Bytes::from_static(GARBAGE));
                self.socket.send(garbage).await?;
            }
            FaultKind::OversizedFrame(bytes) => self.zeros(bytes).await?,
            FaultKind::Duplicate(times) => self.duplicates = times,
            FaultKind::Burst(frames) => self.supply.burst(frames),
            // These happen before a connection is open.
            FaultKind::Refuse(_) | FaultKind::UnsubscribedTopic | FaultKind::RefuseRenewal(_) => {}
        }
        Ok(())
    }

    async fn send(&mut self, numbers: Range<u64>) -> Result<(), End> {
        let cut = self.cut.clone();
        let held_up = async {
            cut.cancelled().await;
            sleep(LINGER).await;
        };
        let wrote = tokio::select! {
            wrote = self.write(numbers.clone()) => wrote,
            () = held_up => Err(End::Closed),
        };
        let frames = numbers.end - numbers.start;
        match wrote {
            Ok(()) => {
                self.ledger.wrote(frames);
                self.sent += frames;
            }
            Err(_) => self.supply.give_back(numbers),
        }
        wrote
    }

    async fn write(&mut self, numbers: Range<u64>) -> Result<(), End> {
        let nanos = since_epoch().as_nanos().try_into().unwrap_or(u64::MAX);
        let frames = usize::try_from(numbers.end - numbers.start).unwrap_or(0);
        let mut buffer = BytesMut::with_capacity(self.ring.bytes(frames));
        for sequence in numbers {
            let frame = self.ring.frame(sequence, nanos, &mut buffer);
            for _ in 0..std::mem::take(&mut self.duplicates) {
                self.socket.feed(Message::Binary(frame.clone())).await?;
            }
            match self.pause {
                None => self.socket.feed(Message::Binary(frame)).await?,
                Some(pause) => self.trickle(&frame, pause).await?,
            }
        }
        self.socket.flush().await?;
        Ok(())
    }

    async fn trickle(&mut self, frame: &[u8], pause: Duration) -> Result<(), End> {
        for piece in faults::whole_frame(frame).chunks(SLOW_BYTES) {
            self.raw(piece).await?;
            sleep(pause).await;
        }
        Ok(())
    }

    /// Sends a frame of this many zeros without holding it in memory.
    async fn zeros(&mut self, bytes: u64) -> Result<(), End> {
        const PIECE: [u8; 16 * 1024] = [0; 16 * 1024];
        self.raw(&faults::begin_frame(bytes)).await?;
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(PIECE.len() as u64);
            self.raw(&PIECE[..usize::try_from(piece).unwrap_or(0)])
                .await?;
            left -= piece;
        }
        Ok(())
    }

    /// Writes to the socket directly, after what the WebSocket library has written.
    async fn raw(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.socket.flush().await?;
        self.socket.get_mut().write_all(bytes).await?;
        self.socket.get_mut().flush().await?;
        Ok(())
    }

    /// Reads the messages that the client has sent. The library answers pings.
    fn read_messages(&mut self) -> Result<(), End> {
        while let Some(message) = self.socket.next().now_or_never() {
            self.note(message)?;
        }
        Ok(())
    }

    fn note(&mut self, message: Option<tungstenite::Result<Message>>) -> Result<(), End> {
        match message {
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(NO_CODE, |frame| frame.code.into());
                self.supply.closed_with(code);
                Ok(())
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(End::Closed),
        }
    }
}
