//! The streams of both generations that are known, with the message type of their payloads. The config
//! can name further events of New Central in full.

use crate::frame::Stream;

/// The message type of `location`, unless the payload is a geofence notice.
pub const LOCATION: &str = "Location.stream_location";

/// A topic or path, and the message type of payloads that do not name it themselves.
type Known = (&'static str, Option<&'static str>);

/// Topics of Classic Central (documented by HPE), and their payloads (seen in clients).
pub const CLASSIC: [Known; 6] = [
    ("apprf", Some("Apprf.apprf_session")),
    ("audit", Some("Audit.audit_message")),
    ("location", Some(LOCATION)),
    ("monitoring", Some("Monitoring.MonitoringInformation")),
    ("presence", Some("Presence.presence_event")),
    ("security", Some("Security.RapidsStreamingEvent")),
];

/// The names of [`CLASSIC`].
pub const CLASSIC_TOPICS: [&str; CLASSIC.len()] = names(&CLASSIC);

/// Events of New Central, as SERVICE/VERSION/EVENT, and their payloads (seen in clients of HPE). The
/// messages of `ap-events` have many types, and always name them.
pub const NEW: [Known; 8] = [
    (
        "network-services/v1alpha1/audit-trail-events",
        Some("audittrail.AuditTrail"),
    ),
    (
        "network-services/v1alpha1/location",
        Some("network_services.location.v1alpha1.StreamLocationMessage"),
    ),
    (
        "network-services/v1alpha1/rssi-events",
        Some("network_services.location_analytics.v1alpha1.RssiEvent"),
    ),
    (
        "network-services/v1alpha1/geofence",
        Some("network_services.geofence.v1alpha1.StreamGeofenceMessage"),
    ),
    ("network-monitoring/v1alpha1/ap-events", None),
    (
        "network-monitoring/v1/clients-events",
        Some("network_monitoring.clients.v1.StreamClientMessage"),
    ),
    (
        "network-monitoring/v1/switch-events",
        Some("network_monitoring.switch.v1.StreamSwitchMessage"),
    ),
    (
        "network-notifications/v1/alert-events",
        Some("network_notifications.alerts.v1.AlertStreamingMessage"),
    ),
];

/// The paths of [`NEW`].
pub const NEW_PATHS: [&str; NEW.len()] = names(&NEW);

const fn names<const N: usize>(known: &[Known; N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut index = 0;
    while index < N {
        names[index] = known[index].0;
        index += 1;
    }
    names
}

/// The names of the events of [`NEW`], such as `ap-events`.
#[must_use]
pub fn new_events() -> [&'static str; NEW.len()] {
    NEW_PATHS.map(|path| path.rsplit('/').next().unwrap_or(path))
}

/// The stream of New Central with this event name, such as `ap-events`, in the version that is
/// known; `None` for an event that is not.
#[must_use]
pub fn known_event(event: &str) -> Option<Stream> {
    let index = new_events().iter().position(|known| *known == event)?;
    of_path(NEW_PATHS[index])
}

/// A stream of New Central by SERVICE/VERSION/EVENT.
#[must_use]
pub fn of_path(path: &str) -> Option<Stream> {
    Stream::parse(&format!("new/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_known_by_its_name() {
        for (path, name) in NEW_PATHS.into_iter().zip(new_events()) {
            let stream = known_event(name).unwrap();
            assert_eq!(stream.to_string(), format!("new/{path}"));
        }
        assert_eq!(known_event("wids"), None);
    }
}
