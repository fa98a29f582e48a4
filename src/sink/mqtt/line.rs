//! A connection from its first byte to the broker's CONNACK.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::dial::{Reader, Writer, dial};
use super::handshake::{Connack, Limits, Start, connect, take_connack};
use super::leftovers::Leftovers;
use super::packet::{self, DISCONNECT, Incoming};
use crate::config::{Mqtt, Qos};
use crate::sink::{Cause, Failure};

/// How long a broker may take to acknowledge a record, to answer a ping, or to let us in. One that
/// was stopped for a while may go on within it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a broker may hear nothing from us, unless it has its own idea. A ping goes out twice in
/// that time, also while records do: their acknowledgements have a clock of their own.
pub(super) const KEEP_ALIVE: u16 = 30;

/// How long a goodbye may take that nobody waits for.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// Room for acknowledgements that are read at once.
pub(super) const READ_BYTES: usize = 8 * 1024;

/// A connection that the broker has let in.
pub(super) struct Line {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// What came behind the CONNACK.
    pub(super) incoming: BytesMut,
    pub(super) limits: Limits,
    /// Whether the broker remembers the session.
    pub(super) is_resumed: bool,
}

impl Line {
    /// Connects for records, and takes up what connections before have left where it may.
    pub(super) async fn begin(mqtt: &Mqtt, leftovers: &mut Leftovers) -> Result<Self, Failure> {
        match mqtt.qos {
            Qos::AtMostOnce | Qos::AtLeastOnce => Self::open(mqtt, Start::Clean).await,
            Qos::ExactlyOnce if leftovers.are_worth_it() => Self::resume(mqtt, leftovers).await,
            Qos::ExactlyOnce => Self::begin_anew(mqtt).await,
        }
    }

    async fn resume(mqtt: &Mqtt, leftovers: &mut Leftovers) -> Result<Self, Failure> {
        let stream = dial(mqtt).await?;
        leftovers.doubt();
        let resumed = Self::shake_hands(mqtt, stream, Start::Resumed).await;
        if let Err(failure) = &resumed
            && !matches!(failure.cause, Cause::ConnectionLost | Cause::Timeout)
        {
            leftovers.trust();
        }
        resumed
    }

    /// The identifiers that an earlier process has left at the broker are not known here: a new
    /// record would be taken for an old one.
    async fn begin_anew(mqtt: &Mqtt) -> Result<Self, Failure> {
        let line = Self::open(mqtt, Start::Anew).await?;
        if !line.is_resumed {
            return Ok(line);
        }
        // A broker of 3.1.1 forgets a session only for one that it is not to keep. A DISCONNECT takes
        // back the last will.
        line.end().await;
        let stand_in = Mqtt {
            status_topic: None,
            ..mqtt.clone()
        };
        Self::open(&stand_in, Start::Clean).await?.end().await;
        let line = Self::open(mqtt, Start::Anew).await?;
        if line.is_resumed {
            return Err("the broker keeps a session that it was told to forget".into());
        }
        Ok(line)
    }

    /// Connects and waits for the CONNACK.
    pub(super) async fn open(mqtt: &Mqtt, start: Start) -> Result<Self, Failure> {
        Self::shake_hands(mqtt, dial(mqtt).await?, start).await
    }

    async fn shake_hands(
        mqtt: &Mqtt,
        (mut reader, mut writer): (Reader, Writer),
        start: Start,
    ) -> Result<Self, Failure> {
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
        Ok(Self {
            reader,
            writer,
            incoming,
            limits,
            is_resumed: is_resumed && start != Start::Clean,
        })
    }

    pub(super) async fn send(&mut self, packet: &[u8]) -> Result<(), Failure> {
        send(&mut self.writer, packet).await
    }

    pub(super) async fn next(&mut self) -> Result<Incoming, Failure> {
        loop {
            if let Some(incoming) = packet::take(&mut self.incoming)? {
                return Ok(incoming);
            }
            receive(&mut self.reader, &mut self.incoming).await?;
        }
    }

    /// Ends it in good order, and waits until the broker knows.
    async fn end(mut self) {
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
pub(super) fn more(read: usize) -> io::Result<()> {
    match read {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it away")]
pub(super) fn lost(error: io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the broker closed the connection".to_owned(),
        _ => format!("the connection broke: {error}"),
    };
    Failure::new(Cause::ConnectionLost, why)
}

pub(super) fn late(what: &str) -> Failure {
    Failure::new(Cause::Timeout, format!("{what} in {PATIENCE:?}"))
}
