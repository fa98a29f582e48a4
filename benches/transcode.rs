//! What it costs to write a frame's payload as JSON: ours, prost-reflect with `serde_json`, and the
//! least that any other way would cost: prost's generated types without writing anything, and a
//! copy of the output.

use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use central_forwarder::frame::Stream;
use central_forwarder::proto;
use central_forwarder::schema::{self, Envelope, Payload, Schema};
use central_forwarder::transcode::{JsonStyle, MessageId, Tables, write_json};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

/// A payload of a topic's usual frames.
struct Sample {
    bytes: Vec<u8>,
    id: MessageId,
    descriptor: MessageDescriptor,
}

fn topics(schema: &Schema, tables: &Tables) -> Vec<(String, Vec<Sample>)> {
    let classic = include_str!("../tests/fixtures/conformance/classic.ndjson");
    let new = include_str!("../tests/fixtures/conformance/new-central.ndjson");
    let mut topics: Vec<(String, Vec<Sample>)> = Vec::new();
    for line in classic.lines().chain(new.lines()) {
        let case: Value = serde_json::from_str(line).expect("the fixtures are JSON");
        let text = |name: &str| case[name].as_str().expect("a string");
        // The other ones show what is rare.
        if !text("name").starts_with("random") {
            continue;
        }
        let topic = text("topic");
        let (topic, stream) = match schema::known_event(topic) {
            Some(stream) if !classic.contains(line) => (format!("new {topic}"), stream),
            _ => (
                format!("classic {topic}"),
                Stream::parse(&format!("classic/{topic}")).expect("a topic"),
            ),
        };
        let frame = STANDARD.decode(text("frame")).expect("base64");
        let envelope = Envelope::open(&stream, &frame).expect("a good frame");
        let Payload::Message { bytes, type_url } = envelope.payload else {
            continue;
        };
        let name = schema
            .payload_type(&stream, bytes, type_url)
            .expect("a known type");
        let sample = Sample {
            bytes: bytes.to_vec(),
            id: tables.message(name).expect("a known type"),
            descriptor: schema
                .pool()
                .get_message_by_name(name)
                .expect("a known type"),
        };
        match topics.iter_mut().find(|(known, _)| *known == topic) {
            Some((_, samples)) => samples.push(sample),
            None => topics.push((topic, vec![sample])),
        }
    }
    topics
}

fn with_prost_reflect(samples: &[Sample], to: &mut Vec<u8>) {
    let options = SerializeOptions::new().use_proto_field_name(true);
    for sample in samples {
        let message = DynamicMessage::decode(sample.descriptor.clone(), sample.bytes.as_slice())
            .expect("it decodes");
        message
            .serialize_with_options(&mut serde_json::Serializer::new(&mut *to), &options)
            .expect("it has a JSON form");
    }
}

fn with_tables(tables: &Tables, samples: &[Sample], style: JsonStyle, to: &mut Vec<u8>) {
    for sample in samples {
        write_json(tables, sample.id, &sample.bytes, style, to).expect("it has a JSON form");
    }
}

/// One round writes all frames of the topic, one after the other, into a buffer that is kept.
fn round(group: &mut BenchmarkGroup<WallTime>, name: &str, mut write: impl FnMut(&mut Vec<u8>)) {
    let mut buffer = Vec::new();
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            buffer.clear();
            write(&mut buffer);
            black_box(&buffer);
        });
    });
}

fn transcode(criterion: &mut Criterion) {
    let schema = Schema::built_in();
    let tables = Tables::compile(schema.pool());
    for (topic, samples) in topics(&schema, &tables) {
        let mut canonical = Vec::new();
        with_tables(&tables, &samples, JsonStyle::Canonical, &mut canonical);
        let mut reflected = Vec::new();
        with_prost_reflect(&samples, &mut reflected);
        println!(
            "{topic}: {} frames, {} bytes of protobuf, {} bytes of JSON, {} by prost-reflect",
            samples.len(),
            samples
                .iter()
                .map(|sample| sample.bytes.len())
                .sum::<usize>(),
            canonical.len(),
            reflected.len()
        );

        let mut group = criterion.benchmark_group(topic.clone());
        group.throughput(Throughput::Bytes(canonical.len() as u64));
        round(&mut group, "readable", |to| {
            with_tables(&tables, &samples, JsonStyle::Readable, to);
        });
        round(&mut group, "canonical", |to| {
            with_tables(&tables, &samples, JsonStyle::Canonical, to);
        });
        round(&mut group, "prost-reflect", |to| {
            with_prost_reflect(&samples, to);
        });
        if topic == "classic monitoring" {
            round(&mut group, "prost, no JSON", |_| {
                for sample in &samples {
                    let message =
                        proto::monitoring::MonitoringInformation::decode(sample.bytes.as_slice());
                    black_box(message.expect("it decodes"));
                }
            });
        }
        round(&mut group, "copy of the output", |to| {
            to.extend_from_slice(black_box(&canonical));
        });
        group.finish();
    }
}

criterion_group!(benches, transcode);
criterion_main!(benches);
