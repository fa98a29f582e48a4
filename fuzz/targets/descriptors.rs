//! Descriptor sets, as an operator may hand them to us, and a payload for every message in them.
#![no_main]

use std::panic;

use central_forwarder::transcode::Tables;
use libfuzzer_sys::fuzz_target;
use prost_reflect::DescriptorPool;

/// Fields 1 to 15 of every wire type, in order and then again.
const PAYLOAD: &[u8] = b"\x08\x01\x12\x01a\x1d\0\0\0\x01\x21\0\0\0\0\0\0\0\x01\x28\x05\x32\0\x3a\x02\x08\x01\x40\x01\x4a\x01b\
      \x08\x02\x12\x01c\x0b\x08\x01\x0c\x15\0\0\0\0\x19\0\0\0\0\0\0\0\0";

fuzz_target!(|input: &[u8]| {
    let Some(pool) = pool(input) else {
        return;
    };
    let tables = Tables::compile(&pool);
    for message in pool.all_messages() {
        let id = tables
            .message(message.full_name())
            .expect("it was compiled");
        central_forwarder_fuzz::payload(&tables, id, PAYLOAD);
    }
});

/// prost-reflect 0.16.5 panics where it is to say what is wrong with some sets, such as one whose
/// first file has a name twice; this catches that, and any panic of our own goes on to libFuzzer.
fn pool(set: &[u8]) -> Option<DescriptorPool> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let decoded = panic::catch_unwind(|| DescriptorPool::decode(set));
    panic::set_hook(hook);
    decoded.ok()?.ok()
}
