//! Access points and switches.
#![expect(
    clippy::needless_update,
    reason = "some messages have no more fields than are given"
)]

use super::{Event, recently, recently_in_text};
use crate::proto::network_monitoring::ap::v1alpha1::{
    ApInfo, ApMode, ApOpMode, ApRole, ApSystemStat, EventOperation, PortInfo, PortMaxSpeed,
    PortType, RadioBand, RadioInfo, RadioMode, RadioStat, Status, UplinkType, VapInfo, VapStat,
};
use crate::proto::network_monitoring::switch::v1::stream_switch_message::SwitchEvent;
use crate::proto::network_monitoring::switch::v1::{self as switch, StreamSwitchMessage};
use crate::simulator::frames::payload::{Draw, colons, numbered};
use crate::simulator::frames::site::{AccessPoint, ESSIDS};

/// The package of the messages, and the short form that has been seen in its place.
const PACKAGE: &str = "network_monitoring.ap.v1alpha1";
const SHORT_PACKAGE: &str = "ap";

/// A message of an access point: what all of them have, and the rest.
macro_rules! of_access_point {
    ($message:ident, $draw:ident, $ap:ident, { $($field:ident: $value:expr,)* }) => {
        $message {
            timestamp: Some(recently_in_text($draw)),
            tenant_id: Some($draw.site.customer_id.clone()),
            serial_number: Some(serial($ap)),
            mac_address: Some(colons($ap.mac)),
            $($field: Some($value),)*
            ..$message::default()
        }
    };
}

/// The same for a switch.
macro_rules! of_switch {
    ($message:ident, $draw:ident, { $($field:ident: $value:expr,)* }) => {
        switch::$message {
            timestamp: Some(recently($draw)),
            tenant_id: Some($draw.site.customer_id.clone()),
            serial_number: Some(switch_serial($draw)),
            site_name: Some(site_name()),
            $($field: Some($value),)*
            ..switch::$message::default()
        }
    };
}

/// Any message of the package: there is no message around them.
pub(crate) fn access_point(draw: &mut Draw<'_>) -> Event {
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
    of_access_point!(ApInfo, draw, ap, {
        operation: EventOperation::Update as i32,
        device_name: ap.name.clone(),
        model: ap.model.to_owned(),
        ip_v4: ap.ip.map(|octet| octet.to_string()).join("."),
        public_ip: "203.0.113.9".to_owned(),
        uptime: draw.below(10_000_000),
        mode: ApMode::Access as i32,
        status: !draw.one_in(10),
        operating_mode: ApOpMode::default() as i32,
        elected_role: ApRole::Member as i32,
        current_uplink_inuse: UplinkType::Eth as i32,
        firmware_version: "10.7.1.0_91234".to_owned(),
        country_code: "DE".to_owned(),
    })
}

fn radio_info(draw: &mut Draw<'_>, ap: &AccessPoint) -> RadioInfo {
    of_access_point!(RadioInfo, draw, ap, {
        operation: EventOperation::Update as i32,
        radio_mac_address: colons(ap.radio_mac(0)),
        channel: draw.one_of(&["36E", "52", "149E"]).to_owned(),
        transmit_power: draw.below(30).cast_signed(),
        radio_number: 0,
        band: band(draw),
        mode: RadioMode::ClientAccess as i32,
        status: Status::Up as i32,
    })
}

fn vap_info(draw: &mut Draw<'_>, ap: &AccessPoint) -> VapInfo {
    of_access_point!(VapInfo, draw, ap, {
        operation: EventOperation::Add as i32,
        radio_mac_address: colons(ap.radio_mac(0)),
        bssid: colons(ap.radio_mac(1)),
        essid: essid(draw),
    })
}

fn port_info(draw: &mut Draw<'_>, ap: &AccessPoint) -> PortInfo {
    of_access_point!(PortInfo, draw, ap, {
        operation: EventOperation::Update as i32,
        port_index: 0,
        port_name: "eth0".to_owned(),
        status: Status::Up as i32,
        admin_state: true,
        operate_state: !draw.one_in(10),
        r#type: PortType::Gig as i32,
        speed: PortMaxSpeed::PortMaxSpeed1000 as i32,
        native_vlan: draw.below(4094) + 1,
        allowed_vlan: "1-4094".to_owned(),
        is_uplink: true,
    })
}

fn radio_stat(draw: &mut Draw<'_>, ap: &AccessPoint) -> RadioStat {
    of_access_point!(RadioStat, draw, ap, {
        radio_mac_address: colons(ap.radio_mac(0)),
        band: band(draw),
        tx_bytes: draw.counter(),
        rx_bytes: draw.counter(),
        noise_floor: -80 - draw.below(20).cast_signed(),
        channel_quality: draw.below(100),
        total_utilization: draw.below(100),
        total_frame_retries: draw.counter(),
        frame_retries: 12.5,
        total_frame_drops: draw.counter(),
        frame_drops: 0.25,
    })
}

fn vap_stat(draw: &mut Draw<'_>, ap: &AccessPoint) -> VapStat {
    of_access_point!(VapStat, draw, ap, {
        radio_mac_address: colons(ap.radio_mac(0)),
        bssid: colons(ap.radio_mac(1)),
        essid: essid(draw),
        tx_bytes: draw.counter(),
        rx_bytes: draw.counter(),
    })
}

fn system_stat(draw: &mut Draw<'_>, ap: &AccessPoint) -> ApSystemStat {
    of_access_point!(ApSystemStat, draw, ap, {
        cpu_utilization: 17.5,
        memory_utilization: 41.25,
        power_consumption: f64::from(draw.below(25_000)) / 1000.0,
    })
}

pub(crate) fn switch(draw: &mut Draw<'_>) -> Event {
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
        power_supplies: (1..=2)
            .map(|index| switch::switch::PowerSupply {
                index: Some(index),
                status: Some(3),
            })
            .collect(),
        ..of_switch!(Switch, draw, {
            operation: switch::EventOperation::Update as i32,
            uptime_in_millis: draw.counter(),
            device_name: "sw-büro-01".to_owned(),
            firmware_version: "FL.10.13.1010".to_owned(),
            mac_address: colons(draw.access_point().mac),
            model: "6300M".to_owned(),
            status: switch::Status::Up as i32,
            ipv4: "10.20.0.2".to_owned(),
            default_gateway: "10.20.0.1".to_owned(),
        })
    }
}

fn interface(draw: &mut Draw<'_>) -> switch::Interface {
    switch::Interface {
        allowed_vlan: vec![1, 10, 20, 4094],
        ..of_switch!(Interface, draw, {
            operation: switch::EventOperation::Update as i32,
            name: format!("1/1/{}", 1 + draw.below(48)),
            status: switch::Status::Up as i32,
            native_vlan: 1,
            vsx_enabled: false,
        })
    }
}

fn device_stats(draw: &mut Draw<'_>) -> switch::DeviceStats {
    of_switch!(DeviceStats, draw, {
        cpu_utilization: draw.below(100),
        mem_total: 8 << 30,
        mem_free: u64::from(draw.below(u32::MAX)),
        temperature: 30 + draw.below(40),
        fan_status: switch::Status::Up as i32,
        uptime: draw.counter(),
    })
}

fn interface_stats(draw: &mut Draw<'_>) -> switch::InterfaceStats {
    of_switch!(InterfaceStats, draw, {
        tx_bytes: draw.counter(),
        rx_bytes: draw.counter(),
        in_packets: draw.counter(),
        out_packets: draw.counter(),
        in_errors: u64::from(draw.below(10)),
        port_name: format!("1/1/{}", 1 + draw.below(48)),
    })
}
