//! Frames on one connection.

use std::future::pending;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;

use super::central::Central;
use super::clock::since_epoch;
use super::farewell::{self, LINGER, Socket};
use super::faults::{self, Due, Kind};
use super::frames::Ring;
use super::keys::Expiry;
use super::ledger;
use super::supply::Supply;

/// Frames between two looks at what the client says.
const BATCH: u64 = 64;

/// What a slow connection sends between two pauses.
const SLOW_BYTES: usize = 256;

/// What a client reads that no message of Central's begins with.
const GARBAGE: &[u8] = b"\xff\xfe\xfd this is no protobuf";

/// A number that no frame has, for one that does not arrive whole.
const NO_NUMBER: u64 = 0;

/// What a close without a code counts as, and what a key's end is (RFC 6455, section 7.4.1).
const NO_CODE: u16 = 1005;
const POLICY: u16 = 1008;

/// Why nothing more is sent.
#[derive(Debug)]
enum End {
    /// The client is gone, or wants to be.
    Gone,
    /// The connection is to end as one does that a network drops.
    Cut,
    /// The key has expired.
    Expired,
    Close(u16),
    /// In the midst of a frame.
    BrokenOff,
    /// Without a word, and without an end.
    Silence,
}

impl From<tungstenite::Error> for End {
    fn from(_: tungstenite::Error) -> Self {
        Self::Gone
    }
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

pub(super) struct Feed<'a> {
    central: &'a Central,
    /// Topic or path.
    stream: &'a str,
    ledger: &'a ledger::Topic,
    ring: Arc<Ring>,
    supply: Supply,
    expiry: Expiry,
    cut: CancellationToken,
    orders: watch::Receiver<()>,
    socket: Socket,
    sent: u64,
    /// How often the next frame comes besides.
    again: u32,
    /// Between two pieces of what is sent.
    pause: Option<Duration>,
}

/// What a connection is made of, besides its socket.
pub(super) struct Source<'a> {
    pub(super) stream: &'a str,
    pub(super) ledger: &'a ledger::Topic,
    pub(super) ring: Arc<Ring>,
    pub(super) supply: Supply,
    pub(super) expiry: Expiry,
    pub(super) cut: CancellationToken,
}

impl<'a> Feed<'a> {
    pub(super) fn new(central: &'a Central, source: Source<'a>, socket: Socket) -> Self {
        Self {
            central,
            stream: source.stream,
            ledger: source.ledger,
            ring: source.ring,
            supply: source.supply,
            expiry: source.expiry,
            cut: source.cut,
            orders: central.faults.watch(),
            socket,
            sent: 0,
            again: 0,
            pause: None,
        }
    }

    /// Sends until something ends it.
    pub(super) async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        // From now on this connection takes no part of what is sent.
        drop(self.supply);
        match end {
            End::Gone => {}
            End::Cut => farewell::hang_up(self.socket).await,
            End::Expired => farewell::close(self.socket, POLICY, "the key has expired").await,
            End::Close(code) => farewell::close(self.socket, code, "").await,
            End::BrokenOff => {
                let frame = self.ring.frame(NO_NUMBER, 0, &mut BytesMut::new());
                let half = &faults::whole_frame(&frame)[..frame.len() / 2];
                farewell::break_off(self.socket, half).await;
            }
            End::Silence => farewell::go_silent(self.socket, &self.cut).await,
        }
    }

    async fn step(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.cut.is_cancelled() {
            return Err(End::Cut);
        }
        if self.expiry.is_over(now) {
            return Err(End::Expired);
        }
        let most = match self.central.faults.on_connection(self.stream, self.sent) {
            Due::Now(kind) => return self.suffer(kind).await,
            Due::After(frames) => frames.min(BATCH),
        };
        let quiet = self.central.is_quiet();
        if !quiet {
            let numbers = self.supply.take(self.ledger, now, most);
            if !numbers.is_empty() {
                self.send(numbers).await?;
                return self.answer();
            }
        }
        let wake = self.supply.wake(now).filter(|_| !quiet);
        self.rest(wake).await
    }

    /// Waits for the next frame's time, or for anything else that may happen.
    async fn rest(&mut self, wake: Option<Instant>) -> Result<(), End> {
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
            message = self.socket.next() => self.listen(message),
        }
    }

    async fn suffer(&mut self, kind: Kind) -> Result<(), End> {
        match kind {
            Kind::Drop => return Err(End::Cut),
            Kind::Close(code) => return Err(End::Close(code)),
            Kind::HalfOpen => return Err(End::Silence),
            Kind::TruncatedFrame => return Err(End::BrokenOff),
            Kind::ExpiredKey => {
                self.central.expire_credentials();
                return Err(End::Expired);
            }
            Kind::UnknownFrame => {
                self.raw(&faults::RESERVED_OPCODE).await?;
                // The client has to hang up: it would read nothing that came now.
                return Err(End::Silence);
            }
            Kind::Slow(pause) => self.pause = Some(pause),
            Kind::TextFrame => self.socket.send(Message::text("keep-alive")).await?,
            Kind::GarbageFrame => {
                let garbage = Message::Binary(Bytes::from_static(GARBAGE));
                self.socket.send(garbage).await?;
            }
            Kind::OversizedFrame(bytes) => self.zeros(bytes).await?,
            Kind::Duplicate(times) => self.again = times,
            Kind::Burst(frames) => self.supply.burst(frames),
            // These happen before there is a connection.
            Kind::Refuse(_) | Kind::UnsubscribedTopic | Kind::RefuseRenewal(_) => {}
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
            () = held_up => Err(End::Gone),
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
            for _ in 0..std::mem::take(&mut self.again) {
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

    /// A frame of so many zeros, none of which are kept.
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

    /// Writes past the library, behind what that has written.
    async fn raw(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.socket.flush().await?;
        self.socket.get_mut().write_all(bytes).await?;
        self.socket.get_mut().flush().await?;
        Ok(())
    }

    /// Takes what the client has said meanwhile; the library answers its pings.
    fn answer(&mut self) -> Result<(), End> {
        while let Some(message) = self.socket.next().now_or_never() {
            self.listen(message)?;
        }
        Ok(())
    }

    fn listen(&mut self, message: Option<tungstenite::Result<Message>>) -> Result<(), End> {
        match message {
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(NO_CODE, |frame| frame.code.into());
                self.supply.closed_with(code);
                Ok(())
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(End::Gone),
        }
    }
}
