//! What the commands that look into a state folder have in common.

use std::io;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{ConfigArgs, Failure};
use crate::frame::Timestamp;
use crate::journal::Entry;

/// Where the state is: the daemon's, or a copy.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct StateArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The state's folder, or a copy of it; left out: the config's `state_dir`
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
}

impl StateArgs {
    /// # Errors
    /// The config is needed and has mistakes, or has no `state_dir`.
    pub(super) fn folder(&self) -> Result<PathBuf, Failure> {
        if let Some(folder) = &self.state_dir {
            return Ok(folder.clone());
        }
        let config = self.config.load().map_err(Failure::usage)?.config;
        config.state_dir.ok_or_else(|| {
            Failure::usage("the config has no state_dir: nothing outlives the daemon")
        })
    }
}

/// Nobody reads standard output any more: that is no failure.
pub(super) fn printed(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::at_run_time(error)),
        _ => Ok(()),
    }
}

/// A record as JSON, its frame in base64.
pub(super) fn json(entry: &Entry) -> Value {
    let frame = &entry.frame;
    let mut members = Map::new();
    let mut member = |name: &str, value: Value| members.insert(name.to_owned(), value);
    member("offset", json!(entry.offset));
    member("received_at", json!(time(frame.received_at)));
    member("account", json!(frame.subscription.account()));
    member("stream", json!(frame.subscription.stream().to_string()));
    if let Some(refusal) = &entry.refusal {
        member("sink", json!(refusal.sink));
        member("reason", json!(refusal.reason));
        member("refused_at", json!(time(refusal.refused_at)));
        member("times", json!(refusal.times));
    }
    member("frame", json!(STANDARD.encode(&frame.payload)));
    Value::Object(members)
}

/// An instant; one that has no RFC 3339 form as its number.
pub(super) fn time(at: Timestamp) -> String {
    at.rfc3339()
        .map_or_else(|| at.0.to_string(), |text| text.to_string())
}
