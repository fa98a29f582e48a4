//! New Central: the payload of each event, and what its envelope says of it.

mod clients;
mod devices;
mod tenant;

use prost::Message;

use super::Draw;
use crate::rfc3339::Rfc3339;

/// What one event carries.
pub(crate) struct Event {
    /// Which kind of the event it is: the last part of the envelope's type, and what the filter
    /// `event-types` takes.
    pub(crate) kind: &'static str,
    /// The message's name in the type URL.
    pub(crate) message: String,
    pub(crate) payload: Vec<u8>,
}

impl Event {
    fn new(kind: &'static str, message: &str, payload: &impl Message) -> Self {
        Self {
            kind,
            message: message.to_owned(),
            payload: payload.encode_to_vec(),
        }
    }

    /// One of `name` (`ap-events`), in which its number is still to be put.
    pub(crate) fn draw(name: &str, draw: &mut Draw<'_>) -> Self {
        match name {
            "audit-trail-events" => tenant::audit_trail(draw),
            "alert-events" => tenant::alert(draw),
            "location" => clients::location(draw),
            "rssi-events" => clients::rssi(draw),
            "geofence" => clients::geofence(draw),
            "clients-events" => clients::client(draw),
            "switch-events" => devices::switch(draw),
            _ => devices::access_point(draw),
        }
    }
}

/// Up to 5 minutes ago.
fn recently(draw: &mut Draw<'_>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: draw.recently().into(),
        nanos: 123_000_000,
    }
}

/// The same in text.
fn recently_in_text(draw: &mut Draw<'_>) -> String {
    Rfc3339::new(draw.recently().into(), 0, 0)
        .map(|time| time.to_string())
        .unwrap_or_default()
}
