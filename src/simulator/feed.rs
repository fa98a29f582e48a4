//! Frames on one connection.

use std::future::pending;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;

use super::clock::since_epoch;
use super::frames::Ring;
use super::keys::Expiry;
use super::ledger;
use super::supply::Supply;

/// Frames between two looks at what the client says.
const BATCH: u64 = 64;

/// How long a client may take to read what was written, and to hang up, when a connection ends.
const LINGER: Duration = Duration::from_millis(300);

/// What a close without a code counts as (RFC 6455, section 7.4.1).
const NO_CODE: u16 = 1005;

pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Why nothing more is sent.
#[derive(Debug)]
enum End {
    /// The client is gone, or wants to be.
    Gone,
    /// The connection is to end as one does that a network drops.
    Cut,
    /// The key has expired.
    Expired,
}

impl From<tungstenite::Error> for End {
    fn from(_: tungstenite::Error) -> Self {
        Self::Gone
    }
}

pub(super) struct Feed<'a> {
    pub(super) socket: Socket,
    pub(super) ring: Arc<Ring>,
    pub(super) ledger: &'a ledger::Topic,
    pub(super) supply: Supply,
    pub(super) expiry: Expiry,
    pub(super) cut: CancellationToken,
}

impl Feed<'_> {
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
            End::Cut => hang_up(self.socket).await,
            End::Expired => close(self.socket, CloseCode::Policy, "the key has expired").await,
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
        let numbers = self.supply.take(self.ledger, now, BATCH);
        if !numbers.is_empty() {
            self.send(numbers).await?;
            return self.answer();
        }
        let wake = self.supply.wake(now);
        let rest = async {
            match wake {
                Some(wake) => sleep_until(wake).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = rest => Ok(()),
            () = self.cut.cancelled() => Ok(()),
            () = self.expiry.over() => Ok(()),
            message = self.socket.next() => self.listen(message),
        }
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
        match wrote {
            Ok(()) => self.ledger.wrote(numbers.end - numbers.start),
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
            self.socket.feed(Message::Binary(frame)).await?;
        }
        self.socket.flush().await?;
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

/// Ends a connection without a close frame. What was written gets there first.
async fn hang_up(mut socket: Socket) {
    let stream = socket.get_mut();
    let goodbye = async {
        if stream.shutdown().await.is_ok() {
            // Whatever the client still says is read, or the kernel would throw away what it has
            // not sent yet.
            while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
        }
    };
    // A client that goes on is cut off.
    let _ = timeout(LINGER, goodbye).await;
}

async fn close(mut socket: Socket, code: CloseCode, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let goodbye = async {
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // The client does not have to answer, and is not waited for any longer.
    let _ = timeout(LINGER, goodbye).await;
}
