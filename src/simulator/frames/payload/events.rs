//! Audit, security and application sessions.

use super::{Draw, bytes, colons, numbered};
use crate::proto::apprf::client_firewall_session::{AppEnforcementStatus, IngressTypeT};
use crate::proto::apprf::url_detail_record::UrlHttpMethod;
use crate::proto::apprf::{self, ApprfSession, ClientFirewallSession, UrlDetailRecord};
use crate::proto::audit::{self, AuditMessage, Classification, Config, DeviceManagement, Firmware};
use crate::proto::security::{MacAddress, RapidsStreamingEvent, RogueEvent, WidsEvent};
use crate::simulator::frames::site::Client;

/// What changed, as Central tells it: several lines.
const CHANGES: &str = "wlan ssid-profile \"Café\"\n  essid \"Café Gäste\"\n  no opmode wpa2-aes\n";

pub(crate) fn audit(draw: &mut Draw<'_>) -> AuditMessage {
    let services = [
        Classification::Configuration,
        Classification::Firmware,
        Classification::DeviceMgmt,
    ];
    let service = draw.one_of(&services);
    let ap = draw.access_point();
    let mut message = AuditMessage {
        customer_id: draw.site.customer_id.clone(),
        timestamp: draw.recently(),
        service: service as i32,
        group_name: "Filialen Süd".to_owned(),
        target: numbered(&format!("{}-", ap.serial)),
        client_ip: audit::IpAddress {
            af: Some(audit::ip_address::AddrFamily::Inet as i32),
            addr: Some(bytes(&ap.ip)),
        },
        username: "ops@acme.example".to_owned(),
        ..AuditMessage::default()
    };
    match service {
        Classification::Configuration => {
            message.config_info = Some(Config {
                data: "Configuration pushed".to_owned(),
                detailed_data: Some(CHANGES.to_owned()),
            });
        }
        Classification::Firmware => {
            message.firmware_info = Some(Firmware {
                data: "Firmware upgrade scheduled".to_owned(),
                detailed_data: Some(format!("{} to 8.10.0.6_87750", ap.model)),
            });
        }
        Classification::DeviceMgmt => {
            message.dm_info = Some(DeviceManagement {
                data: format!("Device {} added", ap.serial),
                detailed_data: None,
            });
        }
    }
    message
}

pub(crate) fn security(draw: &mut Draw<'_>) -> RapidsStreamingEvent {
    let rogues = 1 + draw.below(2);
    RapidsStreamingEvent {
        cust_id: draw.site.customer_id.clone(),
        rogue: (0..rogues).map(|index| rogue(draw, index == 0)).collect(),
        ids_event: (0..draw.below(3)).map(|_| intrusion(draw)).collect(),
    }
}

/// The first one of a frame carries its number.
fn rogue(draw: &mut Draw<'_>, first: bool) -> RogueEvent {
    let mac = draw.client().mac;
    let name = if first {
        numbered("rogue-")
    } else {
        format!("rogue-{}", colons(mac))
    };
    RogueEvent {
        rogue_id: MacAddress { addr: bytes(&mac) },
        classification: draw.below(6),
        first_seen: Some("2024-03-01 07:12:44".to_owned()),
        last_seen: Some("2024-03-01 09:30:01".to_owned()),
        rogue_name: Some(name),
        ssid: Some(draw.one_of(&["Café Gäste", "会議室", "linksys"]).to_owned()),
        lan_mac: Some(colons(mac)),
        first_det_device: Some(draw.access_point().serial.clone()),
        last_det_device: Some(draw.access_point().serial.clone()),
        encryption: Some(draw.below(4)),
        containment_status: Some("Not contained".to_owned()),
        mac_vendor: Some("Intel Corporate".to_owned()),
        ..RogueEvent::default()
    }
}

fn intrusion(draw: &mut Draw<'_>) -> WidsEvent {
    let ap = draw.access_point();
    WidsEvent {
        device_id: ap.serial.clone(),
        event_number: draw.below(200),
        event_type: Some("Infrastructure attack".to_owned()),
        attack_type: Some(
            draw.one_of(&["Detect Disconnect Station", "Detect AP Spoofing"])
                .to_owned(),
        ),
        description: Some("An AP detected that a station was \"disconnected\" by force".to_owned()),
        detected_ap: Some(ap.name.clone()),
        mac_addr: Some(MacAddress {
            addr: bytes(&draw.client().mac),
        }),
        radio_band: Some(draw.one_of(&["2.4 GHz", "5 GHz"]).to_owned()),
        level: Some(draw.one_of(&["low", "medium", "high"]).to_owned()),
    }
}

pub(crate) fn apprf(draw: &mut Draw<'_>) -> ApprfSession {
    let ap = draw.access_point();
    let client = draw.client();
    ApprfSession {
        customer_id: Some(draw.site.customer_id.clone()),
        timestamp: Some(u64::from(draw.recently())),
        serial_number: Some(ap.serial.clone()),
        client_firewall_session: (0..4).map(|_| firewall_session(draw, client)).collect(),
        url_detail_record: (0..2).map(|_| url_detail(draw, client)).collect(),
        ap_name: Some(numbered(&format!("{}-", ap.name))),
        session_duration: Some(900),
    }
}

fn firewall_session(draw: &mut Draw<'_>, client: &Client) -> ClientFirewallSession {
    let (app_id, app_name, app_cat) = draw.one_of(&[
        (68, "https", "web"),
        (1465, "microsoft-teams", "unified-communications"),
        (102, "youtube", "streaming"),
    ]);
    ClientFirewallSession {
        client_ip: Some(ip(&client.ip)),
        client_mac: Some(mac(client.mac)),
        dest_ip: Some(ip(&[93, 184, 216, 34])),
        ingress_type: Some(IngressTypeT::IngressWlan as i32),
        ip_proto: Some(draw.one_of(&[6, 17])),
        vlan: Some(draw.below(4095).to_string()),
        uplink_id: Some(1),
        uplink_name: Some("Uplink – ISP 1".to_owned()),
        app_id: Some(app_id),
        app_name: Some(app_name.to_owned()),
        app_cat: Some(app_cat.to_owned()),
        web_rep_score: Some(draw.below(100)),
        web_rep: Some("trustworthy-sites".to_owned()),
        dest_url_prefix: Some("example.com/path".to_owned()),
        domain: Some("example.com".to_owned()),
        session_flags: Some(AppEnforcementStatus::EnfPermit as i32),
        tx_bytes: Some(draw.counter()),
        rx_bytes: Some(draw.counter()),
        rtt: Some(u64::from(draw.below(300))),
        packet_loss: Some(u64::from(draw.below(5))),
        ssid: Some(String::from_utf8_lossy(client.essid).into_owned()),
        user_name: Some(client.user.clone()),
        user_role: Some("employee".to_owned()),
        device_type: Some(client.os.to_owned()),
        timestamp: Some(u64::from(draw.recently())),
        preauth_flag: Some(false),
        dest_port: Some(443),
        ..ClientFirewallSession::default()
    }
}

fn url_detail(draw: &mut Draw<'_>, client: &Client) -> UrlDetailRecord {
    UrlDetailRecord {
        client_ip: ip(&client.ip),
        dest_ip: ip(&[93, 184, 216, 34]),
        client_mac: mac(client.mac),
        dest_url_prefix: Some(bytes("example.com/büro".as_bytes())),
        hit_count: Some(draw.below(100)),
        http_method: Some(draw.one_of(&[UrlHttpMethod::HttpGet, UrlHttpMethod::HttpPost]) as i32),
        last_hit_timestamp: Some(u64::from(draw.recently())),
    }
}

fn mac(addr: [u8; 6]) -> apprf::MacAddress {
    apprf::MacAddress {
        addr: Some(bytes(&addr)),
    }
}

fn ip(addr: &[u8]) -> apprf::IpAddress {
    use apprf::ip_address::AddrFamily;
    let family = if addr.len() == 4 {
        AddrFamily::Inet
    } else {
        AddrFamily::Inet6
    };
    apprf::IpAddress {
        af: Some(family as i32),
        addr: Some(bytes(addr)),
    }
}
