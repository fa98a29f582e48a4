//! The protobuf descriptors of Central's messages, and which message a payload is.
//!
//! | file | what |
//! |---|---|
//! | here | [`Descriptors`]: built in, and how a payload's type is found |
//! | `load` | the operator's files, which replace or add to what is built in |
//! | `envelope` | what Central wraps around a payload |

mod envelope;
mod load;

use std::collections::HashMap;

use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorSet;

pub use self::envelope::{AttributeValue, Envelope, EnvelopeError, Event, Instant, Payload};
use crate::frame::Stream;
pub use crate::streams::known_event;
use crate::streams::{self, LOCATION};
use crate::wire::{DEPTH_LIMIT, Wire, WireError, WireReader};

/// The event whose payload may be any message of its package; the type URL names it [seen in clients].
const AP_EVENTS: &str = "ap-events";
const AP_PACKAGE: &str = "network_monitoring.ap.v1alpha1";

const GEOFENCE: &str = "Location.stream_geofence_notify";

/// A field that every location has and no geofence notice has: `sta_eth_mac` [seen in clients].
const LOCATION_FIELD: u32 = 15;

/// The descriptors that are compiled in: the messages of both generations, and Google's well-known types.
///
/// # Panics
/// Never: the set is compiled with the program, and a test reads it.
#[must_use]
pub fn built_in() -> DescriptorPool {
    DescriptorPool::from_file_descriptor_set(built_in_files())
        .expect("the descriptors come from our own build script")
}

fn built_in_files() -> FileDescriptorSet {
    let set = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
    FileDescriptorSet::decode(&set[..]).expect("the descriptors come from our own build script")
}

/// Why the message type of a payload is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownType {
    #[error("the message type {0} is not known")]
    Name(String),
    #[error("the message type {0} is not a full name, and several full names end with it")]
    Ambiguous(String),
    #[error("the event names no message type, and none is known for the stream {0}")]
    Stream(String),
}

/// The descriptors in use, and which message each stream carries.
#[derive(Debug)]
pub struct Descriptors {
    pool: DescriptorPool,
    streams: HashMap<Stream, String>,
    /// From the last part of a message's name to all full names that end with it.
    by_last_part: HashMap<String, Vec<String>>,
}

impl Descriptors {
    /// Those that are compiled in.
    #[must_use]
    pub fn built_in() -> Self {
        Self::of(built_in())
    }

    fn of(pool: DescriptorPool) -> Self {
        let classic = streams::CLASSIC.into_iter().filter_map(|(topic, message)| {
            let topic = topic.to_owned();
            Some((Stream::Classic { topic }, message?.to_owned()))
        });
        let new = streams::NEW
            .into_iter()
            .filter_map(|(path, message)| Some((streams::of_path(path)?, message?.to_owned())));
        let mut by_last_part: HashMap<String, Vec<String>> = HashMap::new();
        for message in pool.all_messages() {
            by_last_part
                .entry(last_part(message.full_name()).to_owned())
                .or_default()
                .push(message.full_name().to_owned());
        }
        Self {
            streams: classic.chain(new).collect(),
            by_last_part,
            pool,
        }
    }

    /// The descriptors as prost-reflect has them.
    #[must_use]
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// The full names of the messages that the topics accepted by `takes` are known to carry.
    pub fn payloads(&self, takes: impl Fn(&str) -> bool) -> Vec<&str> {
        let streams = self
            .streams
            .iter()
            .filter(|(stream, _)| takes(stream.topic()));
        let mut payloads: Vec<&str> = streams.map(|(_, name)| name.as_str()).collect();
        if payloads.contains(&LOCATION) {
            payloads.push(GEOFENCE);
        }
        if takes(AP_EVENTS) {
            let names = self.by_last_part.values().flatten();
            payloads.extend(names.map(String::as_str).filter(|name| is_ap_event(name)));
        }
        payloads.sort_unstable();
        payloads.dedup();
        payloads
    }

    /// The full name of the message that `payload` is. The type URL decides, if there is one, and
    /// otherwise the stream with its version, never the event's name alone: versions are not compatible on
    /// the wire, and the wrong one may parse without an error.
    ///
    /// # Errors
    /// The type is not known.
    pub fn payload_type<'a>(
        &'a self,
        stream: &Stream,
        payload: &[u8],
        type_url: Option<&'a str>,
    ) -> Result<&'a str, UnknownType> {
        if let Some(url) = type_url.filter(|url| !url.is_empty()) {
            return self.named(url.rsplit('/').next().unwrap_or(url));
        }
        let name = self
            .streams
            .get(stream)
            .ok_or_else(|| UnknownType::Stream(stream.to_string()))?;
        Ok(if name == LOCATION && !is_location(payload) {
            GEOFENCE
        } else {
            name
        })
    }

    /// The message of this full name, or the only one whose package contains the given package, as
    /// `network_monitoring.ap.v1alpha1` contains `ap`.
    fn named(&self, name: &str) -> Result<&str, UnknownType> {
        let candidates = self
            .by_last_part
            .get(last_part(name))
            .map(Vec::as_slice)
            .unwrap_or_default();
        if let Some(exact) = candidates.iter().find(|candidate| *candidate == name) {
            return Ok(exact);
        }
        let package: Vec<&str> = package_parts(name).collect();
        let mut short = candidates.iter().filter(|candidate| {
            let parts: Vec<&str> = package_parts(candidate).collect();
            package.is_empty() || parts.windows(package.len()).any(|part| part == package)
        });
        match (short.next(), short.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(UnknownType::Name(name.to_owned())),
            (Some(_), Some(_)) => Err(UnknownType::Ambiguous(name.to_owned())),
        }
    }
}

fn is_ap_event(name: &str) -> bool {
    let in_package = name
        .strip_prefix(AP_PACKAGE)
        .and_then(|rest| rest.strip_prefix('.'));
    in_package.is_some_and(|message| !message.contains('.'))
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn package_parts(name: &str) -> impl Iterator<Item = &str> {
    let package = name.rsplit_once('.').map_or("", |(package, _)| package);
    package.split('.').filter(|part| !part.is_empty())
}

/// Tells a location from a geofence notice, which share a topic.
fn is_location(payload: &[u8]) -> bool {
    has_field(payload, LOCATION_FIELD, Wire::Len).unwrap_or(true)
}

fn has_field(payload: &[u8], number: u32, wire: Wire) -> Result<bool, Box<WireError>> {
    let mut reader = WireReader::new(payload);
    while let Some(tag) = reader.tag()? {
        if (tag.number, tag.wire) == (number, wire) {
            return Ok(true);
        }
        reader.skip(tag, DEPTH_LIMIT)?;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_stream_has_a_known_message() {
        let descriptors = Descriptors::built_in();
        for name in descriptors.streams.values() {
            assert!(
                descriptors.pool.get_message_by_name(name).is_some(),
                "{name}"
            );
        }
        assert!(descriptors.pool.get_message_by_name(GEOFENCE).is_some());
    }

    #[test]
    fn a_payload_without_field_15_is_a_geofence_notice() {
        let descriptors = Descriptors::built_in();
        let stream = Stream::parse("classic/location").unwrap();
        let type_of = |payload: &[u8]| descriptors.payload_type(&stream, payload, None);
        assert_eq!(type_of(b"\x7a\x02\x0a\x00"), Ok(LOCATION));
        assert_eq!(type_of(b"\x22\x02\x0a\x00"), Ok(GEOFENCE));
        assert_eq!(type_of(b""), Ok(GEOFENCE));
    }

    #[test]
    fn a_type_url_may_have_a_full_name_or_a_part_of_its_package() {
        let descriptors = Descriptors::built_in();
        let stream = known_event("ap-events").unwrap();
        let type_of = |url| descriptors.payload_type(&stream, b"", Some(url));
        let stat = "network_monitoring.ap.v1alpha1.APSystemStat";
        assert_eq!(
            type_of(&format!("type.googleapis.com/{stat}").leak()[..]),
            Ok(stat)
        );
        assert_eq!(type_of("type.googleapis.com/ap.APSystemStat"), Ok(stat));
        assert_eq!(type_of("APSystemStat"), Ok(stat));
        assert_eq!(
            type_of("x/network_monitoring.ap.v1.APSystemStat"),
            Err(UnknownType::Name(
                "network_monitoring.ap.v1.APSystemStat".to_owned()
            ))
        );
        assert_eq!(
            type_of("x/InterfaceStats"),
            Err(UnknownType::Ambiguous("InterfaceStats".to_owned()))
        );
    }

    #[test]
    fn without_a_type_url_only_the_known_version_of_an_event_has_a_type() {
        let descriptors = Descriptors::built_in();
        let type_of = |stream: &str| {
            let stream = Stream::parse(stream).unwrap();
            descriptors
                .payload_type(&stream, b"", None)
                .map(str::to_owned)
        };
        assert_eq!(
            type_of("new/network-services/v1alpha1/location").as_deref(),
            Ok("network_services.location.v1alpha1.StreamLocationMessage")
        );
        for stream in [
            "new/network-services/v1/location",
            "new/network-monitoring/v1alpha1/ap-events",
        ] {
            assert_eq!(type_of(stream), Err(UnknownType::Stream(stream.to_owned())));
        }
    }
}
