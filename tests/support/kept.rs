//! What the forwarder said in a test, kept for `scripts/secrets`.

use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process, thread};

/// Keeps what a command has printed.
pub fn keep_output(output: Output) -> Output {
    for (what, text) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        keep(what, &String::from_utf8_lossy(text));
    }
    output
}

pub fn is_wanted() -> bool {
    folder().is_some()
}

fn folder() -> Option<PathBuf> {
    env::var_os("CF_TEST_KEEP").map(PathBuf::from)
}

/// Keeps a text in the folder that `CF_TEST_KEEP` names; without one it is not kept.
pub fn keep(what: &str, text: &str) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Some(folder) = folder() else { return };
    let by = thread::current().name().unwrap_or("test").replace(':', "-");
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{by}.{}.{count}.{what}", process::id());
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join(name), text).expect("the folder can be written to");
}
