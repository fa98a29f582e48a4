//! `decode` as a library: what it prints for good frames, and says for bad ones.

use central_forwarder::cli::decode::{Decoder, Encoding};
use central_forwarder::frame::Stream;
use central_forwarder::transcode::JsonStyle;
use prost::Message as _;
use prost_types::value::Kind;

struct Decoded {
    output: String,
    errors: String,
    failed: u64,
}

fn decode(stream: &str, style: JsonStyle, encoding: Encoding, input: &[u8]) -> Decoded {
    let decoder = Decoder::new(Stream::parse(stream).unwrap(), style);
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let failed = decoder
        .run(input, encoding, &mut output, &mut errors)
        .unwrap();
    Decoded {
        output: String::from_utf8(output).unwrap(),
        errors: String::from_utf8(errors).unwrap(),
        failed,
    }
}

/// A frame of Classic Central around `payload`.
fn classic(payload: &[u8]) -> Vec<u8> {
    central_forwarder::proto::stream_message::MsgProto {
        subject: "t".to_owned(),
        data: payload.to_vec().into(),
        timestamp: 1_700_000_000_000,
        customer_id: "c1".to_owned(),
        msp_id: "m1".to_owned(),
    }
    .encode_to_vec()
}

/// What is said of a payload that cannot be decoded.
#[test]
fn a_bad_frame_is_named_by_its_number_and_the_others_go_on() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    let good = classic(b"\x0a\x02c1");
    let input = format!(
        "{}\n\n!!!\r\n{}\n/w==\n{}",
        STANDARD.encode(&good),
        STANDARD.encode(classic(b"\x0a\x09c1")),
        STANDARD_NO_PAD.encode(&good)
    );
    let decoded = decode(
        "classic/security",
        JsonStyle::Readable,
        Encoding::Base64,
        input.as_bytes(),
    );
    assert_eq!(decoded.output.lines().count(), 2);
    assert_eq!(decoded.failed, 3);
    assert_eq!(
        decoded.errors.lines().collect::<Vec<_>>(),
        [
            "frame 2: not base64: Invalid symbol 33, offset 0.",
            "frame 3: length 9 reaches past the end at byte 1 of the payload \
             (Security.RapidsStreamingEvent.cust_id)",
            "frame 4: truncated varint at byte 0 of the frame (StreamMessage.MsgProto)",
        ]
    );
}

#[test]
fn an_empty_frame_is_an_error() {
    for stream in ["classic/audit", "new/network-monitoring/v1alpha1/ap-events"] {
        let decoded = decode(stream, JsonStyle::Readable, Encoding::Raw, b"");
        assert_eq!(decoded.failed, 1);
        assert_eq!(decoded.errors, "frame 1: the frame is empty, at byte 0\n");
    }
}

#[test]
fn every_prefix_and_every_damaged_byte_of_real_frames_ends_without_a_panic() {
    let cases = include_str!("../fixtures/conformance/classic.ndjson");
    let decoder = Decoder::new(
        Stream::parse("classic/monitoring").unwrap(),
        JsonStyle::Canonical,
    );
    let mut printed = 0;
    for line in cases.lines().filter(|line| line.contains("monitoring")) {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let frame = case["frame"].as_str().unwrap();
        let mut frame =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, frame).unwrap();
        frame.truncate(600);
        for place in 0..frame.len() {
            for damaged in [
                frame[..place].to_vec(),
                [&frame[..place], &[!frame[place]], &frame[place + 1..]].concat(),
            ] {
                let (mut output, mut errors) = (Vec::new(), Vec::new());
                decoder
                    .run(&damaged[..], Encoding::Raw, &mut output, &mut errors)
                    .unwrap();
                if errors.is_empty() {
                    serde_json::from_slice::<serde_json::Value>(&output).unwrap();
                    printed += 1;
                }
            }
        }
    }
    assert!(printed > 0);
}

#[test]
fn a_struct_may_be_nested_as_deep_as_googles_runtime_allows() {
    let wrap = |inner: prost_types::Value| prost_types::Value {
        kind: Some(Kind::ListValue(prost_types::ListValue {
            values: vec![inner],
        })),
    };
    let nested = |levels: usize| {
        let mut value = prost_types::Value {
            kind: Some(Kind::BoolValue(true)),
        };
        for _ in 0..levels {
            value = wrap(value);
        }
        let details = central_forwarder::proto::audittrail::AuditTrail {
            log_details: Some(central_forwarder::proto::audittrail::LogDetails {
                changed_json: Some(central_forwarder::proto::audittrail::ChangedJson {
                    before_transaction: Some(prost_types::Struct {
                        fields: [("a".to_owned(), value)].into(),
                    }),
                    after_transaction: None,
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let event = central_forwarder::proto::cloudevents::v1::CloudEvent {
            id: "e".to_owned(),
            data: Some(
                central_forwarder::proto::cloudevents::v1::cloud_event::Data::BinaryData(
                    details.encode_to_vec().into(),
                ),
            ),
            ..Default::default()
        };
        decode(
            "new/network-services/v1alpha1/audit-trail-events",
            JsonStyle::Readable,
            Encoding::Raw,
            &event.encode_to_vec(),
        )
    };
    // log_details, changed_json, before_transaction, the entry and its value are 5 levels, and each
    // list another two.
    let decoded = nested(47);
    assert_eq!((decoded.failed, decoded.errors.as_str()), (0, ""));
    assert!(decoded.output.contains(&"[".repeat(47)));
    let decoded = nested(48);
    assert_eq!(decoded.failed, 1);
    assert!(
        decoded
            .errors
            .contains("nested deeper than 100 levels at byte")
    );
    assert!(
        decoded
            .errors
            .contains("log_details.changed_json.before_transaction.fields.value")
    );
}

#[test]
fn length_delimited_frames_follow_each_other_and_a_cut_one_is_said() {
    let frame = classic(b"\x0a\x02c1");
    let mut input = Vec::new();
    for _ in 0..2 {
        input.push(u8::try_from(frame.len()).unwrap());
        input.extend_from_slice(&frame);
    }
    input.extend_from_slice(&[0x09, 0x01]);
    let decoded = decode(
        "classic/security",
        JsonStyle::Readable,
        Encoding::LengthDelimited,
        &input,
    );
    let line = r#"{"topic":"security","subject":"t","customer_id":"c1","msp_id":"m1","timestamp":1700000000000,"time":"2023-11-14T22:13:20.000Z","type":"Security.RapidsStreamingEvent","data":{"cust_id":"c1"}}"#;
    assert_eq!(decoded.output, format!("{line}\n{line}\n"));
    assert_eq!(
        (decoded.failed, decoded.errors.as_str()),
        (
            1,
            "frame 3: the input ends after 1 of the frame's 9 bytes\n"
        )
    );
}

#[test]
fn readable_data_has_addresses_text_and_numbers_as_people_read_them() {
    use central_forwarder::proto::monitoring::{
        Ap, DeviceStats, IpAddress, MacAddress, MonitoringInformation, Network, WirelessClient,
    };
    let mac = |addr: &'static [u8]| Some(MacAddress { addr: addr.into() });
    let ip = |addr: &'static [u8]| {
        Some(IpAddress {
            af: 2,
            addr: addr.into(),
        })
    };
    let information = MonitoringInformation {
        customer_id: "c1".to_owned(),
        data_elements: vec![13, 999],
        aps: vec![
            Ap {
                macaddr: mac(b"\xaa\xbb\xcc\xdd\xee\x0f"),
                ip_address: ip(b"\x0a\x01\x0a\x67"),
                status: Some(7),
                ..Ap::default()
            },
            Ap {
                macaddr: mac(b"AABBCCDDEE0F"),
                ip_address: ip(b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"),
                ..Ap::default()
            },
            Ap {
                macaddr: mac(b"\x01\x02"),
                ..Ap::default()
            },
        ],
        networks: vec![
            Network {
                essid: Some("Büro \"2\"".as_bytes().into()),
                ..Network::default()
            },
            Network {
                essid: Some(b"\xff\xfe".as_slice().into()),
                ..Network::default()
            },
        ],
        wireless_clients: vec![WirelessClient {
            network: Some(b"guest".as_slice().into()),
            ..WirelessClient::default()
        }],
        device_stats: vec![DeviceStats {
            uptime: Some(u64::MAX),
            ..DeviceStats::default()
        }],
        ..MonitoringInformation::default()
    };
    let frame = classic(&information.encode_to_vec());
    let data = |style| {
        let decoded = decode("classic/monitoring", style, Encoding::Raw, &frame);
        assert_eq!(decoded.errors, "");
        let (_, data) = decoded.output.trim_end().split_once("\"data\":").unwrap();
        data[..data.len() - 1].to_owned()
    };
    assert_eq!(
        data(JsonStyle::Readable),
        concat!(
            r#"{"customer_id":"c1","data_elements":["STAT_DEVICE",999],"aps":["#,
            r#"{"macaddr":"aa:bb:cc:dd:ee:0f","status":7,"ip_address":"10.1.10.103"},"#,
            r#"{"macaddr":"aa:bb:cc:dd:ee:0f","ip_address":"2001:db8::1"},"#,
            r#"{"macaddr":{"addr":"AQI="}}],"#,
            r#""networks":[{"essid":"Büro \"2\""},{"essid_base64":"//4="}],"#,
            r#""wireless_clients":[{"network":"guest"}],"#,
            r#""device_stats":[{"uptime":18446744073709551615}]}"#
        )
    );
    assert_eq!(
        data(JsonStyle::Canonical),
        concat!(
            r#"{"customer_id":"c1","data_elements":["STAT_DEVICE"],"aps":["#,
            r#"{"macaddr":{"addr":"qrvM3e4P"},"#,
            r#""ip_address":{"af":"ADDR_FAMILY_INET","addr":"CgEKZw=="}},"#,
            r#"{"macaddr":{"addr":"QUFCQkNDRERFRTBG"},"#,
            r#""ip_address":{"af":"ADDR_FAMILY_INET","addr":"IAENuAAAAAAAAAAAAAAAAQ=="}},"#,
            r#"{"macaddr":{"addr":"AQI="}}],"#,
            r#""networks":[{"essid":"QsO8cm8gIjIi"},{"essid":"//4="}],"#,
            r#""wireless_clients":[{"network":"Z3Vlc3Q="}],"#,
            r#""device_stats":[{"uptime":"18446744073709551615"}]}"#
        )
    );
}
