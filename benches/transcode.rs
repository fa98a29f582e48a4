//! What it costs to write a frame's payload as JSON: ours, prost-reflect with `serde_json`, prost's
//! generated types with a serializer each (of Classic's topics, with the feature `serde-types`), and the
//! least that any way costs: a copy of the output.
//!
//! First comes the table of `docs/performance.md`: the ways are taken in turns, and of each its best
//! batch counts, so that whatever else the machine does meanwhile spoils no ratio. Then criterion
//! times each way by itself.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::env;
use std::hint::black_box;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use central_forwarder::frame::Stream;
use central_forwarder::schema::{self, Descriptors, Envelope, Payload};
use central_forwarder::transcode::{JsonStyle, MessageId, Tables, write_json};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

/// A payload of a topic's usual frames.
struct Sample {
    bytes: Vec<u8>,
    id: MessageId,
    descriptor: MessageDescriptor,
}

fn topics(schema: &Descriptors, tables: &Tables) -> Vec<(String, Vec<Sample>)> {
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

type Write = fn(&[Sample], &mut Vec<u8>);

#[cfg(not(feature = "serde-types"))]
fn with_generated_types(_: &str) -> Option<Write> {
    None
}

#[cfg(feature = "serde-types")]
fn with_generated_types(topic: &str) -> Option<Write> {
    use central_forwarder::proto::{apprf, audit, location, monitoring, presence, security};

    fn write<M: prost::Message + Default + serde::Serialize>(samples: &[Sample], to: &mut Vec<u8>) {
        for sample in samples {
            let message = M::decode(sample.bytes.as_slice()).expect("it decodes");
            serde_json::to_writer(&mut *to, &message).expect("it has a JSON form");
        }
    }

    Some(match topic {
        "classic apprf" => write::<apprf::ApprfSession>,
        "classic audit" => write::<audit::AuditMessage>,
        "classic location" => write::<location::StreamLocation>,
        "classic monitoring" => write::<monitoring::MonitoringInformation>,
        "classic presence" => write::<presence::PresenceEvent>,
        "classic security" => write::<security::RapidsStreamingEvent>,
        _ => return None,
    })
}

/// A way to write all frames of a topic, one after the other, into a buffer that is kept.
type Way<'a> = (&'static str, Box<dyn FnMut(&mut Vec<u8>) + 'a>);

fn way<'a>(name: &'static str, write: impl FnMut(&mut Vec<u8>) + 'a) -> Way<'a> {
    (name, Box::new(write))
}

fn ways<'a>(topic: &str, samples: &'a [Sample], tables: &'a Tables) -> Vec<Way<'a>> {
    let ours = |name, style| way(name, move |to| with_tables(tables, samples, style, to));
    let mut output = Vec::new();
    with_tables(tables, samples, JsonStyle::Canonical, &mut output);
    let mut ways = vec![
        ours("readable", JsonStyle::Readable),
        ours("canonical", JsonStyle::Canonical),
        way("prost-reflect", move |to| with_prost_reflect(samples, to)),
        way("copy of the output", move |to| {
            to.extend_from_slice(black_box(&output));
        }),
    ];
    if let Some(write) = with_generated_types(topic) {
        ways.push(way("prost and pbjson", move |to| write(samples, to)));
    }
    ways
}

/// Turns that each way of a topic gets, and how long each is.
const TURNS: usize = 7;
const TURN: Duration = Duration::from_millis(25);
/// Of one batch, of which the best counts: short enough for some of them to be left alone.
const BATCH: Duration = Duration::from_millis(1);

/// The table, unless criterion only tries out or lists what there is.
fn table(_: &mut Criterion) {
    if !env::args().any(|argument| argument == "--bench") {
        return;
    }
    let schema = Descriptors::built_in();
    let tables = Tables::compile(schema.pool());
    println!(
        "| topic | readable, frames/s | canonical, frames/s | canonical, MB/s | prost-reflect, \
         frames/s | readable : prost-reflect | canonical : prost-reflect | canonical : pbjson | \
         canonical : copy |\n|---|---|---|---|---|---|---|---|---|"
    );
    for (topic, samples) in topics(&schema, &tables) {
        let mut ways = ways(&topic, &samples, &tables);
        let mut seconds = vec![f64::MAX; ways.len()];
        let mut written = vec![Vec::new(); ways.len()];
        for _ in 0..TURNS {
            for (index, (_, write)) in ways.iter_mut().enumerate() {
                let best = one_turn(&mut written[index], write);
                seconds[index] = seconds[index].min(best);
            }
        }
        let frames = samples.len();
        let rate = |index: usize| rounded(frames as f64 / seconds[index]);
        let ratio = |index: usize, to: usize| seconds[to] / seconds[index];
        let to_pbjson = ways
            .get(4)
            .map_or_else(String::new, |_| format!("{:.1}", ratio(1, 4)));
        println!(
            "| {topic} | {} | {} | {:.0} | {} | {:.1} | {:.1} | {to_pbjson} | {:.2} |",
            rate(0),
            rate(1),
            written[1].len() as f64 / seconds[1] / 1e6,
            rate(2),
            ratio(0, 2),
            ratio(1, 2),
            ratio(1, 3),
        );
    }
}

/// The seconds that a way takes in the best batch of its turn.
fn one_turn(buffer: &mut Vec<u8>, write: &mut dyn FnMut(&mut Vec<u8>)) -> f64 {
    let mut once = || {
        buffer.clear();
        write(buffer);
        black_box(&*buffer);
    };
    let start = Instant::now();
    once();
    let rounds = BATCH.as_nanos() / start.elapsed().as_nanos().max(1) + 1;
    let mut best = f64::MAX;
    while start.elapsed() < TURN {
        let batch = Instant::now();
        (0..rounds).for_each(|_| once());
        best = best.min(batch.elapsed().as_secs_f64() / rounds as f64);
    }
    best
}

/// With a comma between thousands.
fn rounded(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn transcode(criterion: &mut Criterion) {
    let schema = Descriptors::built_in();
    let tables = Tables::compile(schema.pool());
    for (topic, samples) in topics(&schema, &tables) {
        let mut canonical = Vec::new();
        with_tables(&tables, &samples, JsonStyle::Canonical, &mut canonical);
        let mut group = criterion.benchmark_group(topic.clone());
        group.throughput(Throughput::Bytes(canonical.len() as u64));
        for (name, mut write) in ways(&topic, &samples, &tables) {
            let mut buffer = Vec::new();
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    buffer.clear();
                    write(&mut buffer);
                    black_box(&buffer);
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, table, transcode);
criterion_main!(benches);
