//! What tests and benchmarks share: the forwarder's binary, real brokers and readers that share no code
//! with the forwarder, servers and proxies that misbehave, and waiting for a condition.

pub mod authority;
pub mod brokers;
pub mod config;
pub mod console_consumer;
pub mod forwarder;
pub mod http;
pub mod inbox;
pub mod kept;
pub mod mosquitto;
pub mod order;
pub mod pika;
pub mod proxy;
pub mod python;
pub mod read_back;
pub mod schema_registry;
pub mod servers;
pub mod stand;
pub mod subscribe;
pub mod tunnel;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, process, thread};

const POLL: Duration = Duration::from_millis(20);

/// Waits until the condition holds.
///
/// # Panics
/// It did not hold within the time; `what` says what was waited for.
pub fn eventually(within: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(POLL);
    }
}

/// The forwarder's binary, which Cargo builds into the folder above the one with the tests.
///
/// # Panics
/// It was not built: a test is to be run by Cargo.
pub fn program() -> PathBuf {
    let test = env::current_exe().expect("the path of this program");
    let folder = test.ancestors().nth(2).expect("PROFILE/deps/TEST");
    let program = folder.join("central-forwarder");
    assert!(program.is_file(), "{} is not there", program.display());
    program
}

/// A name for a topic, queue or client that no other test and no other run uses.
pub fn fresh_name(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::UNIX_EPOCH
        .elapsed()
        .expect("the clock is past 1970")
        .as_millis();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{stem}-{since}-{}-{count}", process::id())
}
