//! Frames on one connection.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::frames::Ring;
use super::ledger;
use super::pace::Pace;

/// Frames between two looks at what the client says.
const BATCH: usize = 64;

pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The client is gone, or wants to be.
#[derive(Debug)]
struct Gone;

impl From<tungstenite::Error> for Gone {
    fn from(_: tungstenite::Error) -> Self {
        Self
    }
}

pub(super) struct Feed<'a> {
    pub(super) socket: Socket,
    pub(super) ring: Arc<Ring>,
    pub(super) ledger: &'a ledger::Topic,
    pub(super) pace: Pace,
}

impl Feed<'_> {
    /// Sends until the client goes.
    pub(super) async fn run(mut self) {
        while self.step().await.is_ok() {}
    }

    async fn step(&mut self) -> Result<(), Gone> {
        let now = Instant::now();
        let due = usize::try_from(self.pace.due(now)).map_or(BATCH, |due| due.min(BATCH));
        if due > 0 {
            self.send(due).await?;
            return self.answer();
        }
        let wake = self.pace.wake(now);
        let rest = async {
            match wake {
                Some(wake) => sleep_until(wake).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = rest => Ok(()),
            message = self.socket.next() => listen(message),
        }
    }

    async fn send(&mut self, frames: usize) -> Result<(), Gone> {
        let nanos = since_epoch().as_nanos().try_into().unwrap_or(u64::MAX);
        let mut buffer = BytesMut::with_capacity(self.ring.bytes(frames));
        for _ in 0..frames {
            let sequence = self.ledger.next_sequence();
            let frame = self.ring.frame(sequence, nanos, &mut buffer);
            self.socket.feed(Message::Binary(frame)).await?;
        }
        self.socket.flush().await?;
        self.ledger.wrote(frames as u64);
        self.pace.sent(frames as u64);
        Ok(())
    }

    /// Takes what the client has said meanwhile; the library answers its pings.
    fn answer(&mut self) -> Result<(), Gone> {
        while let Some(message) = self.socket.next().now_or_never() {
            listen(message)?;
        }
        Ok(())
    }
}

fn listen(message: Option<tungstenite::Result<Message>>) -> Result<(), Gone> {
    match message {
        Some(message) => message.map(drop).map_err(Gone::from),
        None => Err(Gone),
    }
}

pub(super) fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
