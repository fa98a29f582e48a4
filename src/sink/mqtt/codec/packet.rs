//! The packets that a broker sends to a publisher, and the short answers to them.
//!
//! rumqttc's codec does not serve here: it rejects reason codes that its tables lack, such as Mosquitto's
//! "packet too large", and takes a DISCONNECT without properties for an incomplete packet.

use bytes::BytesMut;
use rumqttc::mqttbytes::{self, FixedHeader, PacketType};

/// A client that does not subscribe never receives larger packets.
const MAX_INCOMING_BYTES: usize = 64 * 1024;

pub(crate) const PINGREQ: [u8; 2] = [0xc0, 0];

/// Ends a connection in good order: the broker discards the last will.
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// `QoS` 1: the broker has the record, or refuses it.
    PubAck {
        id: u16,
        reason: u8,
    },
    /// `QoS` 2: the same. The broker waits for a PUBREL before it passes the record on.
    PubRec {
        id: u16,
        reason: u8,
    },
    /// `QoS` 2: the broker has passed the record on.
    PubComp {
        id: u16,
        reason: u8,
    },
    PingResponse,
    Disconnect {
        reason: u8,
    },
}

/// Takes the next complete packet off the buffer; `None`: there is none yet.
///
/// # Errors
/// The packet is malformed, or not one that a publisher receives.
pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Incoming>, String> {
    let Some(header) = complete_packet(buffer)? else {
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
        Ok(PacketType::PingResp) => Ok(Incoming::PingResponse),
        Ok(PacketType::Disconnect) => Ok(Incoming::Disconnect {
            reason: body.first().copied().unwrap_or(0),
        }),
        other => Err(format!("the broker sent an unexpected packet: {other:?}")),
    };
    incoming.map(Some)
}

/// The header of the first packet in the buffer; `None`: the packet is not complete yet.
pub(crate) fn complete_packet(buffer: &BytesMut) -> Result<Option<FixedHeader>, String> {
    match mqttbytes::check(buffer.iter(), MAX_INCOMING_BYTES) {
        Ok(header) => Ok(Some(header)),
        Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
        Err(error) => Err(format!("the broker sent a malformed packet: {error}")),
    }
}

/// What follows the packet's type and its length. Each byte of the length but the last has its high bit
/// set.
pub(crate) fn body(packet: &[u8]) -> &[u8] {
    let more = packet.iter().skip(1).take_while(|byte| **byte >= 0x80);
    let start = 2 + more.count();
    packet.get(start..).unwrap_or_default()
}

/// The PUBREL that answers a PUBREC: the same bytes in both versions.
pub(crate) fn pubrel(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x62, 2, high, low]
}

#[cfg(test)]
mod tests {
    use bytes::BufMut as _;
    use proptest::prelude::*;

    use super::*;

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
            Incoming::PingResponse,
            Incoming::Disconnect { reason: 0x8e },
        ];
        assert_eq!(taken, expected);
        assert_eq!(&buffer[..], [0x40], "the incomplete packet stays");
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_broker_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take(&mut buffer) {}
        }
    }
}
