//! What transcoding allocates: nothing, once the buffer that it writes to has grown.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use central_forwarder::frame::Stream;
use central_forwarder::proto::monitoring::{MacAddress, MonitoringInformation, RadioStats};
use central_forwarder::schema::{Descriptors, Envelope, Payload};
use central_forwarder::transcode::{JsonStyle, Tables, write_json};
use prost::Message as _;
use serde_json::Value;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: all of it is the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations it takes to write `payload` the second time.
fn warm_allocations(tables: &Tables, name: &str, payload: &[u8], style: JsonStyle) -> u64 {
    let id = tables.message(name).unwrap();
    let mut buffer = Vec::new();
    write_json(tables, id, payload, style, &mut buffer).unwrap();
    buffer.clear();
    let before = ALLOCATIONS.get();
    write_json(tables, id, payload, style, &mut buffer).unwrap();
    ALLOCATIONS.get() - before
}

#[test]
fn a_message_of_any_number_of_fields_is_written_without_an_allocation() {
    let tables = Tables::compile(Descriptors::built_in().pool());
    for elements in [1, 10, 1000] {
        let stats = RadioStats {
            device_id: Some("CN12345678".to_owned()),
            macaddr: Some(MacAddress {
                addr: b"\xaa\xbb\xcc\xdd\xee\xff".as_slice().into(),
            }),
            tx_bytes: Some(86400),
            ..RadioStats::default()
        };
        let information = MonitoringInformation {
            customer_id: "c1".to_owned(),
            data_elements: vec![13; elements],
            radio_stats: vec![stats; elements],
            ..MonitoringInformation::default()
        };
        let payload = information.encode_to_vec();
        for style in [JsonStyle::Readable, JsonStyle::Canonical] {
            let name = "Monitoring.MonitoringInformation";
            assert_eq!(warm_allocations(&tables, name, &payload, style), 0);
        }
    }
}

#[test]
fn the_usual_frames_of_every_classic_topic_are_written_without_an_allocation() {
    let schema = Descriptors::built_in();
    let tables = Tables::compile(schema.pool());
    let mut frames = 0;
    for line in include_str!("fixtures/conformance/classic.ndjson").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| case[name].as_str().unwrap();
        if !text("name").starts_with("random") {
            continue;
        }
        let stream = Stream::parse(&format!("classic/{}", text("topic"))).unwrap();
        let frame = STANDARD.decode(text("frame")).unwrap();
        let envelope = Envelope::open(&stream, &frame).unwrap();
        let Payload::Message { bytes, .. } = envelope.payload else {
            panic!("text");
        };
        for style in [JsonStyle::Readable, JsonStyle::Canonical] {
            let allocations = warm_allocations(&tables, text("type"), bytes, style);
            assert_eq!(allocations, 0, "{} {}", text("topic"), text("name"));
        }
        frames += 1;
    }
    assert_eq!(frames, 72);
}
