//! Payloads of every type, Central's and those of the test schemas: the first two bytes say which.
#![no_main]

use std::sync::LazyLock;

use central_forwarder::transcode::{MessageId, Tables};
use libfuzzer_sys::fuzz_target;

const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/fixtures/differential"
);

static KNOWN: LazyLock<(Tables, Vec<MessageId>)> = LazyLock::new(|| {
    let mut pool = central_forwarder::schema::built_in();
    let set = protox::compile(["everything2.proto", "everything3.proto"], [FOLDER])
        .expect("the test schemas compile");
    pool.add_file_descriptor_set(set)
        .expect("the test schemas stand beside Central's");
    let tables = Tables::compile(&pool);
    let mut names: Vec<String> = pool
        .all_messages()
        .map(|message| message.full_name().to_owned())
        .collect();
    names.sort();
    let ids = names
        .iter()
        .filter_map(|name| tables.message(name))
        .collect();
    (tables, ids)
});

fuzz_target!(|input: &[u8]| {
    let (tables, ids) = &*KNOWN;
    if let Some((choice, payload)) = input.split_first_chunk() {
        let id = ids[usize::from(u16::from_le_bytes(*choice)) % ids.len()];
        central_forwarder_fuzz::payload(tables, id, payload);
    }
});
