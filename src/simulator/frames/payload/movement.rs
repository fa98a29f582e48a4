//! Presence, location and geofences: where clients are.

use super::{Draw, bytes, hashed_mac, hex, metres, numbered, strength};
use crate::proto::location::{
    Algorithm, ErrorCode, MacAddress, MeasurementUnit, Record, StreamGeofenceNotify,
    StreamLocation, TargetDevType, ZoneEvent,
};
use crate::proto::presence::presence_client_state::ClientState;
use crate::proto::presence::presence_event::PresenceEventType;
use crate::proto::presence::{
    self, PaClientState, PaProximityEvent, PaRssiEvent, PresenceClientState, PresenceEvent,
    Proximity, Rssi,
};

pub(crate) fn presence(draw: &mut Draw<'_>) -> PresenceEvent {
    let event_type = draw.one_of(&[
        PresenceEventType::ClientState,
        PresenceEventType::Rssi,
        PresenceEventType::Proximity,
    ]);
    let mut event = PresenceEvent {
        timestamp: u64::from(draw.recently()) * 1000,
        customer_id: draw.site.customer_id.clone(),
        event: numbered("presence-"),
        event_type: event_type as i32,
        ..PresenceEvent::default()
    };
    let devices = 1 + draw.below(5);
    match event_type {
        PresenceEventType::ClientState => {
            event.pa_client_state = Some(PaClientState {
                presence_client_state: (0..devices).map(|_| client_state(draw)).collect(),
            });
        }
        PresenceEventType::Rssi => {
            event.pa_rssi_event = Some(PaRssiEvent {
                rssi: (0..devices).map(|_| rssi(draw)).collect(),
            });
        }
        PresenceEventType::Proximity => {
            event.pa_proximity_event = Some(PaProximityEvent {
                proximity: (0..devices).map(|_| proximity(draw)).collect(),
            });
        }
    }
    event
}

fn client_state(draw: &mut Draw<'_>) -> PresenceClientState {
    let states = [
        ClientState::Passerby,
        ClientState::Visitor,
        ClientState::Engaged,
    ];
    PresenceClientState {
        is_label: Some(draw.one_in(2)),
        label_id: Some(draw.counter()),
        label_category_id: Some(u64::from(draw.below(20))),
        state: Some(draw.one_of(&states) as i32),
        is_associated: Some(draw.one_in(2)),
    }
}

fn rssi(draw: &mut Draw<'_>) -> Rssi {
    let ap = draw.access_point();
    Rssi {
        sta_eth_mac: Some(ascii_mac(draw.client().mac)),
        radio_mac: Some(ascii_mac(ap.radio_mac(0))),
        rssi_val: Some(strength(draw)),
        noise_floor: Some(80 + draw.below(20)),
        associated: Some(draw.one_in(2)),
        is_ap: Some(false),
        age: Some(draw.below(60)),
        device_id: Some(ap.serial.clone()),
        ap_eth_mac: Some(ascii_mac(ap.mac)),
    }
}

fn proximity(draw: &mut Draw<'_>) -> Proximity {
    let ap = draw.access_point();
    Proximity {
        device_id: Some(ap.serial.clone()),
        sta_eth_mac: Some(ascii_mac(draw.client().mac)),
        radio_mac: Some(ascii_mac(ap.radio_mac(1))),
        rssi_val: Some(strength(draw)),
        noise_floor: Some(80 + draw.below(20)),
        associated: Some(draw.one_in(2)),
        ap_eth_mac: Some(ascii_mac(ap.mac)),
    }
}

pub(crate) fn location(draw: &mut Draw<'_>) -> StreamLocation {
    let algorithms = [
        Algorithm::Triangulation,
        Algorithm::ApPlacement,
        Algorithm::Estimation,
    ];
    StreamLocation {
        sta_location_x: Some(metres(draw)),
        sta_location_y: Some(metres(draw)),
        error_level: Some(draw.below(30)),
        hashed_sta_eth_mac: Some(hashed_mac(draw)),
        geofence_ids: (0..draw.below(3)).map(|_| draw.uuid()).collect(),
        loc_algorithm: Some(draw.one_of(&algorithms) as i32),
        longitude: Some(11.576 + f64::from(draw.below(1000)) / 1e6),
        latitude: Some(48.137 + f64::from(draw.below(1000)) / 1e6),
        altitude: Some(519.0),
        unit: Some(draw.one_of(&[MeasurementUnit::Meters, MeasurementUnit::Feet]) as i32),
        sta_eth_mac: raw_mac(draw.client().mac),
        campus_id_string: Some("Main Campus".to_owned()),
        building_id_string: Some("Gebäude 7".to_owned()),
        floor_id_string: Some(draw.uuid()),
        target_type: Some(TargetDevType::TargetTypeStation as i32),
        associated: Some(draw.one_in(2)),
        err_code: Some(ErrorCode::NoError as i32),
        records: (0..3).map(|_| record(draw)).collect(),
    }
}

fn record(draw: &mut Draw<'_>) -> Record {
    Record {
        timestamp: draw.recently(),
        radio_mac: raw_mac(draw.access_point().radio_mac(0)),
        rssi_val: strength(draw),
        channel: Some(draw.one_of(&[1, 6, 11, 36, 149])),
    }
}

pub(crate) fn geofence(draw: &mut Draw<'_>) -> StreamGeofenceNotify {
    StreamGeofenceNotify {
        geofence_event: Some(draw.one_of(&[ZoneEvent::ZoneIn, ZoneEvent::ZoneOut]) as i32),
        geofence_id: Some(bytes(draw.uuid().as_bytes())),
        geofence_name: Some("Kasse – checkout".to_owned()),
        sta_eth_mac: Some(raw_mac(draw.client().mac)),
        associated: Some(draw.one_in(2)),
        dwell_time: Some(draw.below(3600)),
        hashed_sta_eth_mac: Some(hashed_mac(draw)),
    }
}

fn ascii_mac(mac: [u8; 6]) -> presence::MacAddress {
    presence::MacAddress { addr: hex(mac) }
}

fn raw_mac(mac: [u8; 6]) -> MacAddress {
    MacAddress {
        addr: Some(bytes(&mac)),
    }
}
