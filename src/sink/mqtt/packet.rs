//! The packets that a publisher sends and receives, in both versions.
//!
//! rumqttc's codec writes CONNECT and PUBLISH and reads CONNACK. Acknowledgements are read here: the
//! codec knows no reason code that its tables lack, such as Mosquitto's "packet too large", and
//! takes a DISCONNECT without properties for an unfinished packet.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{self, FixedHeader, PacketType, Protocol, v4};
use rumqttc::v5::mqttbytes::v5;
use rumqttc::{QoS as QosV4, v5::mqttbytes::QoS as QosV5};

use super::reason;
use crate::config::mqtt::is_carried;
use crate::config::{Mqtt, MqttVersion, Qos};
use crate::sink::Record;

/// Larger packets never come to a client that does not subscribe.
const MAX_INCOMING_BYTES: usize = 64 * 1024;

/// A broker of 3.1.1 has no word for how many it takes at `QoS` 2: Mosquitto 2.0 was seen to reset
/// the connection with some hundred under way. 20 is what it allows by default where it can say so.
const UNSAID_RECEIVE_MAX: u16 = 20;

/// What a text may have: its length is two bytes.
const MAX_TEXT_BYTES: usize = 65_535;

const ONLINE: &str = "online";
const OFFLINE: &str = "offline";

/// Stands where the identifier will be, so that a packet has its size before it is sent.
const PLACEHOLDER: u16 = 1;

pub(super) const PINGREQ: [u8; 2] = [0xc0, 0];

/// What comes from the broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// `QoS` 1: the broker has it, or will not take it.
    PubAck {
        id: u16,
        reason: u8,
    },
    /// `QoS` 2: the same; the broker waits for a PUBREL before it passes it on.
    PubRec {
        id: u16,
        reason: u8,
    },
    /// `QoS` 2: the end.
    PubComp {
        id: u16,
        reason: u8,
    },
    Pong,
    Goodbye {
        reason: u8,
    },
}

/// What a broker allows, from its CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Records at `QoS` 1 and 2 that may be under way.
    pub(super) receive_max: u16,
    /// Bytes of a packet.
    pub(super) packet_bytes: usize,
    /// Seconds, where the broker insists.
    pub(super) keep_alive: Option<u16>,
}

/// A PUBLISH that has no identifier yet.
#[derive(Debug)]
pub(super) enum Publish {
    V3(v4::Publish),
    V5(v5::Publish),
}

/// The CONNECT that begins a clean session: what is unconfirmed is sent again by the delivery, so
/// neither side has to remember anything.
pub(super) fn connect(mqtt: &Mqtt, keep_alive: u16) -> Result<BytesMut, String> {
    let mut buffer = BytesMut::new();
    let username = mqtt.username.as_ref().map_or("", |secret| secret.expose());
    let password = mqtt.password.as_ref().map_or("", |secret| secret.expose());
    let with_login = mqtt.username.is_some();
    let status_topic = mqtt.status_topic.as_ref();
    let written = match mqtt.version {
        MqttVersion::V3 => v4::Connect {
            protocol: Protocol::V4,
            keep_alive,
            client_id: mqtt.client_id.clone(),
            clean_session: true,
            last_will: status_topic
                .map(|topic| v4::LastWill::new(topic, OFFLINE, qos_v4(mqtt.qos), true)),
            login: with_login.then(|| v4::Login::new(username, password)),
        }
        .write(&mut buffer)
        .map_err(|error| error.to_string()),
        MqttVersion::V5 => {
            let connect = v5::Connect {
                keep_alive,
                client_id: mqtt.client_id.clone(),
                clean_start: true,
                properties: None,
            };
            let will = status_topic
                .map(|topic| v5::LastWill::new(topic, OFFLINE, qos_v5(mqtt.qos), true, None));
            let login = with_login.then(|| v5::Login::new(username, password));
            connect
                .write(&will, &login, &mut buffer)
                .map_err(|error| error.to_string())
        }
    };
    written.map(|_| buffer)
}

/// Takes the CONNACK off the buffer; `None`: it is not there yet.
pub(super) fn take_connack(buffer: &mut BytesMut, mqtt: &Mqtt) -> Result<Option<Limits>, String> {
    let Some(header) = whole_packet(buffer)? else {
        return Ok(None);
    };
    if header.packet_type().ok() != Some(PacketType::ConnAck) {
        return Err("the broker answered CONNECT with something else than CONNACK".to_owned());
    }
    let code = body(&buffer[..header.frame_length()]).get(1).copied();
    match code {
        Some(0) => {}
        Some(code) => {
            let why = reason::text(code);
            return Err(format!("the broker refused the connection: {why}"));
        }
        None => return Err("the broker's CONNACK is malformed".to_owned()),
    }
    let mut limits = Limits {
        receive_max: match (mqtt.version, mqtt.qos) {
            (MqttVersion::V3, Qos::ExactlyOnce) => UNSAID_RECEIVE_MAX,
            _ => u16::MAX,
        },
        packet_bytes: mqtt.max_packet_size as usize,
        keep_alive: None,
    };
    if mqtt.version == MqttVersion::V5 {
        let packet = v5::Packet::read(buffer, None)
            .map_err(|error| format!("the broker's CONNACK is malformed: {error}"))?;
        if let v5::Packet::ConnAck(connack) = packet
            && let Some(properties) = connack.properties
        {
            limits.respect(&properties, mqtt)?;
        }
    } else {
        let _ = buffer.split_to(header.frame_length());
    }
    Ok(Some(limits))
}

impl Limits {
    fn respect(&mut self, broker: &v5::ConnAckProperties, mqtt: &Mqtt) -> Result<(), String> {
        if broker.max_qos.is_some_and(|max| max < mqtt.qos as u8) {
            return Err(format!("the broker: {}", reason::text(0x9b)));
        }
        if broker.retain_available == Some(0) && (mqtt.retain || mqtt.status_topic.is_some()) {
            return Err(format!("the broker: {}", reason::text(0x9a)));
        }
        self.receive_max = broker.receive_max.unwrap_or(self.receive_max).max(1);
        if let Some(bytes) = broker.max_packet_size {
            self.packet_bytes = self.packet_bytes.min(bytes as usize);
        }
        self.keep_alive = broker.server_keep_alive;
        Ok(())
    }
}

/// Takes the next whole packet off the buffer. What is not for a publisher is an error.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Incoming>, String> {
    let Some(header) = whole_packet(buffer)? else {
        return Ok(None);
    };
    let packet = buffer.split_to(header.frame_length());
    let body = body(&packet);
    let acknowledged = || match body {
        [high, low] => Ok((u16::from_be_bytes([*high, *low]), 0)),
        [high, low, reason, ..] => Ok((u16::from_be_bytes([*high, *low]), *reason)),
        _ => Err("the broker sent a malformed acknowledgement".to_owned()),
    };
    let incoming = match header.packet_type() {
        Ok(PacketType::PubAck) => {
            acknowledged().map(|(id, reason)| Incoming::PubAck { id, reason })
        }
        Ok(PacketType::PubRec) => {
            acknowledged().map(|(id, reason)| Incoming::PubRec { id, reason })
        }
        Ok(PacketType::PubComp) => {
            acknowledged().map(|(id, reason)| Incoming::PubComp { id, reason })
        }
        Ok(PacketType::PingResp) => Ok(Incoming::Pong),
        Ok(PacketType::Disconnect) => Ok(Incoming::Goodbye {
            reason: body.first().copied().unwrap_or(0),
        }),
        other => Err(format!("the broker sent a packet of its own: {other:?}")),
    };
    incoming.map(Some)
}

fn whole_packet(buffer: &BytesMut) -> Result<Option<FixedHeader>, String> {
    match mqttbytes::check(buffer.iter(), MAX_INCOMING_BYTES) {
        Ok(header) => Ok(Some(header)),
        Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
        Err(error) => Err(format!("the broker sent a malformed packet: {error}")),
    }
}

/// What follows the packet's type and its length, each byte of which but the last has its high bit
/// set.
fn body(packet: &[u8]) -> &[u8] {
    let more = packet.iter().skip(1).take_while(|byte| **byte >= 0x80);
    let start = 2 + more.count();
    packet.get(start..).unwrap_or_default()
}

/// The PUBREL that answers a PUBREC: the same bytes in both versions.
pub(super) fn pubrel(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x62, 2, high, low]
}

/// The DISCONNECT that ends a session in good order. A client with a last will wants it published:
/// 3.1.1 has no word for that, so that the connection has to end without one.
pub(super) fn disconnect(mqtt: &Mqtt) -> &'static [u8] {
    match (mqtt.version, &mqtt.status_topic) {
        (_, None) => &[0xe0, 0],
        (MqttVersion::V5, Some(_)) => &[0xe0, 1, 0x04],
        (MqttVersion::V3, Some(_)) => &[],
    }
}

impl Publish {
    /// A record as a packet.
    ///
    /// # Errors
    /// Why no broker can be sent this record.
    pub(super) fn of(record: &Record<'_>, mqtt: &Mqtt) -> Result<Self, String> {
        if record.destination.len() > MAX_TEXT_BYTES {
            return Err(format!(
                "its topic is longer than {MAX_TEXT_BYTES} bytes, the limit of MQTT"
            ));
        }
        let payload = Bytes::copy_from_slice(record.payload);
        Ok(match mqtt.version {
            MqttVersion::V3 => {
                let publish =
                    v4::Publish::from_bytes(record.destination, qos_v4(mqtt.qos), payload);
                Self::V3(v4::Publish {
                    retain: mqtt.retain,
                    pkid: PLACEHOLDER,
                    ..publish
                })
            }
            MqttVersion::V5 => Self::V5(v5::Publish {
                retain: mqtt.retain,
                qos: qos_v5(mqtt.qos),
                pkid: PLACEHOLDER,
                topic: Bytes::copy_from_slice(record.destination.as_bytes()),
                payload,
                properties: Some(properties(record, mqtt)?),
                ..v5::Publish::default()
            }),
        })
    }

    /// The retained word that the forwarder is there.
    pub(super) fn online(topic: &str, mqtt: &Mqtt) -> Self {
        match mqtt.version {
            MqttVersion::V3 => Self::V3(v4::Publish {
                retain: true,
                ..v4::Publish::new(topic, qos_v4(mqtt.qos), ONLINE)
            }),
            MqttVersion::V5 => Self::V5(v5::Publish {
                retain: true,
                ..v5::Publish::new(topic, qos_v5(mqtt.qos), ONLINE, None)
            }),
        }
    }

    pub(super) fn has_acknowledgement(&self) -> bool {
        match self {
            Self::V3(publish) => publish.qos != QosV4::AtMostOnce,
            Self::V5(publish) => publish.qos != QosV5::AtMostOnce,
        }
    }

    pub(super) fn set_id(&mut self, id: u16) {
        match self {
            Self::V3(publish) => publish.pkid = id,
            Self::V5(publish) => publish.pkid = id,
        }
    }

    /// Bytes of the packet.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::V3(publish) => publish.size(),
            Self::V5(publish) => publish.size(),
        }
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) -> Result<usize, String> {
        match self {
            Self::V3(publish) => publish.write(buffer).map_err(|error| error.to_string()),
            Self::V5(publish) => publish.write(buffer).map_err(|error| error.to_string()),
        }
    }
}

fn properties(record: &Record<'_>, mqtt: &Mqtt) -> Result<v5::PublishProperties, String> {
    let mut user_properties = Vec::with_capacity(record.attributes.iter().len());
    for (name, value) in record.attributes.iter() {
        if value.len() > MAX_TEXT_BYTES {
            return Err(format!(
                "its attribute `{name}` is longer than {MAX_TEXT_BYTES} bytes, the limit of MQTT"
            ));
        }
        user_properties.push((name.to_owned(), carried(value).into_owned()));
    }
    Ok(v5::PublishProperties {
        message_expiry_interval: mqtt.message_expiry,
        user_properties,
        content_type: Some(record.content_type.to_owned()),
        ..v5::PublishProperties::default()
    })
}

/// Attributes repeat what the payload says: a character that would cost the connection becomes `?`.
fn carried(value: &str) -> Cow<'_, str> {
    if value.chars().all(is_carried) {
        return Cow::Borrowed(value);
    }
    let replaced = |c| if is_carried(c) { c } else { '?' };
    Cow::Owned(value.chars().map(replaced).collect())
}

fn qos_v4(qos: Qos) -> QosV4 {
    match qos {
        Qos::AtMostOnce => QosV4::AtMostOnce,
        Qos::AtLeastOnce => QosV4::AtLeastOnce,
        Qos::ExactlyOnce => QosV4::ExactlyOnce,
    }
}

fn qos_v5(qos: Qos) -> QosV5 {
    match qos {
        Qos::AtMostOnce => QosV5::AtMostOnce,
        Qos::AtLeastOnce => QosV5::AtLeastOnce,
        Qos::ExactlyOnce => QosV5::ExactlyOnce,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut as _;
    use proptest::prelude::*;
    use url::Url;

    use super::*;
    use crate::config::ClientTls;
    use crate::sink::Attributes;

    fn mqtt(version: MqttVersion) -> Mqtt {
        Mqtt {
            url: Url::parse("mqtt://localhost").unwrap(),
            version,
            qos: Qos::AtLeastOnce,
            client_id: "x".to_owned(),
            username: None,
            password: None,
            tls: ClientTls::default(),
            retain: true,
            message_expiry: Some(60),
            max_packet_size: 1 << 20,
            status_topic: None,
        }
    }

    fn record<'a>(destination: &'a str, attributes: Attributes<'a>) -> Record<'a> {
        Record {
            destination,
            key: None,
            payload: b"payload",
            attributes,
            content_type: "application/json",
            timestamp: 0,
        }
    }

    #[test]
    fn acknowledgements_of_both_versions_are_read() {
        let mut buffer = BytesMut::new();
        buffer.put_slice(&[0x40, 2, 1, 2]);
        buffer.put_slice(&[0x40, 3, 1, 2, 0x95]);
        buffer.put_slice(&[0x50, 4, 0, 9, 0x10, 0]);
        buffer.put_slice(&[0x70, 2, 0, 9]);
        buffer.put_slice(&[0xd0, 0]);
        buffer.put_slice(&[0xe0, 1, 0x8e, 0x40]);
        let mut taken = Vec::new();
        while let Some(incoming) = take(&mut buffer).unwrap() {
            taken.push(incoming);
        }
        let expected = [
            Incoming::PubAck { id: 258, reason: 0 },
            Incoming::PubAck {
                id: 258,
                reason: 0x95,
            },
            Incoming::PubRec {
                id: 9,
                reason: 0x10,
            },
            Incoming::PubComp { id: 9, reason: 0 },
            Incoming::Pong,
            Incoming::Goodbye { reason: 0x8e },
        ];
        assert_eq!(taken, expected);
        assert_eq!(&buffer[..], [0x40], "the unfinished packet stays");
    }

    #[test]
    fn a_broker_says_its_limits_and_they_are_respected() {
        let mut mqtt = mqtt(MqttVersion::V5);
        // Receive maximum 20, maximum packet size 4096, no retained messages, maximum QoS 1.
        let connack = [0x20, 15, 0, 0, 12, 33, 0, 20, 39, 0, 0, 16, 0, 37, 0, 36, 1];
        let taken = |mqtt: &Mqtt| take_connack(&mut BytesMut::from(&connack[..]), mqtt);
        assert!(taken(&mqtt).unwrap_err().contains("set retain = false"));
        mqtt.retain = false;
        let limits = Limits {
            receive_max: 20,
            packet_bytes: 4096,
            keep_alive: None,
        };
        assert_eq!(taken(&mqtt), Ok(Some(limits)));
        mqtt.qos = Qos::ExactlyOnce;
        assert!(taken(&mqtt).unwrap_err().contains("set a lower `qos`"));
    }

    #[test]
    fn a_refused_connection_is_explained() {
        for (version, connack) in [
            (MqttVersion::V3, &[0x20, 2, 0, 4][..]),
            (MqttVersion::V5, &[0x20, 3, 0, 0x86, 0]),
        ] {
            let mut buffer = BytesMut::from(connack);
            let why = take_connack(&mut buffer, &mqtt(version)).unwrap_err();
            assert!(why.contains("the username or the password"), "{why}");
        }
    }

    #[test]
    fn a_packet_has_its_size_before_it_has_its_identifier() {
        for version in [MqttVersion::V3, MqttVersion::V5] {
            let text = "a\u{0}b";
            let spans = [("id", 0..text.len())];
            let record = record("central/x", Attributes::new(text, &spans));
            let mut publish = Publish::of(&record, &mqtt(version)).unwrap();
            let size = publish.size();
            publish.set_id(0xffff);
            let mut buffer = BytesMut::new();
            assert_eq!(publish.write(&mut buffer), Ok(size));
            assert_eq!(buffer.len(), size);
            assert!(buffer.ends_with(b"payload"));
            let replaced = buffer.windows(3).any(|window| window == b"a?b");
            assert_eq!(replaced, version == MqttVersion::V5);
        }
    }

    #[test]
    fn what_mqtt_cannot_express_is_refused() {
        let long = "x".repeat(65_536);
        let none = Attributes::new("", &[]);
        let why = Publish::of(&record(&long, none), &mqtt(MqttVersion::V3)).unwrap_err();
        assert!(why.contains("its topic is longer"), "{why}");
        let spans = [("subject", 0..long.len())];
        let subject = Attributes::new(&long, &spans);
        let why = Publish::of(&record("x", subject), &mqtt(MqttVersion::V5)).unwrap_err();
        assert!(why.contains("attribute `subject`"), "{why}");
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_broker_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for version in [MqttVersion::V3, MqttVersion::V5] {
                let _ = take_connack(&mut BytesMut::from(&bytes[..]), &mqtt(version));
            }
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take(&mut buffer) {}
        }
    }
}
