//! The number that each frame carries: which field holds it, and how it is read back.

use bytes::Bytes;
use prost::Message as _;
use serde_json::Value;

use crate::proto::apprf::ApprfSession;
use crate::proto::audit::AuditMessage;
use crate::proto::cloudevents::v1::CloudEvent;
use crate::proto::location::{StreamGeofenceNotify, StreamLocation};
use crate::proto::monitoring::MonitoringInformation;
use crate::proto::presence::PresenceEvent;
use crate::proto::security::RapidsStreamingEvent;
use crate::proto::stream_message::MsgProto;

/// Is replaced by the number. Occurs nowhere else in a payload.
pub(crate) const PLACEHOLDER: &str = "<<sequence>>";

/// Twelve digits last for centuries at any rate that a machine reaches.
pub(crate) const DIGITS: usize = PLACEHOLDER.len();

/// The number of a simulated frame, from its payload as JSON, canonical or readable; `None` if it is
/// not a frame of the simulator.
#[must_use]
pub fn sequence_of(topic: &str, data: &Value) -> Option<u64> {
    fields(topic)
        .iter()
        .find_map(|field| data.pointer(field)?.as_str())
        .and_then(read)
}

/// The fields of a topic's payloads that hold the number: several if payloads are of several messages.
fn fields(topic: &str) -> &'static [&'static str] {
    match topic {
        "apprf" => &["/ap_name"],
        "audit" => &["/target"],
        // Both generations have a topic of this name.
        "location" => &[
            "/hashed_sta_eth_mac",
            "/wifi_client_location/floor_id",
            "/asset_tag_location/floor_id",
        ],
        "monitoring" => &["/aps/0/name"],
        "presence" => &["/event"],
        "security" => &["/rogue/0/rogue_name"],
        "audit-trail-events" => &["/destination_name"],
        "rssi-events" => &["/raw_rssi/ap_name", "/proximity_rssi/ap_name"],
        "geofence" => &["/wifi_client_geofence/hashed_sta_eth_mac"],
        "ap-events" => &["/serial_number"],
        "clients-events" => &[
            "/client_state/client_details/client_name",
            "/client_stats/client_name",
        ],
        "switch-events" => &[
            "/switch_state/site_name",
            "/interface_state/site_name",
            "/device_stats/site_name",
            "/interface_stats/site_name",
        ],
        "alert-events" => &["/summary"],
        _ => &[],
    }
}

/// The number of a simulated frame, from its bytes as they are on the socket; `None` if it is not a
/// frame of the simulator.
#[must_use]
pub fn sequence_of_frame(frame: &[u8]) -> Option<u64> {
    let Ok(envelope) = MsgProto::decode(frame) else {
        // In a CloudEvent the field number of the timestamp holds text.
        return read(&CloudEvent::decode(frame).ok()?.id);
    };
    let data = envelope.data;
    let text = match &*envelope.subject {
        "apprf" => ApprfSession::decode(data).ok()?.ap_name?,
        "audit" => AuditMessage::decode(data).ok()?.target,
        "location" => hashed_mac(data)?,
        "monitoring" => {
            let information = MonitoringInformation::decode(data).ok()?;
            information.aps.into_iter().next()?.name?
        }
        "presence" => PresenceEvent::decode(data).ok()?.event,
        "security" => {
            let event = RapidsStreamingEvent::decode(data).ok()?;
            event.rogue.into_iter().next()?.rogue_name?
        }
        _ => return None,
    };
    read(&text)
}

/// A simulated geofence notice does not parse as a location: its first field is no float.
fn hashed_mac(data: Bytes) -> Option<String> {
    match StreamLocation::decode(data.clone()) {
        Ok(location) => location.hashed_sta_eth_mac,
        Err(_) => StreamGeofenceNotify::decode(data).ok()?.hashed_sta_eth_mac,
    }
}

fn read(text: &str) -> Option<u64> {
    let digits = text.get(text.len().checked_sub(DIGITS)?..)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

pub(crate) fn write(mut sequence: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789"[(sequence % 10) as usize];
        sequence /= 10;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_reads_back() {
        let mut digits = [0; DIGITS];
        write(1_234_567, &mut digits);
        let name = format!("ap-{}", str::from_utf8(&digits).unwrap());
        let data = json!({"aps": [{"name": name}]});
        assert_eq!(sequence_of("monitoring", &data), Some(1_234_567));
    }

    #[test]
    fn other_payloads_have_no_number() {
        for data in [
            json!({}),
            json!({"event": "short"}),
            json!({"event": "+00000000001"}),
            json!({"event": "ééééééééééééé"}),
            json!({"event": 7}),
        ] {
            assert_eq!(sequence_of("presence", &data), None, "{data}");
        }
    }
}
