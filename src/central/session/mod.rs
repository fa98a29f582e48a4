//! One connection, from the first frame to its end or to its successor.
//!
//! - [`liveness`]: when to send a ping, and when to give the connection up.
//! - [`ingest`]: hands each frame to the journal, once.
//! - [`recent_hashes`]: the hashes by which duplicates are found.
//! - [`handover`]: opens the successor of a connection that is replaced.
//!
//! While a connection is being replaced, it notes the hashes of the frames it delivers and passes them
//! to its successor: a frame that both deliver is stored once.

pub(crate) mod handover;
pub(crate) mod ingest;
pub(crate) mod liveness;
pub(crate) mod recent_hashes;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

use self::handover::{Step, Succession};
use self::ingest::{Feed, JournalClosed};
use self::liveness::{Due, Liveness};
use self::recent_hashes::Window;
use crate::central::connect::dial::Stream;
use crate::central::error::{Cause, Error};
use crate::central::source::Connection;
use crate::central::stop::{Leave, Stop};

/// Frames that a connection notes while it is being replaced: beyond, a few may be stored twice.
const NOTED_FRAMES: usize = 1 << 17;

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// We were asked to stop.
    Stopped,
    /// The journal takes nothing any more.
    JournalClosed,
    /// Another connection has taken over, and this one has delivered these last.
    Replaced(Box<Connection>, Window),
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<JournalClosed> for End {
    fn from(_: JournalClosed) -> Self {
        Self::JournalClosed
    }
}

pub(crate) struct Session<'a> {
    pub(crate) socket: WebSocketStream<Stream>,
    pub(crate) liveness: Liveness,
    pub(crate) feed: &'a mut Feed,
    pub(crate) stop: &'a Stop,
    pub(crate) succession: Succession,
    /// What is delivered while the successor is on its way.
    pub(crate) noted: Option<Window>,
    pub(crate) overlap: Duration,
    /// For the closing handshake, and for an append that is held up when we stop.
    pub(crate) close_timeout: Duration,
    /// For the write of a ping: a socket that takes none for so long is dead.
    pub(crate) write_timeout: Duration,
}

impl Session<'_> {
    /// Reads until something ends it.
    pub(crate) async fn run(mut self) -> End {
        let Err(end) = self.read().await;
        if matches!(end, End::Stopped) {
            let code = match self.stop.leave() {
                Leave::ForGood => CloseCode::Normal,
                Leave::ForNow => CloseCode::Away,
            };
            self.leave(code).await;
        }
        match (end, self.succession.into_next()) {
            // The next one has frames to give, whatever this one ended by.
            (End::Stopped | End::Failed(_), Some(next)) => {
                End::Replaced(next, self.noted.unwrap_or_else(|| Window::new(1)))
            }
            (end, _) => end,
        }
    }

    async fn read(&mut self) -> Result<std::convert::Infallible, End> {
        let stop = self.stop;
        let mut stopped = std::pin::pin!(stop.asked());
        self.feed.counters().waits(false);
        loop {
            self.feed.counters().turn();
            tokio::select! {
                biased;
                () = &mut stopped => return Err(End::Stopped),
                message = self.socket.next() => self.take(message).await?,
                next = self.succession.step() => self.succeed(next).await?,
                () = sleep_until(self.liveness.deadline()) => self.look().await?,
            }
        }
    }

    async fn take(&mut self, message: Option<tungstenite::Result<Message>>) -> Result<(), End> {
        match message {
            Some(Ok(Message::Binary(payload))) => {
                self.store(payload).await?;
                self.liveness.fed(Instant::now());
            }
            Some(Ok(Message::Text(_))) => {
                self.feed.counters().text_frame();
                self.heard();
            }
            Some(Ok(Message::Pong(_))) => {
                self.liveness.pong();
                self.heard();
            }
            // The library has queued the answer, and sends it with the next read.
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => self.heard(),
            Some(Ok(Message::Close(frame))) => return Err(self.closed(frame).await.into()),
            Some(Err(error)) => return Err(broken(&error).into()),
            None => return Err(dropped("without a close frame").into()),
        }
        Ok(())
    }

    fn heard(&mut self) {
        self.liveness.heard();
        self.feed.heard();
    }

    /// Hands a frame to the journal; that waits while the journal is full. When we are to stop
    /// meanwhile, it waits a little longer: the frame was read, and Central does not send it again.
    async fn store(&mut self, payload: Bytes) -> Result<(), End> {
        let stop = self.stop;
        let counters = std::sync::Arc::clone(self.feed.shared_counters());
        let mut append = std::pin::pin!(self.feed.append(payload, self.noted.as_mut()));
        let appended = tokio::select! {
            biased;
            appended = &mut append => Some(appended),
            () = stop.asked() => timeout(self.close_timeout, append).await.ok(),
        };
        let Some(appended) = appended else {
            counters.abandoned();
            return Err(End::Stopped);
        };
        Ok(appended?)
    }

    async fn succeed(&mut self, step: Step) -> Result<(), End> {
        match step {
            Step::Wanted(connect) => {
                self.noted = Some(Window::new(NOTED_FRAMES));
                self.succession = Succession::Connecting(connect());
                Ok(())
            }
            Step::Connected(next) => {
                self.succession = Succession::Lingering {
                    next: Some(next),
                    until: Instant::now() + self.overlap,
                };
                Ok(())
            }
            Step::Over(next) => {
                self.leave(CloseCode::Away).await;
                let noted = self.noted.take().unwrap_or_else(|| Window::new(1));
                Err(End::Replaced(next, noted))
            }
        }
    }

    async fn look(&mut self) -> Result<(), End> {
        match self.liveness.due(Instant::now()) {
            None => Ok(()),
            Some(Due::Dead(error)) => Err(error.into()),
            Some(Due::Ping) => {
                let ping = self.socket.send(Message::Ping(Bytes::new()));
                match timeout(self.write_timeout, ping).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(broken(&error).into()),
                    Err(_) => Err(dropped("it takes no more bytes").into()),
                }
            }
        }
    }

    /// Lets the library's answer to a close frame out, and names what the frame said.
    async fn closed(&mut self, frame: Option<CloseFrame>) -> Error {
        // Whether it gets there does not matter: the connection is over.
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

    /// Says goodbye, and keeps what still arrives before Central has answered that.
    async fn leave(&mut self, code: CloseCode) {
        let goodbye = CloseFrame {
            code,
            reason: "".into(),
        };
        let farewell = async {
            if self.socket.close(Some(goodbye)).await.is_err() {
                return;
            }
            while let Some(Ok(message)) = self.socket.next().await {
                if let Message::Binary(payload) = message
                    && self
                        .feed
                        .append(payload, self.noted.as_mut())
                        .await
                        .is_err()
                {
                    return;
                }
            }
        };
        // Central does not have to answer, and we do not wait for it any longer.
        let _ = timeout(self.close_timeout, farewell).await;
    }
}

fn broken(error: &tungstenite::Error) -> Error {
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
        error => Error::broken(Cause::Protocol, format!("Central sent nonsense: {error}")),
    }
}

fn dropped(how: &str) -> Error {
    Error::broken(Cause::Dropped, format!("the connection ended: {how}"))
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
