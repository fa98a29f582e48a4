//! What the tests share: real brokers, Kafka's own consumer, the forwarder's binary, and patience.
#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod authority;
pub(crate) mod brokers;
pub(crate) mod console_consumer;
pub(crate) mod forwarder;
pub(crate) mod kept;
pub(crate) mod http;
pub(crate) mod kafka_stand;
pub(crate) mod mosquitto;
pub(crate) mod order;
pub(crate) mod pika;
pub(crate) mod proxy;
pub(crate) mod python;
pub(crate) mod read_back;
pub(crate) mod schema_registry;
pub(crate) mod stand;
pub(crate) mod tunnel;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{process, thread};

const POLL: Duration = Duration::from_millis(20);

/// Waits until the condition holds.
///
/// # Panics
/// It did not hold within the time; `what` says what was waited for.
pub(crate) fn eventually(within: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(POLL);
    }
}

/// A name for a topic, queue or client that no other test and no other run uses.
pub(crate) fn fresh_name(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::UNIX_EPOCH
        .elapsed()
        .expect("the clock is past 1970")
        .as_millis();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{stem}-{since}-{}-{count}", process::id())
}
