//! What the operator wants, valid by construction: nothing here needs to be checked again.
//!
//! - `source/`: files and environment variables become one tree of values with positions
//! - `raw/`: the tables as they are written, each value of the right form
//! - `validate/`, `sinks/`: from raw tables to a [`Config`], and all that is wrong with them
//! - `diagnostics/`: what is wrong, where, and what to write instead

mod diagnostics;
mod diff;
pub mod input_json;
mod json_schema;
mod load;
mod pem;
mod raw;
pub mod secret;
mod sinks;
mod source;
pub mod template;
mod units;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

pub use self::diagnostics::spans::Written;
pub(crate) use self::diagnostics::suggestion as hint;
pub use self::diagnostics::{Mistakes, Place, Remark};
pub use self::diff::{AccountChange, Change, Diff};
pub use self::json_schema::schema;
#[cfg(test)]
pub(crate) use self::load::of_text;
pub use self::load::{Loaded, OptionCheck, load};
pub use self::pem::PemFile;
use self::secret::Secret;
pub use self::sinks::kafka::registry::{RegistryLogin, SchemaRegistry, SubjectNameStrategy};
pub use self::sinks::kafka::{Compression, Create, Kafka, PasswordMechanism, Sasl};
pub(crate) use self::sinks::mqtt;
pub use self::sinks::mqtt::{Mqtt, MqttVersion, Qos};
use self::template::Template;
pub use self::validate::admin::Admin;
pub use self::validate::filter::{Condition, Literal, Pick, Test};
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

/// With what an account is entered.
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

/// How connections get out of the network.
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

/// Whom a client believes, and who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Trusted beside the system's authorities.
    pub ca_file: Option<PemFile>,
    /// Certificate and key.
    pub identity: Option<(PemFile, PemFile)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    Kafka(Box<Kafka>),
    Amqp(Box<Amqp>),
    Mqtt(Box<Mqtt>),
    Stdout,
    File(File),
}

/// `RabbitMQ`, or another broker of AMQP 0-9-1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amqp {
    /// Tried in this order, until one answers; never empty.
    pub servers: Vec<AmqpServer>,
    pub auth: AmqpAuth,
    /// With a certificate wherever `auth` needs one.
    pub tls: ClientTls,
    pub exchange: Exchange,
    pub queue: Option<Queue>,
    pub heartbeat: Duration,
    /// The longest time that a record may be unconfirmed before the connection is given up.
    pub confirm_timeout: Duration,
    /// Records that may be unconfirmed at a time.
    pub max_in_flight: usize,
    /// How long the broker may keep a record in a queue; `None`: for ever.
    pub expiration: Option<Duration>,
    pub priority: Option<u8>,
    /// The property `app_id` of every message.
    pub app_id: String,
}

/// The SASL mechanism.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AmqpAuth {
    /// User and password.
    #[default]
    Plain,
    /// The client's certificate says who it is.
    External,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmqpServer {
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    pub vhost: String,
    pub login: Login,
}

/// User and password; both empty where a certificate stands for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Empty: the broker's default exchange, where a routing key is the name of a queue.
    pub name: String,
    pub kind: ExchangeKind,
    /// Made where it is not there; `false`: it must be there.
    pub declare: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeKind {
    #[default]
    Topic,
    Direct,
    Fanout,
    Headers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    pub name: String,
    /// Made, durable, where it is not there; `false`: it must be there.
    pub declare: bool,
    /// The key by which it is bound to the exchange; `None`: it is not bound by us.
    pub binding: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    /// `None`: it grows for ever, or somebody else rotates it.
    pub rotate: Option<Rotate>,
}

/// When a file is followed by the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// Of one file.
    pub max_bytes: u64,
    /// Files beside the one that is written.
    pub keep: u32,
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
