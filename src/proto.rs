//! Central's messages as Rust types, generated from `proto/` by `build.rs`.
//!
//! The daemon reads messages through [`crate::transcode`], which needs no types; these are for what
//! builds messages: the simulator, the tests.
#![allow(
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated code"
)]

include!(concat!(env!("OUT_DIR"), "/proto.rs"));
