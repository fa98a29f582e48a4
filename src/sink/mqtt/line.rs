//! A connection from its first byte to the broker's CONNACK.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::dial::{Reader, Writer, dial};
use super::finish::finish;
use super::handshake::{Connack, Limits, Start, connect, take_connack};
use super::leftovers::Leftovers;
use super::packet::{self, DISCONNECT, Incoming};
use crate::config::{Mqtt, MqttVersion, Qos};
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
    /// Connects for records. At `QoS` 2 what was left half way is finished first; records go over a
    /// session of which the broker can know nothing from before.
    pub(super) async fn begin(mqtt: &Mqtt, leftovers: &mut Leftovers) -> Result<Self, Failure> {
        if mqtt.qos != Qos::ExactlyOnce {
            return Self::open(mqtt, Start::Clean).await;
        }
        if mqtt.version == MqttVersion::V3 {
            // A broker of 3.1.1 cannot say that it has no place: Mosquitto with identifiers from an
            // old state was seen to confirm and drop what is published over that session.
            leftovers.forget_published();
        }
        if !leftovers.are_finished() {
            finish(mqtt, leftovers).await?;
        }
        Self::begin_anew(mqtt).await
    }

    async fn begin_anew(mqtt: &Mqtt) -> Result<Self, Failure> {
        if mqtt.version == MqttVersion::V3 {
            Self::wipe(mqtt).await?;
        }
        let line = Self::open(mqtt, Start::Anew).await?;
        if line.is_resumed {
            return Err("the broker keeps a session that it was told to forget".into());
        }
        Ok(line)
    }

    /// A broker of 3.1.1 forgets a session only for one that it is not to keep.
    async fn wipe(mqtt: &Mqtt) -> Result<(), Failure> {
        let stand_in = Mqtt {
            status_topic: None,
            ..mqtt.clone()
        };
        Self::open(&stand_in, Start::Clean).await?.end().await;
        Ok(())
    }

    /// Connects and waits for the CONNACK.
    pub(super) async fn open(mqtt: &Mqtt, start: Start) -> Result<Self, Failure> {
        Self::shake_hands(mqtt, dial(mqtt).await?, start).await
    }

    pub(super) async fn shake_hands(
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
            is_resumed,
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

    /// Ends it in good order, which takes back the last will, and waits until the broker knows.
    pub(super) async fn end(mut self) {
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
