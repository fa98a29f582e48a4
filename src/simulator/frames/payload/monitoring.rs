//! Monitoring: the state of an access point, its radios and clients, and their statistics.

use super::{Draw, bytes, numbered};
use crate::proto::monitoring::ip_address::AddrFamily;
use crate::proto::monitoring::{
    Action, Ap, ClientStats, DataElement, DeviceStats, IpAddress, MacAddress,
    MonitoringInformation, Network, Radio, RadioStats, Status, VapInfo, VapStats, WirelessClient,
};
use crate::simulator::frames::site::{AccessPoint, Client, ESSIDS};

const RADIOS: u8 = 2;
const CLIENTS: usize = 8;

pub(crate) fn information(draw: &mut Draw<'_>) -> MonitoringInformation {
    let ap = draw.access_point();
    let clients: Vec<&Client> = (0..CLIENTS).map(|_| draw.client()).collect();
    let elements = [
        DataElement::StateAp,
        DataElement::StateRadio,
        DataElement::StateVap,
        DataElement::StateWirelessclient,
        DataElement::StatDevice,
        DataElement::StatRadio,
        DataElement::StatVap,
        DataElement::StatClient,
    ];
    MonitoringInformation {
        customer_id: draw.site.customer_id.clone(),
        data_elements: elements.map(|element| element as i32).to_vec(),
        aps: vec![access_point(draw, ap)],
        networks: vec![network(draw)],
        radios: (0..RADIOS).map(|index| radio(draw, ap, index)).collect(),
        vaps: (0..RADIOS).map(|index| vap(draw, ap, index)).collect(),
        wireless_clients: clients
            .iter()
            .map(|client| wireless_client(draw, ap, client))
            .collect(),
        device_stats: vec![device_stats(draw, ap)],
        radio_stats: (0..RADIOS)
            .map(|index| radio_stats(draw, ap, index))
            .collect(),
        vap_stats: (0..RADIOS)
            .map(|index| vap_stats(draw, ap, index))
            .collect(),
        client_stats: clients
            .iter()
            .map(|client| client_stats(draw, ap, client))
            .collect(),
        timestamp: Some(draw.recently()),
        ..MonitoringInformation::default()
    }
}

fn access_point(draw: &mut Draw<'_>, ap: &AccessPoint) -> Ap {
    Ap {
        action: Some(draw.one_of(&[Action::Add, Action::Update]) as i32),
        serial: Some(ap.serial.clone()),
        name: Some(numbered(&format!("{}-", ap.name))),
        macaddr: Some(mac(ap.mac)),
        cluster_id: Some(draw.uuid()),
        status: Some(status(draw) as i32),
        ip_address: Some(ip(&ap.ip)),
        model: Some(ap.model.to_owned()),
        mesh_role: Some("Unknown".to_owned()),
        mode: Some("access".to_owned()),
        swarm_master: Some(draw.one_in(8)),
        modem_connected: Some(false),
        uplink_type: Some(crate::proto::monitoring::ap::UplinkType::Ethernet as i32),
        firmware_version: Some("8.10.0.6_87750".to_owned()),
    }
}

fn network(draw: &mut Draw<'_>) -> Network {
    Network {
        action: Some(Action::Update as i32),
        swarm_id: Some(draw.uuid()),
        essid: Some(bytes(draw.one_of(&ESSIDS))),
        security: Some("wpa3-sae-aes".to_owned()),
        r#type: Some("employee".to_owned()),
    }
}

fn radio(draw: &mut Draw<'_>, ap: &AccessPoint, index: u8) -> Radio {
    let channel = if index == 0 {
        draw.one_of(&["36E", "52", "100+", "149E"])
    } else {
        draw.one_of(&["1", "6", "11"])
    };
    Radio {
        action: Some(Action::Update as i32),
        device_id: Some(ap.serial.clone()),
        index: Some(u32::from(index)),
        macaddr: Some(mac(ap.radio_mac(index))),
        status: Some(Status::Up as i32),
        channel: Some(channel.to_owned()),
        band: Some(1 - u32::from(index)),
        channel_width: Some(draw.below(4)),
        ap_mac: Some(mac(ap.mac)),
    }
}

fn vap(draw: &mut Draw<'_>, ap: &AccessPoint, index: u8) -> VapInfo {
    VapInfo {
        action: Some(Action::Update as i32),
        device_id: Some(ap.serial.clone()),
        radio_mac: Some(mac(ap.radio_mac(index))),
        essid: Some(bytes(draw.one_of(&ESSIDS))),
        ap_mac: Some(mac(ap.mac)),
        bssid: Some(mac(ap.radio_mac(index))),
    }
}

fn wireless_client(draw: &mut Draw<'_>, ap: &AccessPoint, client: &Client) -> WirelessClient {
    WirelessClient {
        action: Some(draw.one_of(&[Action::Add, Action::Update, Action::Delete]) as i32),
        macaddr: Some(mac(client.mac)),
        name: Some(client.name.clone()),
        ip_address: Some(ip(&client.ip)),
        username: Some(client.user.clone()),
        associated_device: Some(ap.serial.clone()),
        radio_mac: Some(mac(ap.radio_mac(0))),
        network: Some(bytes(client.essid)),
        user_role: Some("employee".to_owned()),
        manufacturer: Some(client.maker.to_owned()),
        os_type: Some(client.os.to_owned()),
        connection: Some("802.11ax".to_owned()),
        maxspeed: Some(1200),
        vlan: Some(draw.below(4094) + 1),
    }
}

fn device_stats(draw: &mut Draw<'_>, ap: &AccessPoint) -> DeviceStats {
    DeviceStats {
        device_id: Some(ap.serial.clone()),
        timestamp: Some(draw.recently()),
        uptime: Some(u64::from(draw.below(10_000_000))),
        cpu_utilization: Some(draw.below(100)),
        mem_total: Some(1 << 30),
        mem_free: Some(u64::from(draw.below(1 << 30))),
        power_consumption: Some(draw.below(25_000)),
        temperature: Some(30 + draw.below(40)),
        fan_status: Some(status(draw) as i32),
        mem_utilization: Some(u64::from(draw.below(100))),
        ..DeviceStats::default()
    }
}

fn radio_stats(draw: &mut Draw<'_>, ap: &AccessPoint, index: u8) -> RadioStats {
    RadioStats {
        device_id: Some(ap.serial.clone()),
        macaddr: Some(mac(ap.radio_mac(index))),
        timestamp: Some(draw.recently()),
        tx_bytes: Some(draw.counter()),
        rx_bytes: Some(draw.counter()),
        tx_drops: Some(draw.below(10_000)),
        tx_power: Some(draw.below(30)),
        noise_floor: Some(80 + draw.below(20)),
        utilization: Some(draw.below(100)),
        rx_bad: Some(draw.counter()),
    }
}

fn vap_stats(draw: &mut Draw<'_>, ap: &AccessPoint, index: u8) -> VapStats {
    VapStats {
        device_id: Some(ap.serial.clone()),
        radio_mac: Some(mac(ap.radio_mac(index))),
        network: Some(bytes(draw.one_of(&ESSIDS))),
        timestamp: Some(draw.recently()),
        tx_bytes: Some(draw.counter()),
        rx_bytes: Some(draw.counter()),
    }
}

fn client_stats(draw: &mut Draw<'_>, ap: &AccessPoint, client: &Client) -> ClientStats {
    ClientStats {
        device_id: Some(ap.serial.clone()),
        macaddr: Some(mac(client.mac)),
        timestamp: Some(draw.recently()),
        tx_bytes: Some(draw.counter()),
        rx_bytes: Some(draw.counter()),
        rx_retries: Some(draw.below(1000)),
        tx_retries: Some(draw.below(1000)),
        speed: Some(draw.below(1200)),
        signal_in_db: Some(draw.below(60)),
        snr: Some(draw.below(60)),
    }
}

fn status(draw: &mut Draw<'_>) -> Status {
    if draw.one_in(10) {
        Status::Down
    } else {
        Status::Up
    }
}

fn mac(addr: [u8; 6]) -> MacAddress {
    MacAddress { addr: bytes(&addr) }
}

fn ip(addr: &[u8]) -> IpAddress {
    let family = if addr.len() == 4 {
        AddrFamily::Inet
    } else {
        AddrFamily::Inet6
    };
    IpAddress {
        af: family as i32,
        addr: bytes(addr),
    }
}
