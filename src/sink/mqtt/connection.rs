//! A connection from its first byte to the broker's CONNACK.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::codec::handshake::{Connack, Limits, Start, connect, take_connack};
use super::codec::packet::{self, DISCONNECT, Incoming};
use super::dial::{Connected, Reader, Writer, dial};
use crate::config::Mqtt;
use crate::sink::{Cause, Failure};

/// How long a broker may take to acknowledge a record, to answer a ping, or to let us in. One that
/// was stopped for a while may go on within it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a broker may hear nothing from us, unless it has its own idea. A ping goes out twice in
/// that time, also while records do: their acknowledgements have a clock of their own.
pub(crate) const KEEP_ALIVE: u16 = 30;

/// How long a goodbye may take that nobody waits for.
pub(crate) const GOODBYE: Duration = Duration::from_secs(1);

/// Room for acknowledgements that are read at once.
pub(crate) const READ_BYTES: usize = 8 * 1024;

/// A connection that the broker has let in.
pub(crate) struct Line {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    /// What came behind the CONNACK.
    pub(crate) incoming: BytesMut,
    pub(crate) limits: Limits,
    /// Whether the broker remembers the session.
    pub(crate) is_resumed: bool,
}

impl Line {
    /// Connects and waits for the CONNACK.
    pub(crate) async fn open(mqtt: &Mqtt, start: Start) -> Result<Self, Failure> {
        Self::shake_hands(mqtt, dial(mqtt).await?, start).await
    }

    pub(crate) async fn shake_hands(
        mqtt: &Mqtt,
        connected: Connected,
        start: Start,
    ) -> Result<Self, Failure> {
        let Connected {
            mut reader,
            mut writer,
            peer,
        } = connected;
        let mut incoming = BytesMut::with_capacity(READ_BYTES);
        let shaken = async {
            send(&mut writer, &connect(mqtt, KEEP_ALIVE, start)?).await?;
            loop {
                if let Some(connack) = take_connack(&mut incoming, mqtt)? {
                    return Ok::<_, Failure>(connack);
                }
                receive(&mut reader, &mut incoming).await?;
            }
        };
        let Connack { is_resumed, limits } = timeout(PATIENCE, shaken)
            .await
            .map_err(|_| late("no answer to CONNECT"))??;
        peer.answered();
        Ok(Self {
            reader,
            writer,
            incoming,
            limits,
            is_resumed,
        })
    }

    pub(crate) async fn send(&mut self, packet: &[u8]) -> Result<(), Failure> {
        send(&mut self.writer, packet).await
    }

    pub(crate) async fn next(&mut self) -> Result<Incoming, Failure> {
        loop {
            if let Some(incoming) = packet::take(&mut self.incoming)? {
                return Ok(incoming);
            }
            receive(&mut self.reader, &mut self.incoming).await?;
        }
    }

    /// Ends it in good order, which takes back the last will, and waits until the broker knows.
    pub(crate) async fn end(mut self) {
        let ended = async {
            self.send(&DISCONNECT).await?;
            while self.next().await.is_ok() {}
            Ok::<_, Failure>(())
        };
        // One that is broken has ended too.
        let _ = timeout(GOODBYE, ended).await;
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

/// Reading nothing means that the other side has ended the connection.
pub(crate) fn more(read: usize) -> io::Result<()> {
    match read {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it away")]
pub(crate) fn lost(error: io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the broker closed the connection".to_owned(),
        _ => format!("the connection broke: {error}"),
    };
    Failure::new(Cause::ConnectionLost, why)
}

pub(crate) fn late(what: &str) -> Failure {
    Failure::new(Cause::Timeout, format!("{what} in {PATIENCE:?}"))
}
