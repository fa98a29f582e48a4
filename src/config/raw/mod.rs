//! The TOML as it is written, each value of the right form and nothing known about the whole.
//!
//! What stands above a key here is what an editor shows (`config schema`) and what
//! `docs/configuration.md` is made of. Keys of some types or generations alone begin with their names:
//! `amqp, mqtt: `.

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
pub(super) use self::sink::{
    ClientTls, Exchange, Queue, Rotate, Sasl, SaslMechanism, SchemaRegistry, SchemaRegistryTable,
    Sink, SinkType,
};
pub(super) use self::value::{Endpoint, Listen, Names, Size, Span};
use super::LogFormat;

/// The config of central-forwarder.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Raw {
    /// The folder where the journal, the cursors and renewed keys live. Left out: all is in memory, and
    /// delivery is at most once.
    pub(super) state_dir: Option<PathBuf>,
    /// How long the end may take before what is left stays in the journal for the next start.
    #[schemars(extend("default" = "30s"))]
    pub(super) shutdown_timeout: Option<Span>,
    /// What is written to standard error.
    pub(super) log: Log,
    /// How frames are kept.
    pub(super) journal: Journal,
    /// The HTTP endpoint. Left out: there is none.
    pub(super) admin: Option<Admin>,
    /// Who is subscribed to. At least one.
    pub(super) accounts: BTreeMap<String, Account>,
    /// Where records go. At least one.
    pub(super) sinks: BTreeMap<String, Sink>,
    /// Which events go where. At least one.
    pub(super) routes: Vec<Route>,
    /// Messages that are put over the built-in ones.
    pub(super) schemas: Schemas,
}

/// What is written to standard error.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Log {
    /// `text`, for people, or `json`, an object a line.
    #[schemars(extend("default" = "text"))]
    pub(super) format: Option<LogFormat>,
    /// A level (error, warn, info, debug, trace), or `TARGET=LEVEL`, with commas between.
    #[schemars(extend("default" = "info"))]
    pub(super) filter: Option<String>,
}

/// How frames are kept.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Journal {
    /// The longest time that a frame may be unsynced, `1ms` to `1m`: what a loss of power can cost.
    #[schemars(extend("default" = "100ms"))]
    pub(super) sync_interval: Option<Span>,
    /// Where a segment is closed and the next one begun, at least `64 KiB`. Whole segments are removed and
    /// skipped.
    #[schemars(extend("default" = "64 MiB"))]
    pub(super) segment_bytes: Option<Size>,
    /// What the journal may hold when there is no `state_dir`, at least `1 MiB`.
    #[schemars(extend("default" = "256 MiB"))]
    pub(super) memory_bytes: Option<Size>,
    /// What it may hold on disk, at least two segments; beyond it the sinks that are behind skip the oldest.
    /// Left out: each sink's `max_backlog` is enough.
    pub(super) max_bytes: Option<Size>,
    /// How long frames are kept that all sinks have had, so that a sink can be rewound.
    #[schemars(extend("default" = "0s"))]
    pub(super) retain: Option<Span>,
    /// What dead letters may take, at least `1 MiB`; beyond it the oldest are dropped.
    #[schemars(extend("default" = "1 GiB"))]
    pub(super) dead_letter_bytes: Option<Size>,
}

/// The HTTP endpoint: a page for people, `/metrics`, `/healthz`, `/readyz` and `/api/status`.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Admin {
    /// The address and port, without TLS. Other addresses than this machine's own are warned about.
    #[schemars(extend("default" = "127.0.0.1:9600"))]
    pub(super) listen: Option<Listen>,
    /// What requests from beyond this machine must bring as a bearer token, at least 16 characters. Left
    /// out: they may look, and change nothing.
    pub(super) token: Option<SecretSource>,
}

/// Newer .proto files of Central's. They take effect at a start and at a reload.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Schemas {
    /// Files (.proto, or compiled descriptor sets), folders and patterns, relative to the config file.
    pub(super) paths: Option<Names>,
    /// Which message a topic's payload is, where that is not known: a topic, or `SERVICE/VERSION/EVENT`, to
    /// the full name of the message.
    pub(super) messages: BTreeMap<String, String>,
}
