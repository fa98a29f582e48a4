//! The few words of a broker, each when a test wants it said.

use bytes::BytesMut;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::super::codec::packet::{DISCONNECT, whole_packet};
use crate::config::MqttVersion;

/// What came from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Connect {
        is_clean: bool,
        /// The session is to outlive the connection.
        is_kept: bool,
    },
    Publish {
        id: u16,
        is_repeated: bool,
        payload: String,
    },
    PubRel(u16),
    Disconnect,
    /// The client closed the connection.
    End,
}

pub(super) struct Broker {
    listener: TcpListener,
    pub(super) version: MqttVersion,
    /// What a broker of MQTT 5 allows.
    pub(super) receive_max: u16,
}

/// One client's connection.
pub(super) struct Connection {
    stream: TcpStream,
    incoming: BytesMut,
    version: MqttVersion,
}

impl Broker {
    pub(super) async fn start(version: MqttVersion) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            version,
            receive_max: 100,
        }
    }

    pub(super) fn url(&self) -> Url {
        let address = self.listener.local_addr().unwrap();
        Url::parse(&format!("mqtt://{address}")).unwrap()
    }

    /// The next connection, with its CONNECT.
    pub(super) async fn accept(&self) -> (Connection, Heard) {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut connection = Connection {
            stream,
            incoming: BytesMut::new(),
            version: self.version,
        };
        let connect = connection.hear().await;
        (connection, connect)
    }

    /// Accepts a connection and says whether the session is there.
    pub(super) async fn let_in(&self, remembers: bool) -> (Connection, Heard) {
        let (mut connection, connect) = self.accept().await;
        let flags = u8::from(remembers);
        let [max_high, max_low] = self.receive_max.to_be_bytes();
        let v3 = [0x20, 2, flags, 0];
        let v5 = [0x20, 6, flags, 0, 3, 33, max_high, max_low];
        match self.version {
            MqttVersion::V3 => connection.say(&v3).await,
            MqttVersion::V5 => connection.say(&v5).await,
        }
        (connection, connect)
    }
}

impl Connection {
    pub(super) async fn pubrec(&mut self, id: u16, reason: u8) {
        self.acknowledge(0x50, id, reason).await;
    }

    pub(super) async fn pubcomp(&mut self, id: u16, reason: u8) {
        self.acknowledge(0x70, id, reason).await;
    }

    async fn acknowledge(&mut self, kind: u8, id: u16, reason: u8) {
        let [high, low] = id.to_be_bytes();
        match reason {
            0 => self.say(&[kind, 2, high, low]).await,
            _ => self.say(&[kind, 3, high, low, reason]).await,
        }
    }

    async fn say(&mut self, packet: &[u8]) {
        self.stream.write_all(packet).await.unwrap();
    }

    pub(super) async fn hears(&mut self, expected: &[Heard]) {
        for expected in expected {
            assert_eq!(self.hear().await, *expected);
        }
    }

    /// The next packet.
    pub(super) async fn hear(&mut self) -> Heard {
        while whole_packet(&self.incoming).unwrap().is_none() {
            // Whoever leaves without reading all resets the connection.
            if self.stream.read_buf(&mut self.incoming).await.unwrap_or(0) == 0 {
                return Heard::End;
            }
        }
        match self.version {
            MqttVersion::V3 => heard_v3(&mut self.incoming),
            MqttVersion::V5 => heard_v5(&mut self.incoming),
        }
    }
}

fn heard_v5(incoming: &mut BytesMut) -> Heard {
    // The shortest one, which rumqttc's codec does not know.
    if incoming.starts_with(&DISCONNECT) {
        let _ = incoming.split_to(DISCONNECT.len());
        return Heard::Disconnect;
    }
    match v5::Packet::read(incoming, None).unwrap() {
        v5::Packet::Connect(connect, _, _) => Heard::Connect {
            is_clean: connect.clean_start,
            is_kept: connect
                .properties
                .is_some_and(|of| of.session_expiry_interval > Some(0)),
        },
        v5::Packet::Publish(publish) => Heard::Publish {
            id: publish.pkid,
            is_repeated: publish.dup,
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
        },
        v5::Packet::PubRel(pubrel) => Heard::PubRel(pubrel.pkid),
        other => panic!("{other:?}"),
    }
}

fn heard_v3(incoming: &mut BytesMut) -> Heard {
    match v4::Packet::read(incoming, 1 << 20).unwrap() {
        v4::Packet::Connect(connect) => Heard::Connect {
            is_clean: connect.clean_session,
            is_kept: !connect.clean_session,
        },
        v4::Packet::Publish(publish) => Heard::Publish {
            id: publish.pkid,
            is_repeated: publish.dup,
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
        },
        v4::Packet::PubRel(pubrel) => Heard::PubRel(pubrel.pkid),
        v4::Packet::Disconnect => Heard::Disconnect,
        other => panic!("{other:?}"),
    }
}
