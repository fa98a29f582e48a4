//! One connection, from its first frame to its end or to its successor.
//!
//! - [`liveness`]: when to send a ping, and when to give the connection up.
//! - [`ingest`]: hands each frame to the journal, once.
//! - [`recent_hashes`]: the hashes by which duplicates are found.
//! - [`handover`]: opens the successor of a connection that is replaced.
//!
//! While a connection is being replaced, it remembers the hashes of the frames it delivers and passes
//! them to its successor: a frame that both deliver is stored once.

pub(crate) mod handover;
pub(crate) mod ingest;
pub(crate) mod liveness;
pub(crate) mod recent_hashes;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

use self::handover::{Handover, HandoverStep};
use self::ingest::{Ingest, JournalClosed};
use self::liveness::{Action, Liveness};
use self::recent_hashes::RecentHashes;
use crate::central::account_client::Connection;
use crate::central::error::{Cause, Error};
use crate::central::handle::{StopMode, StopSignal};
use crate::net::dial::Stream;

/// Frames that are remembered while a connection is replaced: beyond, a few may be stored twice.
const MAX_REMEMBERED_FRAMES: usize = 1 << 17;

/// How a session ended.
#[derive(Debug)]
pub(crate) enum SessionEnd {
    /// The subscription was asked to stop.
    Stopped,
    JournalClosed,
    /// Another connection has taken over. The hashes are of the last frames that this one delivered.
    Replaced(Box<Connection>, RecentHashes),
    Failed(Error),
}

impl From<Error> for SessionEnd {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<JournalClosed> for SessionEnd {
    fn from(_: JournalClosed) -> Self {
        Self::JournalClosed
    }
}

pub(crate) struct Session<'a> {
    pub(crate) socket: WebSocketStream<Stream>,
    pub(crate) liveness: Liveness,
    pub(crate) ingest: &'a mut Ingest,
    pub(crate) stop: &'a StopSignal,
    pub(crate) handover: Handover,
    /// The frames that were delivered since a successor is being opened.
    pub(crate) delivered: Option<RecentHashes>,
    /// How long this connection is read on once its successor is up.
    pub(crate) overlap: Duration,
    /// For the closing handshake, and for an append that waits for room when the subscription stops.
    pub(crate) close_timeout: Duration,
    /// For the write of a ping: a socket that accepts none for so long is dead.
    pub(crate) write_timeout: Duration,
}

impl Session<'_> {
    /// Reads until something ends it.
    pub(crate) async fn run(mut self) -> SessionEnd {
        let Err(end) = self.read().await;
        if matches!(end, SessionEnd::Stopped) {
            let code = match self.stop.mode() {
                StopMode::Unsubscribe => CloseCode::Normal,
                StopMode::Pause => CloseCode::Away,
            };
            self.close(code).await;
        }
        match (end, self.handover.into_successor()) {
            // The successor has frames to deliver, however this connection ended.
            (SessionEnd::Stopped | SessionEnd::Failed(_), Some(successor)) => {
                SessionEnd::Replaced(successor, self.delivered.unwrap_or_default())
            }
            (end, _) => end,
        }
    }

    async fn read(&mut self) -> Result<Infallible, SessionEnd> {
        let stop = self.stop;
        let mut stopped = pin!(stop.asked());
        self.ingest.counters().set_waiting(false);
        loop {
            self.ingest.counters().iterated();
            tokio::select! {
                biased;
                () = &mut stopped => return Err(SessionEnd::Stopped),
                message = self.socket.next() => self.receive(message).await?,
                next = self.handover.next_step() => self.advance(next).await?,
                () = sleep_until(self.liveness.deadline()) => self.check_liveness().await?,
            }
        }
    }

    async fn receive(
        &mut self,
        message: Option<tungstenite::Result<Message>>,
    ) -> Result<(), SessionEnd> {
        match message {
            Some(Ok(Message::Binary(payload))) => {
                self.store(payload).await?;
                self.liveness.data_stored(Instant::now());
            }
            Some(Ok(Message::Text(_))) => {
                self.ingest.counters().text_frame();
                self.peer_alive();
            }
            Some(Ok(Message::Pong(_))) => {
                self.liveness.pong_received();
                self.peer_alive();
            }
            // The library has queued the pong, and sends it with the next read.
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => self.peer_alive(),
            Some(Ok(Message::Close(frame))) => return Err(self.closed(frame).await.into()),
            Some(Err(error)) => return Err(read_error(&error).into()),
            None => return Err(dropped("without a close frame").into()),
        }
        Ok(())
    }

    fn peer_alive(&mut self) {
        self.liveness.message_received();
        self.ingest.peer_alive();
    }

    /// Hands a frame to the journal, and waits while the journal is full. A stop meanwhile grants it
    /// `close_timeout` more: Central does not send the frame again.
    async fn store(&mut self, payload: Bytes) -> Result<(), SessionEnd> {
        let stop = self.stop;
        let counters = Arc::clone(self.ingest.shared_counters());
        let mut append = pin!(self.ingest.append(payload, self.delivered.as_mut()));
        let appended = tokio::select! {
            biased;
            appended = &mut append => Some(appended),
            () = stop.asked() => timeout(self.close_timeout, append).await.ok(),
        };
        let Some(appended) = appended else {
            counters.abandoned();
            return Err(SessionEnd::Stopped);
        };
        Ok(appended?)
    }

    async fn advance(&mut self, step: HandoverStep) -> Result<(), SessionEnd> {
        match step {
            HandoverStep::Begin(connect) => {
                self.delivered = Some(RecentHashes::new(MAX_REMEMBERED_FRAMES));
                self.handover = Handover::Connecting(connect());
                Ok(())
            }
            HandoverStep::Connected(successor) => {
                self.handover = Handover::Overlapping {
                    successor: Some(successor),
                    until: Instant::now() + self.overlap,
                };
                Ok(())
            }
            HandoverStep::Finish(successor) => {
                self.close(CloseCode::Away).await;
                let delivered = self.delivered.take().unwrap_or_default();
                Err(SessionEnd::Replaced(successor, delivered))
            }
        }
    }

    async fn check_liveness(&mut self) -> Result<(), SessionEnd> {
        match self.liveness.poll(Instant::now()) {
            None => Ok(()),
            Some(Action::GiveUp(error)) => Err(error.into()),
            Some(Action::Ping) => {
                let ping = self.socket.send(Message::Ping(Bytes::new()));
                match timeout(self.write_timeout, ping).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(read_error(&error).into()),
                    Err(_) => Err(dropped("the peer accepts no more data").into()),
                }
            }
        }
    }

    /// Sends the library's answer to a close frame, and says what the frame said.
    async fn closed(&mut self, frame: Option<CloseFrame>) -> Error {
        // Whether the answer arrives does not matter: the connection is over.
        let _ = timeout(self.close_timeout, self.socket.flush()).await;
        let said = match frame {
            Some(frame) if frame.reason.is_empty() => format!(" with code {}", frame.code),
            Some(frame) => format!(" with code {} ({})", frame.code, printable(&frame.reason)),
            None => String::new(),
        };
        Error::broken(
            Cause::Closed,
            format!("Central closed the connection{said}"),
        )
    }

    /// Sends a close frame, and stores what still arrives before Central answers it.
    async fn close(&mut self, code: CloseCode) {
        let close_frame = CloseFrame {
            code,
            reason: "".into(),
        };
        let handshake = async {
            if self.socket.close(Some(close_frame)).await.is_err() {
                return;
            }
            while let Some(Ok(message)) = self.socket.next().await {
                let Message::Binary(payload) = message else {
                    continue;
                };
                let delivered = self.delivered.as_mut();
                if self.ingest.append(payload, delivered).await.is_err() {
                    return;
                }
            }
        };
        // Central need not answer.
        let _ = timeout(self.close_timeout, handshake).await;
    }
}

fn read_error(error: &tungstenite::Error) -> Error {
    use tungstenite::error::ProtocolError;
    match error {
        tungstenite::Error::Io(error) => dropped(&error.to_string()),
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            dropped("without a close frame")
        }
        tungstenite::Error::Capacity(error) => Error::broken(
            Cause::Protocol,
            format!("Central sent a frame that is too large: {error}"),
        ),
        error => Error::broken(
            Cause::Protocol,
            format!("Central sent invalid WebSocket data: {error}"),
        ),
    }
}

fn dropped(how: &str) -> Error {
    Error::broken(Cause::Dropped, format!("the connection ended: {how}"))
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
