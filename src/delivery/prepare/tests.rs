//! Frames in, records out: what routes can ask for.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message as _;
use serde_json::Value;
use tokio::sync::watch;

use super::*;
use crate::config::{self, Config};
use crate::delivery::plan::Plan;
use crate::frame::{Frame, Internal, Stream, SubscriptionId, Timestamp};
use crate::journal::Entry;
use crate::proto::monitoring::{Ap, MonitoringInformation};
use crate::proto::stream_message::MsgProto;
use crate::{record, schema};

/// A record, kept.
#[derive(Debug)]
struct Made {
    next: Position,
    destination: String,
    key: Option<String>,
    payload: Vec<u8>,
    attributes: Vec<(&'static str, String)>,
    content_type: &'static str,
}

impl Made {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap()
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Loads a config of one route with these lines, as an operator would write it.
fn config(route: &str) -> Config {
    let mut text = "[accounts.acme]\ngeneration = \"classic\"\nkey = \"k\"\n\
                    endpoint = \"ws://localhost\"\ntopics = [\"monitoring\"]\n\
                    [sinks.lake]\ntype = \"kafka\"\nbrokers = [\"k:1\"]\n\
                    [[routes]]\nsink = \"lake\"\n"
        .to_owned();
    if !route.contains("destination") {
        text.push_str("destination = \"d.{element}\"\n");
    }
    if !route.contains("topics") {
        text.push_str("topics = \"*\"\n");
    }
    writeln!(text, "{route}").unwrap();
    config::of_text(&text)
}

fn preparer(route: &str) -> Preparer {
    let plan = Plan::new(&config(route)).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let (_, plans) = watch::channel(Arc::new(plan));
    Preparer::new(plans, "lake", DestinationCharset::KAFKA_TOPIC)
}

fn batch(stream: &Stream, frame: Vec<u8>) -> Batch {
    let frame = Frame {
        subscription: SubscriptionId::new("acme", stream.clone()),
        received_at: Timestamp(1_700_000_000_123_456),
        payload: Bytes::from(frame),
    };
    Batch {
        entries: vec![Entry {
            offset: 7,
            frame,
            refusal: None,
        }],
        ..Batch::default()
    }
}

fn made_from(preparer: &Preparer, batch: &Batch, record: u32) -> Result<Vec<Made>, String> {
    let from = ResumePoint {
        position: Position { offset: 7, record },
        generation: 0,
    };
    let mut batch = preparer.prepare(batch, from, PreparedBatch::default());
    let mut all = Vec::new();
    while let Some(item) = batch.next_item() {
        match item {
            Item::Record { next, record, .. } => all.push(Made {
                next,
                destination: record.destination.to_owned(),
                key: record
                    .key
                    .map(|key| String::from_utf8(key.to_vec()).unwrap()),
                payload: record.payload.to_vec(),
                attributes: (record.attributes.iter())
                    .map(|(name, value)| (name, value.to_owned()))
                    .collect(),
                content_type: record.content_type,
            }),
            Item::Undecodable { reason, .. } => return Err(reason.to_owned()),
            Item::NoRecord { next } => assert_eq!(next.offset, 8),
        }
    }
    Ok(all)
}

fn made(route: &str, stream: &Stream, frame: Vec<u8>) -> Result<Vec<Made>, String> {
    made_from(&preparer(route), &batch(stream, frame), 0)
}

fn monitoring() -> Stream {
    Stream::parse("classic/monitoring").unwrap()
}

/// Two access points, of which the second is down.
fn two_aps() -> Vec<u8> {
    let ap = |serial: &str, status| Ap {
        serial: Some(serial.to_owned()),
        status: Some(status),
        ..Ap::default()
    };
    let information = MonitoringInformation {
        customer_id: "c1".to_owned(),
        timestamp: Some(1_700_000_000),
        aps: vec![ap("S1", 1), ap("S/2", 2)],
        ..MonitoringInformation::default()
    };
    classic(&information.encode_to_vec())
}

fn classic(payload: &[u8]) -> Vec<u8> {
    MsgProto {
        subject: "monitoring".to_owned(),
        data: payload.to_vec().into(),
        timestamp: 1_700_000_000_000,
        customer_id: "c1".to_owned(),
        ..MsgProto::default()
    }
    .encode_to_vec()
}

#[test]
fn all_eight_events_of_new_central_become_records() {
    let cases = include_str!("../../../tests/fixtures/conformance/new-central.ndjson");
    let route = "json = \"canonical\"";
    let preparer = preparer(route);
    let mut events = Vec::new();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| case[name].as_str().unwrap();
        let stream = schema::known_event(text("topic")).unwrap();
        let frame = STANDARD.decode(text("frame")).unwrap();
        let all = made_from(&preparer, &batch(&stream, frame), 0).unwrap();
        let [record] = &all[..] else {
            panic!("one record of {line}");
        };
        let json = record.json();
        assert_eq!(json["data"], case["canonical"], "{line}");
        assert_eq!(json["type"], case["type"]);
        assert_eq!(json["topic"], case["topic"]);
        assert_eq!(record.attribute("id"), json["id"].as_str());
        assert_eq!(record.attribute("messagetype"), json["type"].as_str());
        assert!(record.attribute("type").is_some() && record.attribute("source").is_some());
        events.push(text("topic").to_owned());
    }
    events.dedup();
    events.sort_unstable();
    events.dedup();
    assert_eq!(events.len(), 8, "{events:?}");
}

fn a_gap(account: &str) -> Batch {
    let mut batch = batch(
        &Stream::Internal(Internal::Gaps),
        br#"{"kind":"subscription","why":"\u00e9"}"#.to_vec(),
    );
    let stream = Stream::Internal(Internal::Gaps);
    batch.entries[0].frame.subscription = SubscriptionId::new(account, stream);
    batch
}

#[test]
fn an_event_of_our_own_is_a_record_like_any_other() {
    let all = made_from(&preparer("topics = [\"*\", \"@gaps\"]"), &a_gap("acme"), 0).unwrap();
    let [record] = &all[..] else {
        panic!("one record: {all:?}");
    };
    let json = record.json();
    assert_eq!(json["account"], "acme");
    assert_eq!(json["topic"], "@gaps");
    assert_eq!(json["type"], "central-forwarder.gap");
    assert_eq!(json["time"], "2023-11-14T22:13:20.123456Z");
    assert_eq!(json["timestamp"], 1_700_000_000_123_u64);
    assert_eq!(
        json["data"],
        serde_json::json!({"kind": "subscription", "why": "é"})
    );
    assert_eq!(json.get("customer_id"), None);
    assert_eq!(record.attribute("type"), Some("central-forwarder.gap"));
    assert_eq!(record.attribute("source"), Some("/central-forwarder"));
    assert_eq!(record.attribute("id"), json["id"].as_str());

    let route = "topics = \"@gaps\"\nformat = \"cloudevents\"";
    let all = made_from(&preparer(route), &a_gap(""), 0).unwrap();
    let json = all[0].json();
    assert_eq!(json["type"], "central-forwarder.gap");
    assert_eq!(json["source"], "/central-forwarder");
    assert_eq!(json["data"]["kind"], "subscription");
    assert_eq!(json.get("account"), None);
}

#[test]
fn events_of_our_own_go_where_they_are_named_alone() {
    for (route, records) in [
        ("topics = \"*\"", 0),
        ("topics = \"@dead-letters\"", 0),
        ("topics = \"@gaps\"\naccounts = [\"acme\"]", 1),
    ] {
        let all = made_from(&preparer(route), &a_gap("acme"), 0).unwrap();
        assert_eq!(all.len(), records, "{route}");
    }
    let route = "topics = \"@gaps\"\naccounts = [\"acme\"]";
    assert!(
        made_from(&preparer(route), &a_gap(""), 0)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn split_makes_a_record_of_each_element_with_what_they_have_in_common() {
    let route = "split = true\nkey = \"{data.serial}\"";
    let all = made(route, &monitoring(), two_aps()).unwrap();
    let [first, second] = &all[..] else {
        panic!("two records: {all:?}");
    };
    let json = first.json();
    let frame_id = record::classic_id("acme", "monitoring", &two_aps());
    assert_eq!(json["id"], format!("{frame_id}/aps/0"));
    assert_eq!(json["element"], "aps");
    assert_eq!(json["type"], "Monitoring.Ap");
    assert_eq!(
        json["data"],
        serde_json::json!({"serial": "S1", "status": "UP"})
    );
    assert_eq!(
        json["parent"],
        serde_json::json!({"customer_id": "c1", "timestamp": 1_700_000_000})
    );
    assert_eq!(first.destination, "d.aps");
    assert_eq!(second.key.as_deref(), Some("S/2"));
    assert_eq!(second.attribute("id"), Some(&*format!("{frame_id}/aps/1")));
    assert_eq!(second.attribute("element"), Some("aps"));
    assert_eq!(second.attribute("messagetype"), Some("Monitoring.Ap"));
    assert_eq!((first.next.offset, first.next.record), (7, 1));
    assert_eq!((second.next.offset, second.next.record), (8, 0));
}

#[test]
fn sending_begins_again_in_the_midst_of_a_frame_only_by_the_same_plan() {
    let preparer = preparer("split = true");
    let batch = batch(&monitoring(), two_aps());
    assert_eq!(made_from(&preparer, &batch, 1).unwrap().len(), 1);
    let older = ResumePoint {
        position: Position {
            offset: 7,
            record: 1,
        },
        generation: 99,
    };
    assert_eq!(
        preparer
            .prepare(&batch, older, PreparedBatch::default())
            .len(),
        2
    );
}

#[test]
fn protobuf_under_split_is_the_bytes_of_the_element() {
    let route = "split = true\nformat = \"protobuf\"";
    let all = made(route, &monitoring(), two_aps()).unwrap();
    let ap = Ap::decode(&all[1].payload[..]).unwrap();
    assert_eq!(ap.serial.as_deref(), Some("S/2"));
    assert_eq!(all[1].attribute("messagetype"), Some("Monitoring.Ap"));
}

#[test]
fn conditions_look_at_the_element_under_split_and_at_the_payload_otherwise() {
    let keys = |route: &str| -> Vec<String> {
        let route = format!("key = \"{{id}}\"\ntopics = \"monitoring\"\n{route}");
        let all = made(&route, &monitoring(), two_aps()).unwrap();
        let tail = |made: Made| {
            let key = made.key.unwrap();
            key.split_once('/')
                .map_or(String::new(), |(_, tail)| tail.to_owned())
        };
        all.into_iter().map(tail).collect()
    };
    let split = |test: &str| keys(&format!("split = true\nwhere = [{{ path = {test} }}]"));
    assert_eq!(split("\"data.status\", equals = \"DOWN\""), ["aps/1"]);
    assert_eq!(split("\"data.status\", equals = 1"), ["aps/0"]);
    assert_eq!(split("\"data.status\", not_equals = \"DOWN\""), ["aps/0"]);
    assert_eq!(
        split("\"data.serial\", one_of = [\"S/2\", \"S3\"]"),
        ["aps/1"]
    );
    assert_eq!(split("\"data.name\", exists = true"), [""; 0]);
    assert_eq!(split("\"data.name\", exists = false").len(), 2);
    let whole = |test: &str| keys(&format!("where = [{{ path = {test} }}]")).len();
    assert_eq!(whole("\"data.aps.status\", equals = \"DOWN\""), 1);
    assert_eq!(whole("\"data.timestamp\", equals = 1"), 0);
    assert_eq!(whole("\"data.switches\", exists = false"), 1);
}

#[test]
fn elements_without_split_are_all_that_is_kept_of_the_lists() {
    let keep = |elements: &str| {
        let all = made(elements, &monitoring(), two_aps()).unwrap();
        all[0].json()["data"].clone()
    };
    assert_eq!(
        keep("elements = [\"switches\"]"),
        serde_json::json!({"customer_id": "c1", "timestamp": 1_700_000_000})
    );
    assert_eq!(keep("elements = [\"aps\"]")["aps"][1]["serial"], "S/2");
}

#[test]
fn a_payload_without_elements_is_one_record_and_unwanted_elements_are_none() {
    let bare = classic(b"\x0a\x02c1");
    let all = made("split = true", &monitoring(), bare).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].json()["data"]["customer_id"], "c1");
    assert_eq!(all[0].json().get("parent"), None);
    let none = "split = true\nelements = [\"switches\"]";
    assert!(made(none, &monitoring(), two_aps()).unwrap().is_empty());
}

#[test]
fn a_fault_in_an_element_has_its_place_in_the_payload() {
    let frame = classic(b"\x0a\x02c1\x22\x02\x12\x09");
    for route in [
        "split = true",
        "split = true\nformat = \"protobuf\"\nkey = \"{data.serial}\"",
    ] {
        let why = made(route, &monitoring(), frame.clone()).unwrap_err();
        assert!(
            why.contains("at byte 7 of the payload (Monitoring.MonitoringInformation.aps.serial)"),
            "{why}"
        );
    }
}

#[test]
fn a_cloudevent_carries_its_attributes_and_those_that_new_central_gave() {
    use crate::proto::cloudevents::v1::cloud_event::Data;
    use crate::proto::cloudevents::v1::cloud_event_attribute_value::Value as Attribute;
    use crate::proto::cloudevents::v1::{CloudEvent, CloudEventAttributeValue};

    let mut event = CloudEvent {
        id: "e1".to_owned(),
        source: "central".to_owned(),
        r#type: "com.hpe.audit".to_owned(),
        data: Some(Data::TextData("{\"a\": 1}".to_owned())),
        ..CloudEvent::default()
    };
    for (name, value) in [
        ("partition", Attribute::CeInteger(-3)),
        ("topic", Attribute::CeString("theirs".to_owned())),
    ] {
        let value = CloudEventAttributeValue { value: Some(value) };
        event.attributes.insert(name.to_owned(), value);
    }
    let stream = schema::known_event("audit-trail-events").unwrap();
    let route = "format = \"cloudevents\"";
    let all = made(route, &stream, event.encode_to_vec()).unwrap();
    assert_eq!(all[0].content_type, "application/cloudevents+json");
    let json = all[0].json();
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", "e1"),
        ("source", "central"),
        ("type", "com.hpe.audit"),
        ("datacontenttype", "application/json"),
        ("account", "acme"),
        ("topic", "audit-trail-events"),
    ] {
        assert_eq!(json[name], value);
    }
    assert_eq!(json["partition"], -3);
    assert_eq!(json["data"], serde_json::json!({"a": 1}));

    let all = made(
        "format = \"cloudevents\"\nsplit = true",
        &monitoring(),
        two_aps(),
    );
    let json = all.unwrap()[0].json();
    assert_eq!(json["type"], "central.classic.monitoring");
    assert_eq!(json["source"], "/central/acme");
    assert_eq!(json["messagetype"], "Monitoring.Ap");
    assert_eq!(json["customerid"], "c1");
    assert_eq!(json["data"]["serial"], "S1");
    let parent: Value = serde_json::from_str(json["parent"].as_str().unwrap()).unwrap();
    assert_eq!(parent["customer_id"], "c1");
}
