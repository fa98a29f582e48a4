//! The TOML as it is written, each value of the right form and nothing known about the whole.
//!
//! The comment above a key is what an editor shows (`config schema`), and what
//! `docs/configuration.md` is made of. The comment of a key that only one generation of accounts has
//! begins with that generation's name: `classic: `.

mod account;
mod route;
mod secret;
mod sink;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) use self::account::{Account, Generation, Parts, Tls, Topic, Topics};
pub(super) use self::route::{Condition, Route};
pub(super) use self::secret::{SecretSource, Setting};
pub(super) use self::sink::{RawClientTls, Sink};
pub(super) use self::value::{Endpoint, Listen, Names, Size, Span, number};
use super::LogFormat;

/// The config of central-forwarder.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Raw {
    /// Folder for the journal, the cursors and renewed keys. Default: none; all is kept in memory, and
    /// delivery is at most once.
    pub(super) state_dir: Option<PathBuf>,
    /// How long the forwarder may take to send what is in the journal when it is stopped; the rest is sent
    /// after the next start.
    #[schemars(extend("default" = "30s"))]
    pub(super) shutdown_timeout: Option<Span>,
    /// Log on standard error.
    pub(super) log: Log,
    /// Storage of frames between Central and the sinks.
    pub(super) journal: Journal,
    /// HTTP endpoint for metrics, health and status. Default: none.
    pub(super) admin: Option<Admin>,
    /// Customers and tenants whose events the forwarder receives. At least one.
    pub(super) accounts: BTreeMap<String, Account>,
    /// Brokers and files to which the forwarder sends records. At least one.
    pub(super) sinks: BTreeMap<String, Sink>,
    /// Rules that say which events go to which sink. At least one.
    pub(super) routes: Vec<Route>,
    /// Protobuf schemas that replace or extend the built-in ones.
    pub(super) schemas: Schemas,
}

/// Log on standard error.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Log {
    /// Format of a line: `text`, for people, or `json`, one object.
    #[schemars(extend("default" = "text"))]
    pub(super) format: Option<LogFormat>,
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or several `TARGET=LEVEL` with
    /// commas between them.
    #[schemars(extend("default" = "info"))]
    pub(super) filter: Option<String>,
}

/// Storage of frames between Central and the sinks.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Journal {
    /// Longest time from the receipt of a frame until it is synced to disk, `1ms` to `1m`. A loss of power
    /// can lose the frames of this time.
    #[schemars(extend("default" = "100ms"))]
    pub(super) sync_interval: Option<Span>,
    /// Size at which a segment file is closed and the next one begun, at least `64 KiB`. Frames are removed
    /// and skipped by whole segments.
    #[schemars(extend("default" = "64 MiB"))]
    pub(super) segment_bytes: Option<Size>,
    /// Largest size of the journal in memory, when there is no `state_dir`; at least `1 MiB`.
    #[schemars(extend("default" = "256 MiB"))]
    pub(super) memory_bytes: Option<Size>,
    /// Largest size of the journal on disk, at least two segments. Beyond it, sinks that lag behind skip their
    /// oldest frames. Default: no limit but each sink's `max_backlog`.
    pub(super) max_bytes: Option<Size>,
    /// How long frames are kept after all sinks have delivered them, so that a sink can be rewound.
    #[schemars(extend("default" = "0s"))]
    pub(super) retain: Option<Span>,
    /// Largest size of the dead letters, at least `1 MiB`; beyond it the oldest are dropped.
    #[schemars(extend("default" = "1 GiB"))]
    pub(super) dead_letter_bytes: Option<Size>,
}

/// HTTP endpoint: a page for people, `/metrics`, `/healthz`, `/readyz` and `/api/status`.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Admin {
    /// IP address and port, without TLS. An address that other machines can reach causes a warning.
    #[schemars(extend("default" = "127.0.0.1:9600"))]
    pub(super) listen: Option<Listen>,
    /// Bearer token that requests from other machines must present, at least 16 characters. Default: other
    /// machines can read everything without a token, and change nothing.
    pub(super) token: Option<SecretSource>,
}

/// Protobuf schemas that replace or extend the built-in ones, such as newer .proto files of Central. They
/// take effect at a start and at a reload.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Schemas {
    /// .proto files, compiled descriptor sets, folders of them, and patterns; relative to the config file.
    pub(super) paths: Option<Names>,
    /// Message type of the payload of topics for which it is not built in: a topic, or
    /// `SERVICE/VERSION/EVENT`, and the full name of the message.
    pub(super) messages: BTreeMap<String, String>,
}
