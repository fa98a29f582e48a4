//! Whatever is malformed is an error that says what is wrong, at which byte, and in which field:
//! envelopes, payloads by every way that they are read, and descriptors.

use std::fs;

use central_forwarder::config::{JsonStyle, Pick, Schemas};
use central_forwarder::frame::Stream;
use central_forwarder::record::{Content, RecordData, SplitPayload};
use central_forwarder::schema::{self, Descriptors, Envelope};
use central_forwarder::transcode::{DecodeError, FieldPath, Tables, write_json};

const MONITORING: &str = "Monitoring.MonitoringInformation";

fn tables() -> Tables {
    Tables::compile(&schema::built_in())
}

/// Every kind of malformed bytes, in a field of each depth and none.
fn malformed() -> Vec<(Vec<u8>, &'static str)> {
    let groups = [vec![0x0b; 101], vec![0x0c; 101]].concat();
    let cases: &[(&[u8], &str)] = &[
        (
            b"\x0a\x02c1\xb8\x02\xff",
            "truncated varint at byte 6 of the payload (M.timestamp)",
        ),
        (
            b"\x0a\x02c1\xb8\x02",
            "truncated varint at byte 6 of the payload (M.timestamp)",
        ),
        (b"\xb8", "truncated varint at byte 0 of the payload (M)"),
        (
            b"\x0a",
            "truncated varint at byte 1 of the payload (M.customer_id)",
        ),
        (
            b"\x22\x08\x12\x09SERIAL",
            "length 9 reaches past the end at byte 3 of the payload (M.aps.serial)",
        ),
        (
            b"\x0a\x03c1",
            "length 3 reaches past the end at byte 1 of the payload (M.customer_id)",
        ),
        (
            b"\x22\x09\x12\x01S",
            "length 9 reaches past the end at byte 1 of the payload (M.aps)",
        ),
        (
            b"\x0a\x02c1\xfa\x50\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "length 18446744073709551615 reaches past the end at byte 6 of the payload (M.1295)",
        ),
        (
            b"\xb8\x02\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
            "varint longer than 10 bytes at byte 2 of the payload (M.timestamp)",
        ),
        (
            b"\xad\x50\x01\x02",
            "truncated fixed-width value at byte 2 of the payload (M.1285)",
        ),
        (
            b"\x22\x03\xa9\x50\x01",
            "truncated fixed-width value at byte 4 of the payload (M.aps.1285)",
        ),
        (
            b"\x0a\x02c1\x0b\x08\x01",
            "group without an end at byte 5 of the payload (M.1)",
        ),
        (
            b"\x0a\x02c1\x0c",
            "end of a group that was not begun at byte 5 of the payload (M)",
        ),
        (
            b"\x0b\x14\x0c",
            "end of a group that was not begun at byte 1 of the payload (M.1)",
        ),
        (
            b"\x0a\x02c1\x0e",
            "wire type 6 does not exist at byte 4 of the payload (M)",
        ),
        (
            b"\x22\x01\x0f",
            "wire type 7 does not exist at byte 2 of the payload (M.aps)",
        ),
        (b"\x00\x01", "field number 0 at byte 0 of the payload (M)"),
        (
            b"\x22\x02\x00\x01",
            "field number 0 at byte 2 of the payload (M.aps)",
        ),
        (
            b"\x80\x80\x80\x80\x20\x00",
            "field number out of range at byte 0 of the payload (M)",
        ),
        (
            &groups,
            "nested deeper than 100 levels at byte 101 of the payload (M.1)",
        ),
        // The same behind a field that is out of order, and in the second piece of a message.
        (
            b"\xb8\x02\x01\x0a\x03c1",
            "length 3 reaches past the end at byte 4 of the payload (M.customer_id)",
        ),
        (
            b"\xb8\x02\x01\x22\x02\x12\x05",
            "length 5 reaches past the end at byte 6 of the payload (M.aps.serial)",
        ),
    ];
    let whole = |text: &str| text.replace("(M", &format!("({MONITORING}"));
    cases
        .iter()
        .map(|(bytes, text)| (bytes.to_vec(), &*whole(text).leak()))
        .collect()
}

fn written(name: &str, style: JsonStyle, bytes: &[u8]) -> Result<String, DecodeError> {
    let tables = tables();
    let mut json = b"before".to_vec();
    let result = write_json(
        &tables,
        tables.message(name).unwrap(),
        bytes,
        style,
        &mut json,
    );
    if result.is_err() {
        assert_eq!(json, b"before", "half of a record was left");
    }
    result.map(|()| String::from_utf8(json).unwrap())
}

#[test]
fn a_payload_in_either_style() {
    for style in [JsonStyle::Canonical, JsonStyle::Readable] {
        for (bytes, expected) in malformed() {
            let error = written(MONITORING, style, &bytes).unwrap_err();
            assert_eq!(error.to_string(), expected, "{style:?} {bytes:02x?}");
        }
    }
}

#[test]
fn a_payload_that_is_taken_apart_or_filtered() {
    let (schema, tables) = (Descriptors::built_in(), tables());
    let stream = Stream::parse("classic/monitoring").unwrap();
    let serial = ["aps", "serial"].map(str::to_owned);
    let id = tables.message(MONITORING).unwrap();
    let serial = FieldPath::compile(&tables, id, &serial).unwrap();
    let aps = || vec!["aps".to_owned()];
    let split = |elements| Pick {
        split: true,
        elements,
        ..Pick::default()
    };
    let kept = Pick {
        elements: aps(),
        ..Pick::default()
    };
    for (bytes, expected) in malformed() {
        let name = schema.payload_type(&stream, &bytes, None).unwrap();
        assert_eq!(name, MONITORING);
        let content = Content::Message {
            id,
            name,
            bytes: &bytes,
            remainder: None,
        };
        let whole = RecordData {
            content,
            element: None,
        };
        for pick in [split(Vec::new()), split(aps()), kept.clone()] {
            let error = written_apart(whole, &tables, &pick).unwrap_err();
            assert_eq!(error.to_string(), expected, "{pick:?} {bytes:02x?}");
        }
        let error = serial.visit(&tables, &bytes, |_| true).unwrap_err();
        assert_eq!(error.to_string(), expected, "filter {bytes:02x?}");
    }
}

fn written_apart(whole: RecordData, tables: &Tables, pick: &Pick) -> Result<(), DecodeError> {
    let style = JsonStyle::Readable;
    let parts = SplitPayload::of(whole, tables, pick, Some(style))?;
    for subject in parts.records(tables) {
        let mut json = Vec::new();
        match subject.content {
            Content::Message {
                remainder: Some(remainder),
                ..
            } => remainder.write_json(tables, style, &mut json)?,
            Content::Message { id, bytes, .. } => {
                write_json(tables, id, bytes, style, &mut json)
                    .map_err(|error| subject.locate_in_payload(error))?;
            }
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

/// A field of bytes or a message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut field).unwrap();
    [field, bytes.to_vec()].concat()
}

#[test]
fn what_has_no_json_form() {
    let late = b"\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    let any = |kind: &str, value: &[u8]| {
        [field(1, format!("x/{kind}").as_bytes()), field(2, value)].concat()
    };
    let nan = b"\x11\x00\x00\x00\x00\x00\x00\xf8\x7f";
    let structure = field(1, &[field(1, b"key"), field(2, nan)].concat());
    for (name, bytes, expected) in [
        (
            MONITORING,
            field(1, b"ok\xff!"),
            "invalid UTF-8 in a string at byte 4 of the payload (Monitoring.MonitoringInformation.customer_id)",
        ),
        (
            "google.protobuf.Struct",
            field(1, &field(1, b"\xc3")),
            "invalid UTF-8 in a string at byte 4 of the payload (google.protobuf.Struct.fields.key)",
        ),
        (
            "google.protobuf.Struct",
            structure,
            "a Value that is not a finite number at byte 10 of the payload \
             (google.protobuf.Struct.fields.value.number_value)",
        ),
        (
            "google.protobuf.Any",
            any("google.protobuf.Timestamp", late),
            "time outside the years 1 to 9999 at byte 31 of the payload (google.protobuf.Any.value)",
        ),
        (
            "google.protobuf.Any",
            any("google.protobuf.Timestamp", b"\x08"),
            "truncated varint at byte 32 of the payload (google.protobuf.Any.value.seconds)",
        ),
        (
            "google.protobuf.Any",
            any("google.protobuf.Duration", late),
            "duration out of range or of mixed sign at byte 30 of the payload (google.protobuf.Any.value)",
        ),
        (
            "google.protobuf.Any",
            any("not.Known", b""),
            "an Any of a type that is not known at byte 0 of the payload (google.protobuf.Any)",
        ),
        (
            "google.protobuf.FieldMask",
            [field(1, b"a_b"), field(1, b"camelCase")].concat(),
            "a field mask path that is not lower_snake_case at byte 7 of the payload \
             (google.protobuf.FieldMask.paths)",
        ),
    ] {
        let error = written(name, JsonStyle::Canonical, &bytes).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn messages_that_are_nested_too_deep() {
    // A Value that is nothing, in a list.
    let mut list = field(1, b"");
    for _ in 0..50 {
        // A Value that is a list, in a list.
        list = field(1, &field(6, &list));
    }
    let error = written("google.protobuf.ListValue", JsonStyle::Canonical, &list).unwrap_err();
    assert_eq!(error.offset, list.len(), "the innermost one is empty");
    assert_eq!(
        error.to_string(),
        format!(
            "nested deeper than 100 levels at byte {} of the payload (google.protobuf.ListValue{}.values)",
            error.offset,
            ".values.list_value".repeat(50)
        )
    );
}

/// Opens frames of a stream that are malformed; `@` stands for the envelope's message.
fn assert_refused(stream: &str, message: &str, cases: &[(Vec<u8>, &str)]) {
    let stream = Stream::parse(stream).unwrap();
    for (frame, expected) in cases {
        let error = Envelope::open(&stream, frame).unwrap_err();
        let expected = expected.replace('@', message);
        assert_eq!(error.to_string(), expected, "{frame:02x?}");
    }
}

#[test]
fn an_envelope_of_classic_central() {
    let groups = [vec![0x0b; 101], vec![0x0c; 101]].concat();
    let cases: &[(Vec<u8>, &str)] = &[
        (Vec::new(), "the frame is empty, at byte 0"),
        (
            b"\xff".to_vec(),
            "truncated varint at byte 0 of the frame (@)",
        ),
        (
            b"\x12\x05ab".to_vec(),
            "length 5 reaches past the end at byte 1 of the frame (@.subject)",
        ),
        (
            b"\x1a\x05ab".to_vec(),
            "length 5 reaches past the end at byte 1 of the frame (@.data)",
        ),
        (
            b"\x20".to_vec(),
            "truncated varint at byte 1 of the frame (@.timestamp)",
        ),
        (
            field(5, b"\xff"),
            "invalid UTF-8 in a string at byte 2 of the frame (@.customer_id)",
        ),
        (
            field(6, b"ab\xc3"),
            "invalid UTF-8 in a string at byte 4 of the frame (@.msp_id)",
        ),
        (
            b"\x49\x01".to_vec(),
            "truncated fixed-width value at byte 1 of the frame (@.9)",
        ),
        (
            b"\x1f".to_vec(),
            "wire type 7 does not exist at byte 0 of the frame (@)",
        ),
        (
            b"\x02".to_vec(),
            "field number 0 at byte 0 of the frame (@)",
        ),
        (
            groups,
            "nested deeper than 100 levels at byte 101 of the frame (@.1)",
        ),
    ];
    assert_refused("classic/monitoring", "StreamMessage.MsgProto", cases);
}

#[test]
fn an_envelope_of_new_central() {
    let attribute = |value: &[u8]| field(5, &[field(1, b"k"), field(2, value)].concat());
    let cases: &[(Vec<u8>, &str)] = &[
        (Vec::new(), "the frame is empty, at byte 0"),
        (
            b"\x0a\x09e1".to_vec(),
            "length 9 reaches past the end at byte 1 of the frame (@.id)",
        ),
        (
            field(2, b"\xff"),
            "invalid UTF-8 in a string at byte 2 of the frame (@.source)",
        ),
        (
            field(7, b"{\xff"),
            "invalid UTF-8 in a string at byte 3 of the frame (@.text_data)",
        ),
        (
            field(8, b"\x0a\x05x"),
            "length 5 reaches past the end at byte 3 of the frame (@.proto_data.type_url)",
        ),
        (
            field(8, b"\x12\x05x"),
            "length 5 reaches past the end at byte 3 of the frame (@.proto_data.value)",
        ),
        (
            field(9, b"\x08\xff"),
            "truncated varint at byte 3 of the frame (@.time.seconds)",
        ),
        (
            field(5, b"\x0a\x05k"),
            "length 5 reaches past the end at byte 3 of the frame (@.attributes.key)",
        ),
        (
            attribute(b"\x1a\x01\xff"),
            "invalid UTF-8 in a string at byte 9 of the frame (@.attributes.value.ce_string)",
        ),
        (
            attribute(&field(7, b"\x08\xff")),
            "truncated varint at byte 10 of the frame (@.attributes.value.ce_timestamp.seconds)",
        ),
        (
            field(1, b"e1"),
            "the event \"e1\" carries no data: none up to byte 4 of the frame (@.data)",
        ),
    ];
    let stream = "new/network-monitoring/v1alpha1/ap-events";
    assert_refused(stream, "cloudevents.v1.CloudEvent", cases);
}

/// What loading says of a file with these bytes, without the folder.
fn loaded(file: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(file), bytes).unwrap();
    let schemas = Schemas::of_argument("--schema", vec![folder.path().join(file)]);
    let said = Descriptors::load(&schemas).unwrap_err().to_string();
    said.replace(
        &format!("{}{}", folder.path().display(), std::path::MAIN_SEPARATOR),
        "",
    )
}

#[test]
fn a_file_of_descriptors() {
    let file = |bytes: &[u8]| field(1, bytes);
    for (bytes, expected) in [
        (
            b"\xff".to_vec(),
            "truncated varint at byte 0 of the file (S)",
        ),
        (
            b"\x0a\x05ab".to_vec(),
            "length 5 reaches past the end at byte 1 of the file (S.file)",
        ),
        (
            file(b"\x0a\x05ab"),
            "length 5 reaches past the end at byte 3 of the file (S.file.name)",
        ),
        (
            file(&field(4, &field(2, b"\x18"))),
            "truncated varint at byte 7 of the file (S.file.message_type.field.number)",
        ),
        (
            file(&field(1, b"\xff")),
            "invalid UTF-8 in a string at byte 4 of the file (S.file.name)",
        ),
    ] {
        let expected = format!(
            "x.binpb: is not a descriptor set: {} (write one with protoc --include_imports \
             --descriptor_set_out)",
            expected.replace("(S", "(google.protobuf.FileDescriptorSet")
        );
        assert_eq!(loaded("x.binpb", &bytes), expected);
    }
}

#[test]
fn a_proto_file() {
    for (text, place) in [
        (
            "syntax = \"proto3\";\nmessage X {\n  strin a = ;\n}\n",
            "x.proto:3:13: expected ",
        ),
        ("message X {\n", "x.proto:1:12: "),
        ("message X {\n  optional Y y = 1;\n}\n", "x.proto:2:12: "),
        (
            "message X {\n  optional int32 y = 1;\n  optional int32 z = 1;\n}\n",
            "x.proto:3:",
        ),
        ("import \"none.proto\";\n", "x.proto:1:"),
        ("syntax = \"proto9\";\n", "x.proto:1:"),
    ] {
        let said = loaded("x.proto", text.as_bytes());
        assert!(said.starts_with(place), "{text}: {said}");
    }
}
