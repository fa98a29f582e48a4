//! `[sinks.NAME]`: the keys that sinks of every kind have, and the table `tls` of those that connect
//! to a broker. The keys of each kind stand with its checks, in `config::sinks`.

use std::path::PathBuf;

use super::Size;
use crate::config::{OnFull, SinkStart};

/// Where records go: one broker, or one file. The keys depend on the type.
// The keys of its kind are read apart, so they are not refused here.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, expecting = "a table")]
pub(crate) struct Sink {
    /// Kind of the sink. Required.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// How far the sink may lag behind in the journal, at least two segments of the journal.
    #[schemars(extend("default" = "10 GiB"))]
    pub(crate) max_backlog: Option<Size>,
    /// What happens beyond `max_backlog`: `skip_oldest`, the sink loses its own oldest frames; `block`,
    /// nothing more is read from Central, for any sink, until this one has caught up.
    #[schemars(extend("default" = "skip_oldest"))]
    pub(crate) on_full: Option<OnFull>,
    /// Where a new sink begins: `end`, with the frames that come from now on; `oldest`, with the oldest frame
    /// that the journal still has.
    #[schemars(extend("default" = "end"))]
    pub(crate) start: Option<SinkStart>,
}

/// Trusted certificate authorities, and the client certificate and key that the forwarder presents.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
#[expect(clippy::struct_field_names, reason = "these are the config's keys")]
pub(crate) struct RawClientTls {
    /// PEM file of certificate authorities that are trusted beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM file of the client certificate, together with `key_file`. Default: none is presented.
    pub(crate) certificate_file: Option<PathBuf>,
    /// PEM file of the client certificate's private key.
    pub(crate) key_file: Option<PathBuf>,
}
