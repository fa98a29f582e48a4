//! Standard output and files: each format as a line of JSON.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use central_forwarder::simulator::sequence_of_frame;
use serde_json::Value;

use support::config::{Route, Sink};
use support::eventually;
use support::stand::{SINK, Stand, drain};

const A_WHILE: Duration = Duration::from_secs(60);
const COUNT: u64 = 3;
const FORMATS: [&str; 4] = ["json", "cloudevents", "protobuf", "frame"];

/// `decode` of frames, a line of base64 each.
fn decode(frames: &str) -> Vec<Value> {
    let mut decode = Command::new(support::program())
        .args([
            "decode",
            "--generation",
            "classic",
            "--topic",
            "audit",
            "--encoding",
            "base64",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = decode.stdin.take().unwrap();
    input.write_all(frames.as_bytes()).unwrap();
    drop(input);
    let output = decode.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let records = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    records.collect()
}

/// The four lines of one frame.
fn look_at(lines: &[Value], number: u64) -> String {
    let [json, event, message, frame] = lines else {
        panic!("{lines:?}");
    };
    assert_eq!((&event["id"], &event["data"]), (&json["id"], &json["data"]));
    for line in [event, message, frame] {
        assert_eq!(line["specversion"], "1.0");
        assert_eq!((&line["id"], &line["time"]), (&json["id"], &json["time"]));
        assert_eq!(line["source"], "/central/acme");
        assert_eq!(line["type"], "central.classic.audit");
        assert_eq!(
            (&line["account"], &line["topic"]),
            (&json["account"], &json["topic"])
        );
        assert_eq!(line["customerid"], json["customer_id"]);
        assert_eq!(line["messagetype"], json["type"]);
    }
    let kinds = [event, message, frame].map(|line| line["datacontenttype"].as_str().unwrap());
    assert_eq!(
        kinds,
        [
            "application/json",
            "application/protobuf",
            "application/octet-stream"
        ]
    );
    let bytes = |line: &Value| {
        STANDARD
            .decode(line["data_base64"].as_str().unwrap())
            .unwrap()
    };
    let (payload, whole) = (bytes(message), bytes(frame));
    assert_eq!(sequence_of_frame(&whole), Some(number));
    assert!(payload.len() < whole.len());
    assert!(whole.windows(payload.len()).any(|part| part == payload));
    frame["data_base64"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_format_is_a_line_with_its_metadata_and_frames_can_be_decoded_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    for sink in [Sink::stdout(), Sink::file(&path)] {
        let stand = Stand::new(&["audit"], 0, COUNT).await;
        let routes = FORMATS.map(|format| Route::all(SINK).line(format!("format = {format:?}")));
        stand.configure(&sink, &routes);
        let forwarder = stand.start();
        let owed = FORMATS.len() * usize::try_from(COUNT).unwrap();
        let mut text = String::new();
        eventually(A_WHILE, "all lines", || {
            text = fs::read_to_string(&path).unwrap_or_else(|_| forwarder.stdout());
            text.lines().count() == owed
        });
        drain(forwarder);
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let frames = (1..)
            .zip(lines.chunks(FORMATS.len()))
            .map(|(number, lines)| look_at(lines, number));
        let frames: Vec<String> = frames.collect();
        let decoded = decode(&frames.join("\n"));
        let data = |lines: &[Value]| {
            lines
                .iter()
                .map(|line| line["data"].clone())
                .collect::<Vec<_>>()
        };
        let json: Vec<Value> = lines.iter().step_by(FORMATS.len()).cloned().collect();
        assert_eq!(data(&decoded), data(&json));
    }
}
