//! The same frames in each format: what the payload, the content type and the attributes are, whichever
//! broker they came through.

use std::collections::BTreeMap;

use central_forwarder::proto::stream_message::MsgProto;
use central_forwarder::simulator::sequence_of_frame;
use prost::Message as _;
use serde_json::Value;

use support::config::Route;
use support::stand::{SINK, Stand};

pub(crate) const FRAMES: usize = 5;
pub(crate) const FORMATS: [(&str, &str); 4] = [
    ("json", "application/json"),
    ("cloudevents", "application/cloudevents+json"),
    ("protobuf", "application/protobuf"),
    ("frame", "application/octet-stream"),
];

/// A record as a broker's reader shows it.
pub(crate) struct Arrived {
    pub(crate) format: &'static str,
    pub(crate) content_type: String,
    /// Those of CloudEvents, without the prefix that they have in this protocol.
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) payload: Vec<u8>,
}

pub(crate) async fn stand() -> Stand {
    Stand::new(&["audit"], 0, FRAMES as u64).await
}

/// One route a format, each with a destination of its own.
pub(crate) fn routes(destination: impl Fn(&str) -> String) -> [Route; 4] {
    FORMATS.map(|(format, _)| {
        let route = Route::all(SINK).destination(&destination(format));
        route.line(format!("format = {format:?}"))
    })
}

/// Checks all records, and gives those of format `json`, in order.
pub(crate) fn check(arrived: &[Arrived]) -> Vec<Value> {
    let [json, cloudevents, protobuf, frame] = FORMATS.map(|(format, content_type)| {
        let of_format: Vec<&Arrived> = arrived.iter().filter(|it| it.format == format).collect();
        assert_eq!(of_format.len(), FRAMES, "{format}");
        for it in &of_format {
            assert_eq!(it.content_type, content_type);
        }
        of_format
    });
    let mut records = Vec::new();
    for number in 0..FRAMES {
        let record: Value = serde_json::from_slice(&json[number].payload).unwrap();
        for it in [&json, &cloudevents, &protobuf, &frame] {
            check_attributes(it[number], &record);
        }
        let event: Value = serde_json::from_slice(&cloudevents[number].payload).unwrap();
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["type"], "central.classic.audit");
        assert_eq!(event["source"], "/central/acme");
        for member in ["id", "time", "data"] {
            assert_eq!(event[member], record[member], "{member}");
        }
        let whole = &frame[number].payload[..];
        assert_eq!(sequence_of_frame(whole), Some(number as u64 + 1));
        assert_eq!(
            MsgProto::decode(whole).unwrap().data,
            protobuf[number].payload
        );
        records.push(record);
    }
    records
}

fn check_attributes(arrived: &Arrived, record: &Value) {
    let attribute = |name: &str| arrived.attributes.get(name).map(String::as_str);
    for (name, value) in [
        ("specversion", "1.0"),
        ("source", "/central/acme"),
        ("type", "central.classic.audit"),
        ("account", "acme"),
        ("topic", "audit"),
    ] {
        assert_eq!(attribute(name), Some(value), "{}: {name}", arrived.format);
    }
    for (name, member) in [
        ("id", "id"),
        ("time", "time"),
        ("customerid", "customer_id"),
        ("messagetype", "type"),
    ] {
        let value = record[member].as_str();
        assert!(value.is_some_and(|value| !value.is_empty()), "{record}");
        assert_eq!(attribute(name), value, "{}: {name}", arrived.format);
    }
}
