//! Log lines go to standard error: standard output belongs to records.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use crate::config::{Log, LogFormat};

/// Installs the process's subscriber.
pub(super) fn install(log: &Log) {
    let builder = tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_env_filter(EnvFilter::new(&log.filter).add_directive(without_lapin()))
        .with_target(false);
    match log.format {
        LogFormat::Text => builder.with_ansi(wants_colour()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

/// lapin logs whole messages when they are returned, and the password when its frames are traced. Its
/// errors say what fails.
fn without_lapin() -> Directive {
    "lapin=off".parse().expect("a directive as documented")
}

fn wants_colour() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
