//! Frames of every topic against the JSON that Google's protobuf runtime prints for their payload.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use central_forwarder::frame::Stream;
use central_forwarder::schema::{self, Descriptors, Envelope, Payload};
use central_forwarder::transcode::{JsonStyle, Tables, write_json};
use serde_json::Value;

#[test]
fn classic_frames_are_written_as_googles_runtime_writes_them() {
    agree(
        include_str!("../fixtures/conformance/classic.ndjson"),
        80,
        |topic| Stream::Classic {
            topic: topic.to_owned(),
        },
    );
}

#[test]
fn new_central_frames_are_written_as_googles_runtime_writes_them() {
    agree(
        include_str!("../fixtures/conformance/new-central.ndjson"),
        96,
        |topic| schema::known_event(topic).expect("a known event"),
    );
}

fn agree(cases: &str, count: usize, stream: impl Fn(&str) -> Stream) {
    let schema = Descriptors::built_in();
    let tables = Tables::compile(schema.pool());
    let mut written = Vec::new();
    let mut seen = 0;
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| case[name].as_str().unwrap();
        let context = format!("{} {}", text("topic"), text("name"));

        let frame = STANDARD.decode(text("frame")).unwrap();
        let stream = stream(text("topic"));
        let envelope = Envelope::open(&stream, &frame).unwrap();
        let Payload::Message { bytes, type_url } = envelope.payload else {
            panic!("{context}: text");
        };
        let name = schema.payload_type(&stream, bytes, type_url).unwrap();
        assert_eq!(name, text("type"), "{context}");

        let id = tables.message(name).unwrap();
        written.clear();
        write_json(&tables, id, bytes, JsonStyle::Canonical, &mut written).expect(&context);
        assert_eq!(
            std::str::from_utf8(&written).unwrap(),
            compact(canonical_text(line)),
            "{context}"
        );
        let parsed: Value = serde_json::from_slice(&written).expect(&context);
        assert_eq!(parsed, case["canonical"], "{context}");
        seen += 1;
    }
    assert_eq!(seen, count);
}

/// The last member of the line, as it was printed.
fn canonical_text(line: &str) -> &str {
    let (_, text) = line.split_once("\"canonical\": ").unwrap();
    &text[..text.len() - 1]
}

/// Drops the spaces outside strings.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    json.chars()
        .filter(|&character| {
            let kept = quoted || character != ' ';
            match character {
                '"' if !escaped => quoted = !quoted,
                _ => {}
            }
            escaped = quoted && character == '\\' && !escaped;
            kept
        })
        .collect()
}
