//! Clients: their state, and where they are.

use std::net::Ipv6Addr;

use super::{Event, recently};
use crate::proto::network_monitoring::clients::v1::stream_client_message::ClientEvent;
use crate::proto::network_monitoring::clients::v1::{
    AuthType, ClientDetails, ClientState, ClientStats, ClientStatus, ClientType, CpdiInfo,
    StreamClientMessage,
};
use crate::proto::network_services::geofence::v1alpha1::stream_geofence_message::GeofenceEvent;
use crate::proto::network_services::geofence::v1alpha1::wifi_client_geofence::EventType;
use crate::proto::network_services::geofence::v1alpha1::{
    StreamGeofenceMessage, WifiClientGeofence,
};
use crate::proto::network_services::location::v1alpha1::stream_location_message::LocationEvent;
use crate::proto::network_services::location::v1alpha1::{
    AssetTagLocation, StreamLocationMessage, WifiClientLocation, ZoneEntry,
};
use crate::proto::network_services::location_analytics::v1alpha1::{
    ClientRssi, FirmwareVersion, RssiEvent,
};
use crate::simulator::frames::payload::{Draw, colons, hashed_mac, metres, numbered, strength};
use crate::simulator::frames::site::Client;

pub(crate) fn client(draw: &mut Draw<'_>) -> Event {
    let client = draw.client();
    let (kind, event) = if draw.one_in(2) {
        (
            "client-state",
            ClientEvent::ClientState(state(draw, client)),
        )
    } else {
        (
            "client-stats",
            ClientEvent::ClientStats(stats(draw, client)),
        )
    };
    let message = StreamClientMessage {
        client_event: Some(event),
    };
    let name = "network_monitoring.clients.v1.StreamClientMessage";
    Event::new(kind, name, &message)
}

fn state(draw: &mut Draw<'_>, client: &Client) -> ClientState {
    ClientState {
        client_details: Some(details(draw, client)),
        r#type: ClientType::Wireless as i32,
        radio_mac_address: colons(draw.access_point().radio_mac(0)),
        wlan_name: String::from_utf8_lossy(client.essid).into_owned(),
        wireless_band: "5 GHz".to_owned(),
        wireless_channel: draw.one_of(&["36", "52", "149"]).to_owned(),
        phy_type: "802.11ax".to_owned(),
        key_management: "SAE".to_owned(),
        wireless_security: "WPA3".to_owned(),
        snr: draw.below(60).cast_signed(),
    }
}

fn details(draw: &mut Draw<'_>, client: &Client) -> ClientDetails {
    let ap = draw.access_point();
    let statuses = [
        ClientStatus::Connected,
        ClientStatus::Disconnected,
        ClientStatus::Failed,
    ];
    let (ipv4, ipv6) = addresses(client);
    ClientDetails {
        mac_address: colons(client.mac),
        tenant_id: draw.site.customer_id.clone(),
        site_id: draw.uuid(),
        client_name: numbered(&format!("{}-", client.name)),
        status: draw.one_of(&statuses) as i32,
        connected_device_serial: ap.serial.clone(),
        host_name: client.name.clone(),
        user_name: client.user.clone(),
        authentication_type: AuthType::Dot1x as i32,
        ipv4,
        ipv6,
        device_name: ap.name.clone(),
        role: "employee".to_owned(),
        vlan_id: draw.below(4094) + 1,
        vlan_name: "Büro".to_owned(),
        port: "eth0".to_owned(),
        cpdi: Some(CpdiInfo {
            client_function: "Computer".to_owned(),
            client_vendor: client.maker.to_owned(),
            client_operating_system: client.os.to_owned(),
            client_mac_vendor: client.maker.to_owned(),
            client_category: "SmartDevice".to_owned(),
        }),
        connected_since: Some(recently(draw)),
        last_seen: Some(recently(draw)),
    }
}

/// One of the two is empty.
fn addresses(client: &Client) -> (String, String) {
    if let Ok(v6) = <[u8; 16]>::try_from(client.ip.as_slice()) {
        return (String::new(), Ipv6Addr::from(v6).to_string());
    }
    let v4: Vec<String> = client.ip.iter().map(u8::to_string).collect();
    (v4.join("."), String::new())
}

fn stats(draw: &mut Draw<'_>, client: &Client) -> ClientStats {
    ClientStats {
        tenant_id: draw.site.customer_id.clone(),
        site_id: draw.uuid(),
        mac_address: colons(client.mac),
        client_name: numbered(&format!("{}-", client.name)),
        timestamp: Some(recently(draw)),
        connected_device_serial: draw.access_point().serial.clone(),
        wlan_name: String::from_utf8_lossy(client.essid).into_owned(),
        tx_bytes: draw.counter(),
        rx_bytes: draw.counter(),
        tx_data_frames: draw.below(1_000_000),
        rx_data_frames: draw.below(1_000_000),
        tx_retry_frames: draw.below(1000),
        rx_retry_frames: draw.below(1000),
        speed: draw.below(1200),
        duplex: "full".to_owned(),
        snr: draw.below(60).cast_signed(),
        ..ClientStats::default()
    }
}

pub(crate) fn location(draw: &mut Draw<'_>) -> Event {
    let (kind, event) = if draw.one_in(6) {
        let tag = LocationEvent::AssetTagLocation(asset_tag(draw));
        ("asset-tag-location", tag)
    } else {
        let client = LocationEvent::WifiClientLocation(wifi_client(draw));
        ("wifi-client-location", client)
    };
    let message = StreamLocationMessage {
        location_event: Some(event),
    };
    let name = "network_services.location.v1alpha1.StreamLocationMessage";
    Event::new(kind, name, &message)
}

fn wifi_client(draw: &mut Draw<'_>) -> WifiClientLocation {
    WifiClientLocation {
        x: Some(metres(draw).into()),
        y: Some(metres(draw).into()),
        error_level: Some(f64::from(draw.below(30))),
        sta_eth_mac: Some(colons(draw.client().mac)),
        longitude: Some(11.576 + f64::from(draw.below(1000)) / 1e6),
        latitude: Some(48.137 + f64::from(draw.below(1000)) / 1e6),
        site_id: Some(draw.uuid()),
        building_id: Some(draw.uuid()),
        floor_id: Some(draw.numbered_uuid()),
        reporting_ap_serial: (0..3).map(|_| draw.access_point().serial.clone()).collect(),
        associated: Some(draw.one_in(2)),
        assoc_bssid: Some(colons(draw.access_point().radio_mac(0))),
        connected: Some(draw.one_in(2)),
        entered_zone_info: vec![zone(draw)],
    }
}

fn asset_tag(draw: &mut Draw<'_>) -> AssetTagLocation {
    AssetTagLocation {
        x: Some(metres(draw).into()),
        y: Some(metres(draw).into()),
        device_id: Some(draw.uuid()),
        device_mac: Some(colons(draw.client().mac)),
        site_id: Some(draw.uuid()),
        building_id: Some(draw.uuid()),
        floor_id: Some(draw.numbered_uuid()),
        battery_level: Some(f64::from(draw.below(1000)) / 10.0),
        name: Some("Infusionspumpe 7".to_owned()),
        label: vec!["Station 3".to_owned(), "rental".to_owned()],
        ..AssetTagLocation::default()
    }
}

fn zone(draw: &mut Draw<'_>) -> ZoneEntry {
    ZoneEntry {
        zone_id: Some(draw.uuid()),
        dwell_time_in_seconds: Some(draw.below(3600)),
    }
}

pub(crate) fn rssi(draw: &mut Draw<'_>) -> Event {
    let reading = client_rssi(draw);
    let mut event = RssiEvent {
        firmware_version: Some(FirmwareVersion::Client10xRssi as i32),
        ..RssiEvent::default()
    };
    let kind = if draw.one_in(2) {
        event.raw_rssi = Some(reading);
        "raw-rssi"
    } else {
        event.proximity_rssi = Some(reading);
        "proximity-rssi"
    };
    let name = "network_services.location_analytics.v1alpha1.RssiEvent";
    Event::new(kind, name, &event)
}

fn client_rssi(draw: &mut Draw<'_>) -> ClientRssi {
    let ap = draw.access_point();
    ClientRssi {
        client_mac: Some(colons(draw.client().mac)),
        ap_serial: Some(ap.serial.clone()),
        ap_mac: Some(colons(ap.mac)),
        radio_mac: Some(colons(ap.radio_mac(0))),
        rssi_val: Some(strength(draw)),
        associated: Some(draw.one_in(2)),
        assoc_bssid: Some(colons(ap.radio_mac(1))),
        age: Some(draw.below(60)),
        noise_floor: Some(80 + draw.below(20)),
        ap_ip: Some(ap.ip.map(|octet| octet.to_string()).join(".")),
        ap_name: Some(numbered(&format!("{}-", ap.name))),
    }
}

pub(crate) fn geofence(draw: &mut Draw<'_>) -> Event {
    let notice = WifiClientGeofence {
        zone_id: Some(draw.uuid()),
        event_type: Some(draw.one_of(&[EventType::Enter, EventType::Exit]) as i32),
        sta_eth_mac: Some(colons(draw.client().mac)),
        assoc_bssid: Some(colons(draw.access_point().radio_mac(0))),
        hashed_sta_eth_mac: Some(hashed_mac(draw)),
        dwell_time_in_seconds: Some(draw.below(3600)),
    };
    let message = StreamGeofenceMessage {
        geofence_event: Some(GeofenceEvent::WifiClientGeofence(notice)),
    };
    let name = "network_services.geofence.v1alpha1.StreamGeofenceMessage";
    Event::new("wifi-client-geofence", name, &message)
}
