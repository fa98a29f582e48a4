//! Frames go from Central's sockets into a journal, and each sink reads the journal with a cursor
//! of its own.
//!
//! ```text
//!  Central ──ws──▶ central::subscription ──Frame──▶ journal ──cursor per sink──▶ delivery ──Record──▶ sink ──▶ broker
//!                  (connect, keys, backoff)        (append, fsync)              (schema, transcode,   (one try, ▲
//!                                                                                route, retry)         confirm)─┘ cursor moves
//! ```
//!
//! Central never sends anything twice, so the one thing that must never wait is the socket:
//! appending raw frames is the least work that makes them safe. Everything after the journal may be
//! slow, fail, restart or be configured anew, and begins again from its cursor.
//!
//! The modules stand in the order in which data passes.

pub mod cli;
pub mod config;
pub mod central;
pub mod frame;
pub mod journal;
pub mod event;
pub mod proto;
pub mod schema;
pub mod transcode;
pub mod record;
pub mod route;
pub mod sink;
pub mod delivery;
pub mod daemon;
pub mod admin;
pub mod simulator;
pub mod backoff;
pub mod connection;
pub mod histogram;
pub mod net;
pub mod process;
pub mod rfc3339;
pub mod streams;
mod supervise;
mod sync;
pub mod wire;
