//! What Central's messages look like: the descriptors that are built in.

use prost_reflect::DescriptorPool;

/// The messages of both generations, and Google's well-known types.
///
/// # Panics
/// Never: the set is compiled with the program, and a test reads it.
#[must_use]
pub fn built_in() -> DescriptorPool {
    let set = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
    DescriptorPool::decode(&set[..]).expect("the descriptors come from our own build script")
}
