//! What happens to a tenant as a whole: audit trail and alerts.

use std::collections::BTreeMap;

use prost_types::{Struct, Value, value::Kind};

use super::{Event, recently};
use crate::proto::audittrail::{
    AuditTrail, ChangedField, ChangedJson, ImpactRadius, LogDetails, ScopeInfo,
};
use crate::proto::network_notifications::alerts::v1::{
    AdditionalDetail, AlertStreamingMessage, ImpactedEntities,
};
use crate::simulator::frames::payload::{Draw, colons, numbered};

pub(crate) fn audit_trail(draw: &mut Draw<'_>) -> Event {
    let ap = draw.access_point();
    let (action, category) = draw.one_of(&[
        ("Update", "Configuration"),
        ("Create", "Configuration"),
        ("Reboot", "Device Management"),
    ]);
    let occurred = i64::from(draw.recently()) * 1000 + 123;
    let trail = AuditTrail {
        tenant_id: draw.site.customer_id.clone(),
        occurred_on: occurred,
        action: action.to_owned(),
        category: category.to_owned(),
        sub_category: "WLAN".to_owned(),
        destination: ap.serial.clone(),
        destination_name: numbered(&format!("{}-", ap.name)),
        scope_info: Some(ScopeInfo {
            scope_type: "site".to_owned(),
            scope_ids: vec![draw.uuid()],
        }),
        ip_address: "198.51.100.7".to_owned(),
        description: "SSID profile \"Café Gäste\" was changed".to_owned(),
        source: "ops@acme.example".to_owned(),
        service_name: "network-config".to_owned(),
        log_details: Some(LogDetails {
            changed_fields: vec![ChangedField {
                field_label_key: "essid".to_owned(),
                before_transaction: vec!["Café".to_owned()],
                after_transaction: vec!["Café Gäste".to_owned()],
            }],
            impact_radius: vec![ImpactRadius {
                context: "devices".to_owned(),
                values: vec![ap.serial.clone()],
            }],
            changed_json: Some(ChangedJson {
                before_transaction: Some(profile(10.0)),
                after_transaction: Some(profile(20.0)),
            }),
        }),
        additional_info: String::new(),
    };
    Event::new("audit-trail", "audittrail.AuditTrail", &trail)
}

fn profile(vlan: f64) -> Struct {
    let fields = [
        ("essid", Kind::StringValue("Café Gäste".to_owned())),
        ("vlan", Kind::NumberValue(vlan)),
        ("hidden", Kind::BoolValue(false)),
    ];
    let fields = fields.map(|(name, kind)| (name.to_owned(), Value { kind: Some(kind) }));
    Struct {
        fields: BTreeMap::from(fields),
    }
}

pub(crate) fn alert(draw: &mut Draw<'_>) -> Event {
    let ap = draw.access_point();
    let severity = draw.one_of(&["Critical", "Major", "Minor"]);
    let state = draw.one_of(&["Open", "Closed"]);
    let alert = AlertStreamingMessage {
        id: draw.uuid(),
        alert_id: draw.uuid(),
        tenant_id: draw.site.customer_id.clone(),
        tenant_name: "Acme".to_owned(),
        name: "AP_DOWN".to_owned(),
        category: "Access Points".to_owned(),
        device_type: "ACCESS_POINT".to_owned(),
        severity: severity.to_owned(),
        time: Some(recently(draw)),
        operation: "ADD".to_owned(),
        state: state.to_owned(),
        site_id: Some(draw.uuid()),
        site_name: Some("Filiale Süd".to_owned()),
        config_scope: "site".to_owned(),
        summary: numbered(&format!("AP {} is down, no. ", ap.name)),
        impacted_entities: Some(ImpactedEntities {
            device_serial: vec![ap.serial.clone()],
            client_mac: vec![colons(draw.client().mac)],
        }),
        additional_details: vec![AdditionalDetail {
            // One: the order of several would not follow from the seed.
            entries: [("reason".to_owned(), "Reboot".to_owned())].into(),
        }],
        priority: Some("High".to_owned()),
        ..AlertStreamingMessage::default()
    };
    let message = "network_notifications.alerts.v1.AlertStreamingMessage";
    Event::new("alert", message, &alert)
}
