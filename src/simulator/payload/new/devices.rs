//! Access points and switches.

use super::{Event, recently, recently_in_text};
use crate::proto::network_monitoring::ap::v1alpha1::{
    ApInfo, ApMode, ApOpMode, ApRole, ApSystemStat, EventOperation, PortInfo, PortMaxSpeed,
    PortType, RadioBand, RadioInfo, RadioMode, RadioStat, Status, UplinkType, VapInfo, VapStat,
};
use crate::proto::network_monitoring::switch::v1::stream_switch_message::SwitchEvent;
use crate::proto::network_monitoring::switch::v1::{self as switch, StreamSwitchMessage};
use crate::simulator::payload::{Draw, colons, numbered};
use crate::simulator::site::{AccessPoint, ESSIDS};

/// The package of the messages, and the short form that has been seen in its place.
const PACKAGE: &str = "network_monitoring.ap.v1alpha1";
const SHORT_PACKAGE: &str = "ap";

/// Any message of the package: there is no message around them.
pub(super) fn access_point(draw: &mut Draw<'_>) -> Event {
    let ap = draw.access_point();
    let package = if draw.one_in(4) {
        SHORT_PACKAGE
    } else {
        PACKAGE
    };
    let name = |message| format!("{package}.{message}");
    match draw.below(7) {
        0 => Event::new("ap-info", &name("APInfo"), &ap_info(draw, ap)),
        1 => Event::new("radio-info", &name("RadioInfo"), &radio_info(draw, ap)),
        2 => Event::new("vap-info", &name("VapInfo"), &vap_info(draw, ap)),
        3 => Event::new("port-info", &name("PortInfo"), &port_info(draw, ap)),
        4 => Event::new("radio-stat", &name("RadioStat"), &radio_stat(draw, ap)),
        5 => Event::new("vap-stat", &name("VapStat"), &vap_stat(draw, ap)),
        _ => Event::new(
            "ap-system-stat",
            &name("APSystemStat"),
            &system_stat(draw, ap),
        ),
    }
}

/// What all messages of access points have, so that it carries the number.
fn serial(ap: &AccessPoint) -> String {
    numbered(&format!("{}-", ap.serial))
}

fn essid(draw: &mut Draw<'_>) -> String {
    String::from_utf8_lossy(draw.one_of(&ESSIDS)).into_owned()
}

fn band(draw: &mut Draw<'_>) -> i32 {
    let bands = [
        RadioBand::RadioBand24ghz,
        RadioBand::RadioBand5ghz,
        RadioBand::RadioBand6ghz,
    ];
    draw.one_of(&bands) as i32
}

fn ap_info(draw: &mut Draw<'_>, ap: &AccessPoint) -> ApInfo {
    ApInfo {
        operation: Some(EventOperation::Update as i32),
        timestamp: Some(recently_in_text(draw)),
        tenant_id: Some(draw.site.customer_id.clone()),
        serial_number: Some(serial(ap)),
        mac_address: Some(colons(ap.mac)),
        device_name: Some(ap.name.clone()),
        model: Some(ap.model.to_owned()),
        ip_v4: Some(ap.ip.map(|octet| octet.to_string()).join(".")),
        public_ip: Some("203.0.113.9".to_owned()),
        uptime: Some(draw.below(10_000_000)),
        mode: Some(ApMode::Access as i32),
        status: Some(!draw.one_in(10)),
        operating_mode: Some(ApOpMode::default() as i32),
        elected_role: Some(ApRole::Member as i32),
        current_uplink_inuse: Some(UplinkType::Eth as i32),
        firmware_version: Some("10.7.1.0_91234".to_owned()),
        country_code: Some("DE".to_owned()),
        ..ApInfo::default()
    }
}

fn radio_info(draw: &mut Draw<'_>, ap: &AccessPoint) -> RadioInfo {
    RadioInfo {
        operation: Some(EventOperation::Update as i32),
        timestamp: Some(recently_in_text(draw)),
        tenant_id: Some(draw.site.customer_id.clone()),
        serial_number: Some(serial(ap)),
        mac_address: Some(colons(ap.mac)),
        radio_mac_address: Some(colons(ap.radio_mac(0))),
        channel: Some(draw.one_of(&["36E", "52", "149E"]).to_owned()),
        transmit_power: Some(draw.below(30).cast_signed()),
        radio_number: Some(0),
        band: Some(band(draw)),
        mode: Some(RadioMode::ClientAccess as i32),
        status: Some(Status::Up as i32),
        ..RadioInfo::default()
    }
}

fn vap_info(draw: &mut Draw<'_>, ap: &AccessPoint) -> VapInfo {
    VapInfo {
        operation: Some(EventOperation::Add as i32),
        timestamp: Some(recently_in_text(draw)),
        tenant_id: Some(draw.site.customer_id.clone()),
        serial_number: Some(serial(ap)),
        mac_address: Some(colons(ap.mac)),
        radio_mac_address: Some(colons(ap.radio_mac(0))),
        bssid: Some(colons(ap.radio_mac(1))),
        essid: Some(essid(draw)),
    }
}

fn port_info(draw: &mut Draw<'_>, ap: &AccessPoint) -> PortInfo {
    PortInfo {
        operation: Some(EventOperation::Update as i32),
        timestamp: Some(recently_in_text(draw)),
        tenant_id: Some(draw.site.customer_id.clone()),
        serial_number: Some(serial(ap)),
        mac_address: Some(colons(ap.mac)),
        port_index: Some(0),
        port_name: Some("eth0".to_owned()),
        status: Some(Status::Up as i32),
        admin_state: Some(true),
        operate_state: Some(!draw.one_in(10)),
        r#type: Some(PortType::Gig as i32),
        speed: Some(PortMaxSpeed::PortMaxSpeed1000 as i32),
        native_vlan: Some(draw.below(4094) + 1),
        allowed_vlan: Some("1-4094".to_owned()),
        is_uplink: Some(true),
        ..PortInfo::default()
    }
}

fn radio_stat(draw: &mut Draw<'_>, ap: &AccessPoint) -> RadioStat {
    RadioStat {
        timestamp: Some(recently_in_text(draw)),
        tenant_id: Some(draw.site.customer_id.clone()),
        serial_number: Some(serial(ap)),
        mac_address: Some(colons(ap.mac)),
        radio_mac_address: Some(colons(ap.radio_mac(0))),
        band: Some(band(draw)),
        tx_bytes: Some(draw.counter()),
        rx_bytes: Some(draw.counter()),
        noise_floor: Some(-80 - draw.below(20).cast_signed()),
        channel_quality: Some(draw.below(100)),
        total_utilization: Some(draw.below(100)),
        total_frame_retries: Some(draw.counter()),
        frame_retries: Some(12.5),
        total_frame_drops: Some(draw.counter()),
        frame_drops: Some(0.25),
        ..RadioStat::default()
    }
}

fn vap_stat(draw: &mut Draw<'_>, ap: &AccessPoint) -> VapStat {
    VapStat {
        timestamp: Some(recently_in_text(draw)),
        tenant_id: Some(draw.site.customer_id.clone()),
        serial_number: Some(serial(ap)),
        mac_address: Some(colons(ap.mac)),
        radio_mac_address: Some(colons(ap.radio_mac(0))),
        bssid: Some(colons(ap.radio_mac(1))),
        essid: Some(essid(draw)),
        tx_bytes: Some(draw.counter()),
        rx_bytes: Some(draw.counter()),
    }
}

fn system_stat(draw: &mut Draw<'_>, ap: &AccessPoint) -> ApSystemStat {
    ApSystemStat {
        timestamp: Some(recently_in_text(draw)),
        tenant_id: Some(draw.site.customer_id.clone()),
        serial_number: Some(serial(ap)),
        mac_address: Some(colons(ap.mac)),
        cpu_utilization: Some(17.5),
        memory_utilization: Some(41.25),
        power_consumption: Some(f64::from(draw.below(25_000)) / 1000.0),
    }
}

pub(super) fn switch(draw: &mut Draw<'_>) -> Event {
    let (kind, event) = match draw.below(4) {
        0 => ("switch-state", SwitchEvent::SwitchState(state(draw))),
        1 => (
            "interface-state",
            SwitchEvent::InterfaceState(interface(draw)),
        ),
        2 => ("device-stats", SwitchEvent::DeviceStats(device_stats(draw))),
        _ => (
            "interface-stats",
            SwitchEvent::InterfaceStats(interface_stats(draw)),
        ),
    };
    let message = StreamSwitchMessage {
        switch_event: Some(event),
    };
    let name = "network_monitoring.switch.v1.StreamSwitchMessage";
    Event::new(kind, name, &message)
}

fn switch_serial(draw: &mut Draw<'_>) -> String {
    draw.access_point().serial.replacen("CN", "SG", 1)
}

/// What all messages of switches have, so that it carries the number.
fn site_name() -> String {
    numbered("Filiale Süd ")
}

fn state(draw: &mut Draw<'_>) -> switch::Switch {
    switch::Switch {
        operation: Some(switch::EventOperation::Update as i32),
        timestamp: Some(recently(draw)),
        tenant_id: Some(draw.site.customer_id.clone()),
        serial_number: Some(switch_serial(draw)),
        site_name: Some(site_name()),
        uptime_in_millis: Some(draw.counter()),
        device_name: Some("sw-büro-01".to_owned()),
        firmware_version: Some("FL.10.13.1010".to_owned()),
        mac_address: Some(colons(draw.access_point().mac)),
        model: Some("6300M".to_owned()),
        status: Some(switch::Status::Up as i32),
        ipv4: Some("10.20.0.2".to_owned()),
        default_gateway: Some("10.20.0.1".to_owned()),
        power_supplies: (1..=2)
            .map(|index| switch::switch::PowerSupply {
                index: Some(index),
                status: Some(3),
            })
            .collect(),
        ..switch::Switch::default()
    }
}

fn interface(draw: &mut Draw<'_>) -> switch::Interface {
    switch::Interface {
        operation: Some(switch::EventOperation::Update as i32),
        timestamp: Some(recently(draw)),
        tenant_id: Some(draw.site.customer_id.clone()),
        serial_number: Some(switch_serial(draw)),
        site_name: Some(site_name()),
        name: Some(format!("1/1/{}", 1 + draw.below(48))),
        status: Some(switch::Status::Up as i32),
        allowed_vlan: vec![1, 10, 20, 4094],
        native_vlan: Some(1),
        vsx_enabled: Some(false),
        ..switch::Interface::default()
    }
}

fn device_stats(draw: &mut Draw<'_>) -> switch::DeviceStats {
    switch::DeviceStats {
        timestamp: Some(recently(draw)),
        tenant_id: Some(draw.site.customer_id.clone()),
        serial_number: Some(switch_serial(draw)),
        site_name: Some(site_name()),
        cpu_utilization: Some(draw.below(100)),
        mem_total: Some(8 << 30),
        mem_free: Some(u64::from(draw.below(u32::MAX))),
        temperature: Some(30 + draw.below(40)),
        fan_status: Some(switch::Status::Up as i32),
        uptime: Some(draw.counter()),
        ..switch::DeviceStats::default()
    }
}

fn interface_stats(draw: &mut Draw<'_>) -> switch::InterfaceStats {
    switch::InterfaceStats {
        timestamp: Some(recently(draw)),
        tenant_id: Some(draw.site.customer_id.clone()),
        serial_number: Some(switch_serial(draw)),
        site_name: Some(site_name()),
        tx_bytes: Some(draw.counter()),
        rx_bytes: Some(draw.counter()),
        in_packets: Some(draw.counter()),
        out_packets: Some(draw.counter()),
        in_errors: Some(u64::from(draw.below(10))),
        port_name: Some(format!("1/1/{}", 1 + draw.below(48))),
        ..switch::InterfaceStats::default()
    }
}
