//! Records as PUBLISH packets, each written once and in one piece.
//!
//! rumqttc's packets would need an owned string for each attribute's name and value: twenty allocations a
//! record.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;

use bytes::BufMut as _;

use super::handshake::{Limits, ONLINE};
use crate::config::is_carried;
use crate::config::{Mqtt, MqttVersion, Qos};
use crate::sink::{Cause, Failure, Record};

/// The longest text: its length is two bytes.
const MAX_TEXT_BYTES: usize = 65_535;

/// The largest remaining length of a packet.
const MAX_REMAINING_BYTES: usize = 268_435_455;

/// The flag in a packet's first byte that says that the broker may have it already.
const DUP: u8 = 0x08;

/// Identifiers of the properties of MQTT 5.
const MESSAGE_EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const TOPIC_ALIAS: u8 = 0x23;
const USER_PROPERTY: u8 = 0x26;

/// A PUBLISH whose identifier is set when it is sent.
#[derive(Debug)]
pub(crate) struct PublishPacket {
    bytes: Vec<u8>,
    /// Where its identifier belongs; `None` at `QoS` 0, where nothing is acknowledged.
    id_at: Option<usize>,
}

impl PublishPacket {
    /// The retained status that the forwarder is connected.
    pub(crate) fn online(topic: &str, mqtt: &Mqtt) -> Self {
        let properties: &[u8] = match mqtt.version {
            MqttVersion::V3 => &[],
            MqttVersion::V5 => &[0],
        };
        assemble(mqtt.qos, true, topic, properties, ONLINE.as_bytes())
    }

    /// A packet at `QoS` 2 for the probe, which never releases it; it expires after a second.
    pub(crate) fn probe(topic: &str) -> Self {
        const EXPIRY: [u8; 6] = [5, MESSAGE_EXPIRY, 0, 0, 0, 1];
        assemble(Qos::ExactlyOnce, false, topic, &EXPIRY, &[])
    }

    pub(crate) fn has_acknowledgement(&self) -> bool {
        self.id_at.is_some()
    }

    /// The whole packet, with this identifier unless it is at `QoS` 0.
    pub(crate) fn with_id(&mut self, id: u16) -> &[u8] {
        if let Some(at) = self.id_at {
            self.bytes[at..at + 2].copy_from_slice(&id.to_be_bytes());
        }
        &self.bytes
    }

    /// The same, for a broker that may have it already with this identifier.
    pub(crate) fn duplicate_with_id(&mut self, id: u16) -> &[u8] {
        self.bytes[0] |= DUP;
        self.with_id(id)
    }
}

/// Writes the packets of one connection.
#[derive(Debug)]
pub(crate) struct Encoder {
    version: MqttVersion,
    qos: Qos,
    retain: bool,
    /// Seconds.
    message_expiry: Option<u32>,
    packet_bytes: usize,
    aliases: Aliases,
    /// The properties of the packet that is written; a buffer that is used again.
    properties: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(mqtt: &Mqtt, limits: &Limits) -> Self {
        Self {
            version: mqtt.version,
            qos: mqtt.qos,
            retain: mqtt.retain,
            message_expiry: mqtt.message_expiry,
            packet_bytes: limits.packet_bytes,
            aliases: Aliases::new(match mqtt.qos {
                // Packets may be sent again on another connection, which knows no aliases.
                Qos::ExactlyOnce => 0,
                Qos::AtMostOnce | Qos::AtLeastOnce => limits.topic_aliases,
            }),
            properties: Vec::new(),
        }
    }

    /// Packets have to be sent in the order in which they are written: the first one of a topic tells the
    /// broker the alias that the others have.
    ///
    /// # Errors
    /// Why this record cannot be sent to the broker.
    pub(crate) fn packet(&mut self, record: &Record<'_>) -> Result<PublishPacket, Failure> {
        let topic = record.destination;
        if topic.len() > MAX_TEXT_BYTES {
            let why = format!("its topic is longer than {MAX_TEXT_BYTES} bytes, the limit of MQTT");
            return Err(Failure::new(Cause::Invalid, why));
        }
        let alias = self.aliases.find(topic);
        self.properties.clear();
        if self.version == MqttVersion::V5 {
            self.write_properties(record, alias)
                .map_err(|why| Failure::new(Cause::Invalid, why))?;
        }
        let sent_topic = if let Some(Alias::Known(_)) = alias {
            ""
        } else {
            topic
        };
        let size = size(
            self.qos,
            sent_topic,
            self.properties.len(),
            record.payload.len(),
        );
        let limit = self.packet_bytes;
        if size > limit {
            let why = format!("its packet of {size} bytes is over the limit of {limit}");
            return Err(Failure::new(Cause::TooLarge, why));
        }
        if let Some(Alias::New(_)) = alias {
            self.aliases.insert(topic);
        }
        let properties = &self.properties;
        Ok(assemble(
            self.qos,
            self.retain,
            sent_topic,
            properties,
            record.payload,
        ))
    }

    /// Writes the properties, after their length.
    fn write_properties(
        &mut self,
        record: &Record<'_>,
        alias: Option<Alias>,
    ) -> Result<(), String> {
        let to = &mut self.properties;
        let mut length = 1 + 2 + record.content_type.len();
        length += self.message_expiry.map_or(0, |_| 1 + 4);
        length += alias.map_or(0, |_| 1 + 2);
        for (name, value) in record.attributes.iter() {
            if value.len() > MAX_TEXT_BYTES {
                return Err(format!(
                    "its attribute `{name}` is longer than {MAX_TEXT_BYTES} bytes, the limit of MQTT"
                ));
            }
            length += 1 + 2 + name.len() + 2 + carried_bytes(value);
        }
        put_length(to, length);
        if let Some(seconds) = self.message_expiry {
            to.put_u8(MESSAGE_EXPIRY);
            to.put_u32(seconds);
        }
        if let Some(Alias::New(number) | Alias::Known(number)) = alias {
            to.put_u8(TOPIC_ALIAS);
            to.put_u16(number);
        }
        to.put_u8(CONTENT_TYPE);
        put_text(to, record.content_type);
        for (name, value) in record.attributes.iter() {
            to.put_u8(USER_PROPERTY);
            put_text(to, name);
            put_carried(to, value);
        }
        Ok(())
    }
}

/// The topic aliases of this connection: topics get one in the order in which they come, until there are
/// no more.
#[derive(Debug)]
struct Aliases {
    numbers: HashMap<String, u16>,
    max: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alias {
    /// The packet tells it to the broker.
    New(u16),
    Known(u16),
}

impl Aliases {
    fn new(max: u16) -> Self {
        Self {
            numbers: HashMap::new(),
            max,
        }
    }

    fn find(&self, topic: &str) -> Option<Alias> {
        if let Some(number) = self.numbers.get(topic) {
            return Some(Alias::Known(*number));
        }
        let next = u16::try_from(self.numbers.len() + 1).ok();
        next.filter(|next| *next <= self.max).map(Alias::New)
    }

    fn insert(&mut self, topic: &str) {
        if let Some(Alias::New(number)) = self.find(topic) {
            self.numbers.insert(topic.to_owned(), number);
        }
    }
}

/// The bytes before a payload, without the packet's type and length.
fn head_bytes(qos: Qos, topic: &str, properties: usize) -> usize {
    let id = if qos == Qos::AtMostOnce { 0 } else { 2 };
    2 + topic.len() + id + properties
}

fn size(qos: Qos, topic: &str, properties: usize, payload: usize) -> usize {
    let remaining = head_bytes(qos, topic, properties) + payload;
    1 + length_bytes(remaining) + remaining
}

fn assemble(
    qos: Qos,
    retain: bool,
    topic: &str,
    properties: &[u8],
    payload: &[u8],
) -> PublishPacket {
    let remaining = head_bytes(qos, topic, properties.len()) + payload.len();
    let mut bytes = Vec::with_capacity(1 + length_bytes(remaining) + remaining);
    bytes.put_u8(0x30 | ((qos as u8) << 1) | u8::from(retain));
    put_length(&mut bytes, remaining);
    put_text(&mut bytes, topic);
    let id_at = (qos != Qos::AtMostOnce).then_some(bytes.len());
    if id_at.is_some() {
        bytes.put_u16(0);
    }
    bytes.extend_from_slice(properties);
    bytes.extend_from_slice(payload);
    PublishPacket { bytes, id_at }
}

/// Bytes of a length: seven bits each.
fn length_bytes(length: usize) -> usize {
    match length {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x0020_0000 => 3,
        _ => 4,
    }
}

fn put_length(to: &mut Vec<u8>, mut length: usize) {
    debug_assert!(
        length <= MAX_REMAINING_BYTES,
        "the packet's limit is checked"
    );
    while length >= 0x80 {
        to.put_u8(low_byte(length) | 0x80);
        length >>= 7;
    }
    to.put_u8(low_byte(length));
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits are asked for")]
fn low_byte(length: usize) -> u8 {
    (length & 0x7f) as u8
}

/// Its length has been checked.
fn put_text(to: &mut Vec<u8>, text: &str) {
    to.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    to.extend_from_slice(text.as_bytes());
}

/// A broker closes the connection over a character that MQTT does not allow. It becomes `?`: attributes
/// only repeat what the payload says.
fn put_carried(to: &mut Vec<u8>, value: &str) {
    if value.chars().all(is_carried) {
        return put_text(to, value);
    }
    to.put_u16(u16::try_from(carried_bytes(value)).unwrap_or(u16::MAX));
    for character in value.chars() {
        let carried = if is_carried(character) {
            character
        } else {
            '?'
        };
        to.extend_from_slice(carried.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn carried_bytes(value: &str) -> usize {
    let not_carried = value.chars().filter(|character| !is_carried(*character));
    value.len() - not_carried.map(|c| c.len_utf8() - 1).sum::<usize>()
}
