//! Whole frames of both generations, as they come from Central.
#![no_main]

use std::sync::LazyLock;

use central_forwarder::frame::{Stream, Timestamp};
use central_forwarder::record::{self, RecordData, RecordMetadata};
use central_forwarder::schema::{Descriptors, Envelope};
use central_forwarder::transcode::{JsonStyle, Tables};
use libfuzzer_sys::fuzz_target;

const STREAMS: [&str; 4] = [
    "classic/monitoring",
    "classic/location",
    "new/network-monitoring/v1alpha1/ap-events",
    "new/network-services/v1alpha1/audit-trail-events",
];

static KNOWN: LazyLock<(Descriptors, Tables, Vec<Stream>)> = LazyLock::new(|| {
    let schema = Descriptors::built_in();
    let tables = Tables::compile(schema.pool());
    let streams = STREAMS.iter().filter_map(|name| Stream::parse(name));
    (schema, tables, streams.collect())
});

fuzz_target!(|input: &[u8]| {
    let (schema, tables, streams) = &*KNOWN;
    let Some((choice, frame)) = input.split_first() else {
        return;
    };
    let stream = &streams[usize::from(*choice) % streams.len()];
    let Ok(envelope) = Envelope::open(stream, frame) else {
        return;
    };
    let about = RecordMetadata {
        id: Some("id"),
        account: Some("acme"),
        stream,
        received_at: Some(Timestamp(1_700_000_000_123_456)),
    };
    for style in [JsonStyle::Readable, JsonStyle::Canonical] {
        let mut json = Vec::new();
        let Ok(subject) = RecordData::of(schema, tables, stream, &envelope) else {
            return;
        };
        match record::write(tables, style, &about, &envelope, &subject, &mut json) {
            Ok(()) => central_forwarder_fuzz::is_json(&json),
            Err(_) => assert!(json.is_empty()),
        }
    }
});
