//! A connection from its first byte to the broker's CONNACK, and one packet after another from then on.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::codec::handshake::{Connack, Limits, SessionStart, connect, take_connack};
use super::codec::packet::{self, DISCONNECT, Incoming};
use super::dial::{Connected, Reader, Writer, dial};
use crate::config::Mqtt;
use crate::sink::{Cause, Failure};

/// How long a broker may take to acknowledge a record, to answer a ping, or to accept a connection. A
/// broker that was suspended for a while can go on within it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Seconds of silence after which the broker may close the connection, unless it sets its own limit. Two
/// pings are sent in that time, also while records are: their acknowledgements have a timeout of their
/// own.
pub(crate) const KEEP_ALIVE: u16 = 30;

/// How long closing a connection may take.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Room for acknowledgements that are read at once.
pub(crate) const READ_BYTES: usize = 8 * 1024;

/// A connection that the broker has accepted.
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    /// What came after the CONNACK.
    pub(crate) incoming: BytesMut,
    pub(crate) limits: Limits,
    /// Whether the broker remembers the session.
    pub(crate) is_resumed: bool,
}

impl Connection {
    /// Dials, and waits for the CONNACK.
    pub(crate) async fn open(mqtt: &Mqtt, start: SessionStart) -> Result<Self, Failure> {
        Self::handshake(mqtt, dial(mqtt).await?, start).await
    }

    pub(crate) async fn handshake(
        mqtt: &Mqtt,
        connected: Connected,
        start: SessionStart,
    ) -> Result<Self, Failure> {
        let Connected {
            mut reader,
            mut writer,
            peer,
        } = connected;
        let mut incoming = BytesMut::with_capacity(READ_BYTES);
        let handshake = async {
            send(&mut writer, &connect(mqtt, KEEP_ALIVE, start)?).await?;
            loop {
                if let Some(connack) = take_connack(&mut incoming, mqtt)? {
                    return Ok::<_, Failure>(connack);
                }
                receive(&mut reader, &mut incoming).await?;
            }
        };
        let Connack { is_resumed, limits } = timeout(TIMEOUT, handshake)
            .await
            .map_err(|_| timed_out("no answer to CONNECT"))??;
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

    /// Disconnects in good order, so that the broker discards the last will, and waits until the broker
    /// has closed the connection.
    pub(crate) async fn close(mut self) {
        let closed = async {
            self.send(&DISCONNECT).await?;
            while self.next().await.is_ok() {}
            Ok::<_, Failure>(())
        };
        // A connection that breaks is closed too.
        let _ = timeout(CLOSE_TIMEOUT, closed).await;
    }
}

async fn send(writer: &mut Writer, packet: &[u8]) -> Result<(), Failure> {
    let sent = async {
        writer.write_all(packet).await?;
        writer.flush().await
    };
    sent.await.map_err(connection_lost)
}

async fn receive(reader: &mut Reader, to: &mut BytesMut) -> Result<(), Failure> {
    let read = reader.read_buf(to).await;
    read.and_then(not_at_end).map_err(connection_lost)
}

/// A read of no bytes means that the broker has closed the connection.
pub(crate) fn not_at_end(bytes: usize) -> io::Result<()> {
    match bytes {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "`map_err` passes it by value"
)]
pub(crate) fn connection_lost(error: io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the broker closed the connection".to_owned(),
        _ => format!("the connection broke: {error}"),
    };
    Failure::new(Cause::ConnectionLost, why)
}

/// `what` did or did not happen within [`TIMEOUT`].
pub(crate) fn timed_out(what: &str) -> Failure {
    Failure::new(Cause::Timeout, format!("{what} within {TIMEOUT:?}"))
}
