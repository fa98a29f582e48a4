//! Encodings where Google's runtimes differ among themselves, or have no JSON to compare with;
//! `scripts/differential` has the others.

use central_forwarder::schema;
use central_forwarder::transcode::{JsonStyle, Tables, write_json};

fn written(name: &str, bytes: &[u8], style: JsonStyle) -> Result<String, String> {
    let tables = Tables::compile(&schema::built_in());
    let mut json = Vec::new();
    write_json(
        &tables,
        tables.message(name).unwrap(),
        bytes,
        style,
        &mut json,
    )
    .map(|()| String::from_utf8(json).unwrap())
    .map_err(|error| error.to_string())
}

#[test]
fn a_map_entry_with_an_unknown_field_is_an_entry_all_the_same() {
    assert_eq!(
        written(
            "google.protobuf.Struct",
            b"\x0a\x09\x0a\x01a\x12\x02\x20\x01\x18\x07",
            JsonStyle::Canonical
        )
        .as_deref(),
        Ok(r#"{"a":true}"#)
    );
}

#[test]
fn a_duration_of_any_number_of_seconds_is_written_or_refused() {
    let of = |seconds: i64| {
        let message = prost_types::Duration { seconds, nanos: 0 };
        let bytes = prost::Message::encode_to_vec(&message);
        written("google.protobuf.Duration", &bytes, JsonStyle::Canonical)
    };
    assert_eq!(of(-315_576_000_000).as_deref(), Ok("\"-315576000000s\""));
    for seconds in [-315_576_000_001, i64::MIN, i64::MAX] {
        assert_eq!(
            of(seconds).unwrap_err(),
            "duration out of range or of mixed sign at byte 0 of the payload \
             (google.protobuf.Duration)"
        );
    }
}

#[test]
fn an_any_of_an_unknown_type_is_readable_and_has_no_canonical_form() {
    let any = prost_types::Any {
        type_url: "x/not.Known".to_owned(),
        value: vec![1, 2],
    };
    let bytes = prost::Message::encode_to_vec(&any);
    assert_eq!(
        written("google.protobuf.Any", &bytes, JsonStyle::Readable).as_deref(),
        Ok(r#"{"@type":"x/not.Known","value":"AQI="}"#)
    );
    assert_eq!(
        written("google.protobuf.Any", &bytes, JsonStyle::Canonical).unwrap_err(),
        "an Any of a type that is not known at byte 0 of the payload (google.protobuf.Any)"
    );
}
