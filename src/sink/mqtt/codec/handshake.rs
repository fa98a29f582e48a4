//! CONNECT and CONNACK, with rumqttc's codec, and the broker's limits in the CONNACK.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::{PacketType, Protocol, v4};
use rumqttc::v5::mqttbytes::v5;
use rumqttc::{QoS as QosV4, v5::mqttbytes::QoS as QosV5};

use super::packet::{DISCONNECT, body, complete_packet};
use super::reason;
use crate::config::{Mqtt, MqttVersion, Qos};
use crate::sink::Failure;

/// What the status topic retains while the forwarder is connected, and after that.
pub(crate) const ONLINE: &str = "online";
const OFFLINE: &str = "offline";

/// A broker of 3.1.1 cannot say how many records may be in flight at `QoS` 2: Mosquitto 2.0 was seen to
/// reset the connection with some hundred. 20 is its default where it can say so, with MQTT 5.
const DEFAULT_RECEIVE_MAX: u16 = 20;

/// How long a broker of MQTT 5 remembers a session whose connection has ended.
const SESSION_EXPIRY: Duration = Duration::from_secs(3600);

/// What a broker allows, from its CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Records at `QoS` 1 and 2 that may be in flight.
    pub(crate) receive_max: u16,
    /// Bytes of a packet.
    pub(crate) packet_bytes: usize,
    /// Topics that may have an alias.
    pub(crate) topic_aliases: u16,
    pub(crate) max_qos: u8,
    /// Seconds; `None`: as the client asked for.
    pub(crate) keep_alive: Option<u16>,
}

/// Which session a connection begins with, and whether the broker keeps the session after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionStart {
    /// A new session, which ends with the connection.
    Clean,
    /// A new session, which the broker keeps. 3.1.1 cannot ask for that: there it is the same as `Resumed`.
    Fresh,
    /// The session of the last connection, which the broker keeps.
    Resumed,
}

/// A broker's answer to CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connack {
    /// Whether it remembers the session.
    pub(crate) is_resumed: bool,
    pub(crate) limits: Limits,
}

pub(crate) fn connect(
    mqtt: &Mqtt,
    keep_alive: u16,
    start: SessionStart,
) -> Result<BytesMut, String> {
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
            clean_session: start == SessionStart::Clean,
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
                clean_start: start != SessionStart::Resumed,
                properties: (start != SessionStart::Clean).then(|| v5::ConnectProperties {
                    session_expiry_interval: u32::try_from(SESSION_EXPIRY.as_secs()).ok(),
                    ..v5::ConnectProperties::new()
                }),
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

/// Takes the CONNACK off the buffer; `None`: it is not complete yet.
///
/// # Errors
/// The broker refuses the connection, or cannot serve this config.
pub(crate) fn take_connack(buffer: &mut BytesMut, mqtt: &Mqtt) -> Result<Option<Connack>, Failure> {
    let Some(header) = complete_packet(buffer)? else {
        return Ok(None);
    };
    if header.packet_type().ok() != Some(PacketType::ConnAck) {
        return Err("the broker answered CONNECT with another packet than CONNACK".into());
    }
    let is_resumed = match body(&buffer[..header.frame_length()]) {
        [flags, 0, ..] => flags & 1 == 1,
        [_, code, ..] => {
            return Err(reason::failure("the broker refused the connection", *code));
        }
        _ => return Err("the broker's CONNACK is malformed".into()),
    };
    let mut limits = Limits {
        receive_max: match (mqtt.version, mqtt.qos) {
            (MqttVersion::V3, Qos::ExactlyOnce) => DEFAULT_RECEIVE_MAX,
            _ => u16::MAX,
        },
        packet_bytes: mqtt.max_packet_size as usize,
        topic_aliases: 0,
        max_qos: Qos::ExactlyOnce as u8,
        keep_alive: None,
    };
    if mqtt.version == MqttVersion::V5 {
        let packet = v5::Packet::read(buffer, None)
            .map_err(|error| format!("the broker's CONNACK is malformed: {error}"))?;
        if let v5::Packet::ConnAck(connack) = packet
            && let Some(properties) = connack.properties
        {
            limits.apply(&properties, mqtt)?;
        }
    } else {
        let _ = buffer.split_to(header.frame_length());
    }
    Ok(Some(Connack { is_resumed, limits }))
}

impl Limits {
    /// # Errors
    /// The broker does not support what the config asks for.
    fn apply(&mut self, broker: &v5::ConnAckProperties, mqtt: &Mqtt) -> Result<(), Failure> {
        self.max_qos = broker.max_qos.unwrap_or(self.max_qos);
        if self.max_qos < mqtt.qos as u8 {
            return Err(reason::failure("the broker", 0x9b));
        }
        if broker.retain_available == Some(0) && (mqtt.retain || mqtt.status_topic.is_some()) {
            return Err(reason::failure("the broker", 0x9a));
        }
        self.receive_max = broker.receive_max.unwrap_or(self.receive_max).max(1);
        if let Some(bytes) = broker.max_packet_size {
            self.packet_bytes = self.packet_bytes.min(bytes as usize);
        }
        self.topic_aliases = broker.topic_alias_max.unwrap_or(0);
        self.keep_alive = broker.server_keep_alive;
        Ok(())
    }
}

/// The DISCONNECT that ends a session in good order; empty for none. With a status topic the broker is to
/// publish the last will: 3.1.1 has no DISCONNECT for that, so the connection is just closed.
pub(crate) fn disconnect(mqtt: &Mqtt) -> &'static [u8] {
    match (mqtt.version, &mqtt.status_topic) {
        (_, None) => &DISCONNECT,
        (MqttVersion::V5, Some(_)) => &[0xe0, 1, 0x04],
        (MqttVersion::V3, Some(_)) => &[],
    }
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
    use proptest::prelude::*;

    use super::super::publish::tests::mqtt;
    use super::*;
    use crate::sink::Cause;

    #[test]
    fn the_brokers_limits_are_respected() {
        let mut mqtt = mqtt(MqttVersion::V5);
        // Receive maximum 20, maximum packet size 4096, topic alias maximum 10, no retained
        // messages, maximum QoS 1.
        let connack = [
            0x20, 18, 0, 0, 15, 33, 0, 20, 39, 0, 0, 16, 0, 34, 0, 10, 37, 0, 36, 1,
        ];
        let taken = |mqtt: &Mqtt| take_connack(&mut BytesMut::from(&connack[..]), mqtt);
        assert!(taken(&mqtt).unwrap_err().why.contains("set retain = false"));
        mqtt.retain = false;
        let limits = Limits {
            receive_max: 20,
            packet_bytes: 4096,
            topic_aliases: 10,
            max_qos: 1,
            keep_alive: None,
        };
        let is_resumed = false;
        assert_eq!(taken(&mqtt), Ok(Some(Connack { is_resumed, limits })));
        mqtt.qos = Qos::ExactlyOnce;
        assert!(taken(&mqtt).unwrap_err().why.contains("set a lower `qos`"));
    }

    #[test]
    fn a_refused_connection_is_explained() {
        for (version, connack) in [
            (MqttVersion::V3, &[0x20, 2, 0, 4][..]),
            (MqttVersion::V5, &[0x20, 3, 0, 0x86, 0]),
        ] {
            let mut buffer = BytesMut::from(connack);
            let failure = take_connack(&mut buffer, &mqtt(version)).unwrap_err();
            assert!(
                failure.why.contains("the username or the password"),
                "{failure}"
            );
            assert_eq!(failure.cause, Cause::Unauthorized);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_broker_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for version in [MqttVersion::V3, MqttVersion::V5] {
                let _ = take_connack(&mut BytesMut::from(&bytes[..]), &mqtt(version));
            }
        }
    }
}
