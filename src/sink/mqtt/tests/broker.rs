//! A broker that sends each packet when a test says so.

use bytes::BytesMut;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::super::codec::packet::{DISCONNECT, complete_packet};
use crate::config::MqttVersion;

/// A packet from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FromClient {
    Connect {
        is_clean: bool,
        /// The session is to outlive the connection.
        is_kept: bool,
    },
    Publish {
        id: u16,
        is_duplicate: bool,
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
    pub(super) async fn accept(&self) -> (Connection, FromClient) {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut connection = Connection {
            stream,
            incoming: BytesMut::new(),
            version: self.version,
        };
        let connect = connection.receive().await;
        (connection, connect)
    }

    /// Accepts a connection and tells the client whether its session exists.
    pub(super) async fn accept_client(&self, remembers: bool) -> (Connection, FromClient) {
        let (mut connection, connect) = self.accept().await;
        let flags = u8::from(remembers);
        let [max_high, max_low] = self.receive_max.to_be_bytes();
        let v3 = [0x20, 2, flags, 0];
        let v5 = [0x20, 6, flags, 0, 3, 33, max_high, max_low];
        match self.version {
            MqttVersion::V3 => connection.send(&v3).await,
            MqttVersion::V5 => connection.send(&v5).await,
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
            0 => self.send(&[kind, 2, high, low]).await,
            _ => self.send(&[kind, 3, high, low, reason]).await,
        }
    }

    async fn send(&mut self, packet: &[u8]) {
        self.stream.write_all(packet).await.unwrap();
    }

    pub(super) async fn expects(&mut self, expected: &[FromClient]) {
        for expected in expected {
            assert_eq!(self.receive().await, *expected);
        }
    }

    /// The next packet.
    pub(super) async fn receive(&mut self) -> FromClient {
        while complete_packet(&self.incoming).unwrap().is_none() {
            // A client that closes without reading everything resets the connection.
            if self.stream.read_buf(&mut self.incoming).await.unwrap_or(0) == 0 {
                return FromClient::End;
            }
        }
        match self.version {
            MqttVersion::V3 => read_v3(&mut self.incoming),
            MqttVersion::V5 => read_v5(&mut self.incoming),
        }
    }
}

fn read_v5(incoming: &mut BytesMut) -> FromClient {
    // The shortest DISCONNECT, which rumqttc's codec does not know.
    if incoming.starts_with(&DISCONNECT) {
        let _ = incoming.split_to(DISCONNECT.len());
        return FromClient::Disconnect;
    }
    match v5::Packet::read(incoming, None).unwrap() {
        v5::Packet::Connect(connect, _, _) => FromClient::Connect {
            is_clean: connect.clean_start,
            is_kept: connect
                .properties
                .is_some_and(|of| of.session_expiry_interval > Some(0)),
        },
        v5::Packet::Publish(publish) => FromClient::Publish {
            id: publish.pkid,
            is_duplicate: publish.dup,
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
        },
        v5::Packet::PubRel(pubrel) => FromClient::PubRel(pubrel.pkid),
        other => panic!("{other:?}"),
    }
}

fn read_v3(incoming: &mut BytesMut) -> FromClient {
    match v4::Packet::read(incoming, 1 << 20).unwrap() {
        v4::Packet::Connect(connect) => FromClient::Connect {
            is_clean: connect.clean_session,
            is_kept: !connect.clean_session,
        },
        v4::Packet::Publish(publish) => FromClient::Publish {
            id: publish.pkid,
            is_duplicate: publish.dup,
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
        },
        v4::Packet::PubRel(pubrel) => FromClient::PubRel(pubrel.pkid),
        v4::Packet::Disconnect => FromClient::Disconnect,
        other => panic!("{other:?}"),
    }
}
