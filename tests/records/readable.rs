//! Readable records of every topic, as a person reads them: one file each, which a person has read.
//!
//! After a change that is meant, `REWRITE_FIXTURES=1 cargo test --test readable` writes them anew.

use std::path::Path;
use std::{env, fs};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use central_forwarder::frame::{Stream, Timestamp};
use central_forwarder::proto::location::{MacAddress, StreamGeofenceNotify, ZoneEvent};
use central_forwarder::proto::stream_message::MsgProto;
use central_forwarder::record::{self, RecordData, RecordMetadata};
use central_forwarder::schema::{self, Descriptors, Envelope};
use central_forwarder::transcode::{JsonStyle, Tables};
use prost::Message as _;
use serde_json::Value;

/// A topic, and the frame of the conformance files that its file shows.
const CLASSIC: [(&str, &str); 6] = [
    ("apprf", "random 7"),
    ("audit", "random 2"),
    ("location", "random 7"),
    ("monitoring", "random 9"),
    ("presence", "random 3"),
    ("security", "random 11"),
];
const NEW: [(&str, &str); 8] = [
    ("alert-events", "random 7"),
    ("ap-events", "random 4"),
    ("audit-trail-events", "random 4"),
    ("clients-events", "random 11"),
    ("geofence", "random 1"),
    ("location", "random 7"),
    ("rssi-events", "random 0"),
    ("switch-events", "random 7"),
];

#[test]
fn classic_records_read_as_they_did() {
    let frames = include_str!("../fixtures/conformance/classic.ndjson");
    for (topic, name) in CLASSIC {
        let stream = Stream::parse(&format!("classic/{topic}")).unwrap();
        agree("classic", topic, &stream, &frame(frames, topic, name));
    }
}

/// The conformance files have none.
#[test]
fn a_geofence_notice_on_the_location_topic_reads_as_it_did() {
    let notice = StreamGeofenceNotify {
        geofence_event: Some(ZoneEvent::ZoneIn.into()),
        geofence_id: Some(b"\x01\x02\x03\x04".as_slice().into()),
        geofence_name: Some("lobby".to_owned()),
        sta_eth_mac: Some(MacAddress {
            addr: Some(b"\xaa\xbb\xcc\xdd\xee\xff".as_slice().into()),
        }),
        associated: Some(false),
        dwell_time: Some(115),
        hashed_sta_eth_mac: Some("62ef fb".to_owned()),
    };
    let frame = MsgProto {
        subject: "location".to_owned(),
        data: notice.encode_to_vec().into(),
        timestamp: 1_700_000_000_000_000_000,
        customer_id: "0011223344556677".to_owned(),
        msp_id: String::new(),
    };
    let stream = Stream::parse("classic/location").unwrap();
    agree("classic", "geofence", &stream, &frame.encode_to_vec());
}

#[test]
fn new_central_records_read_as_they_did() {
    let frames = include_str!("../fixtures/conformance/new-central.ndjson");
    for (topic, name) in NEW {
        let stream = schema::known_event(topic).unwrap();
        agree("new", topic, &stream, &frame(frames, topic, name));
    }
}

fn frame(frames: &str, topic: &str, name: &str) -> Vec<u8> {
    let case = frames
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|case| case["topic"] == topic && case["name"] == name)
        .expect(name);
    STANDARD.decode(case["frame"].as_str().unwrap()).unwrap()
}

fn agree(generation: &str, file: &str, stream: &Stream, frame: &[u8]) {
    let schema = Descriptors::built_in();
    let tables = Tables::compile(schema.pool());
    let about = RecordMetadata {
        id: matches!(stream, Stream::Classic { .. }).then_some("0123456789abcdef0123456789abcdef"),
        account: Some("acme"),
        stream,
        received_at: Some(Timestamp(1_700_000_000_123_456)),
    };
    let envelope = Envelope::open(stream, frame).unwrap();
    let mut record = Vec::new();
    let subject = RecordData::of(&schema, &tables, about.stream, &envelope).unwrap();
    record::write(
        &tables,
        JsonStyle::Readable,
        &about,
        &envelope,
        &subject,
        &mut record,
    )
    .unwrap();
    let shown = indented(std::str::from_utf8(&record).unwrap());

    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/readable")
        .join(generation)
        .join(format!("{file}.json"));
    if env::var_os("REWRITE_FIXTURES").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, shown).unwrap();
    } else {
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            shown,
            "{generation}/{file}"
        );
    }
}

/// The same text over several lines: members keep their order, and numbers their digits.
fn indented(json: &str) -> String {
    let mut text = String::new();
    let (mut level, mut quoted, mut escaped) = (0, false, false);
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        if quoted {
            quoted = escaped || character != '"';
            escaped = !escaped && character == '\\';
            text.push(character);
            continue;
        }
        match character {
            '{' | '[' if !matches!(characters.peek(), Some('}' | ']')) => {
                level += 1;
                text.push(character);
                new_line(&mut text, level);
            }
            '}' | ']' if !text.ends_with(['{', '[']) => {
                level -= 1;
                new_line(&mut text, level);
                text.push(character);
            }
            ',' => {
                text.push(character);
                new_line(&mut text, level);
            }
            ':' => text.push_str(": "),
            _ => {
                quoted = character == '"';
                text.push(character);
            }
        }
    }
    text.push('\n');
    text
}

fn new_line(text: &mut String, level: usize) {
    text.push('\n');
    text.push_str(&"  ".repeat(level));
}
