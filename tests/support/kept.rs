//! What the forwarder said in a test, kept for `scripts/secrets`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process, thread};

/// Keeps a text in the folder that `CF_TEST_KEEP` names; without one it is not kept.
pub(crate) fn keep(what: &str, text: &str) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Some(folder) = env::var_os("CF_TEST_KEEP").map(PathBuf::from) else {
        return;
    };
    let by = thread::current().name().unwrap_or("test").replace(':', "-");
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{by}.{}.{count}.{what}", process::id());
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join(name), text).expect("the folder can be written to");
}
