//! What the operator wants, valid by construction: nothing here needs to be checked again.
//!
//! - `source/`: files and environment variables become one tree of values with positions
//! - `raw/`: the tables as they are written, each value of the right form
//! - `validate/`, `sinks/`: from raw tables to a [`Config`], and all that is wrong with them
//! - `diagnostics/`: what is wrong, where, and what to write instead

mod diagnostics;
mod diff;
mod filter;
pub mod input_json;
mod json_schema;
mod load;
mod pem;
mod raw;
pub mod secret;
mod secret_source;
mod sinks;
mod source;
pub mod template;
mod units;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

pub use self::diagnostics::spans::SourceSpans;
pub(crate) use self::diagnostics::suggestion;
pub use self::diagnostics::{ConfigErrors, Diagnostic, Position};
pub use self::diff::{AccountChange, Change, Diff};
pub use self::filter::{Condition, Literal, Pick, Test};
pub use self::json_schema::json_schema;
#[cfg(test)]
pub(crate) use self::load::of_text;
pub use self::load::{Loaded, OptionCheck, load};
pub use self::pem::PemFile;
use self::secret::Secret;
pub use self::sinks::amqp::{Amqp, AmqpAuth, AmqpServer, Exchange, ExchangeKind, Login, Queue};
pub use self::sinks::destination::DestinationCharset;
pub use self::sinks::file::{File, Rotate};
pub use self::sinks::kafka::registry::{RegistryLogin, SchemaRegistry, SubjectNameStrategy};
pub use self::sinks::kafka::sasl::{PasswordMechanism, Sasl};
pub use self::sinks::kafka::{Compression, Create, Kafka};
pub(crate) use self::sinks::mqtt::is_carried;
pub use self::sinks::mqtt::{Mqtt, MqttVersion, Qos};
pub use self::sinks::stdout::Stdout;
pub use self::sinks::{Guarantee, Sink};
use self::template::Template;
pub use self::validate::admin::Admin;
pub use self::validate::schemas::{SchemaFiles, Schemas};
use crate::frame::{Internal, Stream};

/// Where the config is when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/central-forwarder/central-forwarder.toml";

/// Where New Central's access tokens come from. Documented by HPE.
pub const TOKEN_URL: &str = "https://sso.common.cloud.hpe.com/as/token.oauth2";

/// Where a provider's token is exchanged for a tenant's, with the tenant's workspace in place of
/// `{tenant}`. Seen in clients.
pub const TENANT_TOKEN_URL: &str =
    "https://global.api.greenlake.hpe.com/authorization/v2/oauth2/{tenant}/token";

/// The whole config, after all layers and overrides.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the journal, the cursors and renewed keys live; `None`: all in memory.
    pub state_dir: Option<PathBuf>,
    pub log: Log,
    pub journal: Journal,
    /// `None`: there is no admin endpoint.
    pub admin: Option<Admin>,
    /// How long a drain may take before what is left stays in the journal.
    pub shutdown_timeout: Duration,
    pub accounts: BTreeMap<String, Account>,
    pub sinks: BTreeMap<String, Sink>,
    /// How far the sinks may lag behind, by their names; one that is missing has the default.
    pub backlogs: BTreeMap<String, Backlog>,
    /// Where sinks begin that the journal does not know yet, by their names; one that is missing
    /// begins at the end.
    pub starts: BTreeMap<String, SinkStart>,
    pub routes: Vec<Route>,
    pub schemas: Schemas,
}

impl Config {
    /// How far a sink may lag behind.
    #[must_use]
    pub fn backlog(&self, sink: &str) -> Backlog {
        self.backlogs.get(sink).copied().unwrap_or_default()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing_subscriber::EnvFilter` directive list, such as `info,central_forwarder=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            filter: "info".to_owned(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The longest time that a frame may be unsynced.
    pub sync_interval: Duration,
    /// Bytes at which a segment is closed and the next one begun.
    pub segment_bytes: u64,
    /// Bytes that the journal may hold when there is no `state_dir`.
    pub memory_bytes: u64,
    /// Beyond so many bytes on disk the sinks that are behind skip the oldest; `None`: their own
    /// limits are enough.
    pub max_bytes: Option<u64>,
    /// How long frames are kept that all sinks have had, so that a sink can be rewound.
    pub retain: Duration,
    /// Bytes of dead letters; beyond, the oldest are dropped.
    pub dead_letter_bytes: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            sync_interval: Duration::from_millis(100),
            segment_bytes: 64 << 20,
            memory_bytes: 256 << 20,
            max_bytes: None,
            retain: Duration::ZERO,
            dead_letter_bytes: 1 << 30,
        }
    }
}

/// One customer of Classic Central, or one tenant of New Central.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `ws://` or `wss://`; Classic: with the path of the streaming API, New: without one.
    pub endpoint: Url,
    pub access: Access,
    /// Never empty; one connection each, and each stream once.
    pub topics: BTreeSet<Topic>,
    pub tls: Tls,
    pub proxy: Proxy,
    /// Silence after which a connection is taken for dead; `None`: the topic's default.
    pub idle_timeout: Option<Duration>,
}

/// The credentials of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    Classic(ClassicAccess),
    New(Box<NewAccess>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicAccess {
    /// The WebSocket key: sent raw in `Authorization`.
    pub key: Secret,
    /// Sent as `UserName`.
    pub username: Option<String>,
}

/// OAuth 2.0 client credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccess {
    pub client_id: Secret,
    pub client_secret: Secret,
    /// `http://` or `https://`
    pub token_url: Url,
    /// Where the token of a managed service provider is exchanged for one of its tenant's.
    pub tenant_token_url: Option<Url>,
    /// A UUID; `None`: made once and kept.
    pub subscriber_id: Option<String>,
}

/// What one connection is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic {
    pub stream: Stream,
    /// Only of New Central; empty: all.
    pub event_types: BTreeSet<String>,
}

impl Topic {
    /// Of Classic Central.
    #[must_use]
    pub fn classic(topic: impl Into<String>) -> Self {
        Self::all_of(Stream::Classic {
            topic: topic.into(),
        })
    }

    #[must_use]
    pub fn all_of(stream: Stream) -> Self {
        Self {
            stream,
            event_types: BTreeSet::new(),
        }
    }

    /// The name that routes, templates and records use.
    #[must_use]
    pub fn name(&self) -> &str {
        self.stream.topic()
    }
}

/// The proxy through which connections go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    None,
    /// An `http://` URL, user and password in it.
    Url(Secret),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Trusted beside the system's authorities.
    pub ca_file: Option<PemFile>,
    /// `true` is warned about at every start.
    pub insecure: bool,
}

/// How far a sink may lag behind in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    pub max_bytes: u64,
    pub on_full: OnFull,
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            max_bytes: 10 << 30,
            on_full: OnFull::default(),
        }
    }
}

/// Where a sink begins that is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkStart {
    /// With what comes from now on.
    #[default]
    End,
    /// With the oldest frame that the journal still has.
    Oldest,
}

/// What happens when a sink is as far behind as it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// The sink skips its own oldest frames.
    #[default]
    SkipOldest,
    /// Nothing more is read from Central until the sink has caught up.
    Block,
}

/// Which certificate authorities a client trusts, and the certificate that it presents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Trusted beside the system's authorities.
    pub ca_file: Option<PemFile>,
    /// Certificate and private key.
    pub identity: Option<(PemFile, PemFile)>,
}

/// An event goes to every route that it matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Of Central.
    pub topics: Selector,
    /// Topics of the forwarder's own events that it takes.
    pub internal: BTreeSet<Internal>,
    pub accounts: Selector,
    /// The name of an entry of [`Config::sinks`].
    pub sink: String,
    /// Kafka topic, AMQP routing key, MQTT topic; empty for stdout and file.
    pub destination: Template,
    /// Kafka's partition key.
    pub key: Option<Template>,
    pub format: Format,
    pub json: JsonStyle,
    /// Which payloads, and which parts of them.
    pub pick: Pick,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    Any,
    Named(BTreeSet<String>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Json,
    CloudEvents,
    Protobuf,
    Frame,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JsonStyle {
    /// Addresses, numbers and text as people and stream processors read them.
    #[default]
    Readable,
    /// The `ProtoJSON` mapping with proto field names.
    Canonical,
}
