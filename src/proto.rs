//! Central's messages as Rust types, generated from `proto/` by `build.rs`.
//!
//! The daemon reads messages with [`crate::transcode`], which needs no types. These are for the
//! simulator and the tests, which build messages.
#![allow(
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated code"
)]

include!(concat!(env!("OUT_DIR"), "/proto.rs"));
