//! Sinks of type `kafka`: a Kafka cluster.

pub(crate) mod registry;
pub(crate) mod sasl;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use self::registry::{RawSchemaRegistry, SchemaRegistry};
use self::sasl::{PasswordMechanism, RawSasl, Sasl};
use super::destination::{DestinationCharset, RouteRules, literals, too_long};
use super::{Kind, RawKind, Sink};
use crate::config::ClientTls;
use crate::config::diagnostics::report::Report;
use crate::config::diagnostics::spans::SourceSpans;
use crate::config::raw::{Names, RawClientTls, Setting, Span};
use crate::config::secret::Secret;
use crate::config::source::key_path::join;
use crate::config::template::Template;
use crate::config::validate::exposure::{is_local, warn_literal};
use crate::config::validate::validator::{Validator, collect};

/// A limit of Kafka's.
const MAX_TOPIC_CHARACTERS: usize = 249;
/// librdkafka's own limit.
const MAX_LINGER: Duration = Duration::from_secs(900);
/// No cluster has more partitions of a topic, or brokers.
const MAX_PARTITIONS: i64 = 100_000;
const MAX_REPLICATION: i64 = 1000;

impl DestinationCharset {
    /// Kafka's legal topic characters.
    pub const KAFKA_TOPIC: Self = Self::new(|text| text.chars().all(is_legal_in_a_topic));
}

/// A Kafka cluster.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct RawKafka {
    /// Bootstrap servers, `HOST:PORT` each, from which the forwarder learns the other brokers. Required.
    brokers: Option<Names>,
    /// Any librdkafka property, such as `"batch.size" = 500000`. Properties win over the keys here.
    options: Option<BTreeMap<String, Setting>>,
    /// Mechanism and credentials with which the forwarder authenticates at the brokers. Default: no
    /// authentication.
    sasl: Option<RawSasl>,
    /// Trusted certificate authorities, and the client certificate and key that the forwarder presents to
    /// the brokers. `{}`: TLS with the system's authorities. Default: connections are not encrypted.
    tls: Option<RawClientTls>,
    /// Compression of batches.
    #[schemars(extend("default" = "none"))]
    compression: Option<Compression>,
    /// How long a record may wait for others to share its batch, `15m` at most.
    #[schemars(extend("default" = "5ms"))]
    linger: Option<Span>,
    /// Settings with which the forwarder creates topics that do not exist. Default: it creates none.
    create: Option<RawCreate>,
    /// Schema registry at which the forwarder registers the messages' schemas; each record then begins with
    /// its schema's id, as Confluent's wire format demands. For routes with `format = "protobuf"` only. A
    /// URL, or a table. Default: none.
    schema_registry: Option<RawSchemaRegistry>,
}

/// Settings with which the forwarder creates topics that do not exist.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
struct RawCreate {
    /// Number of partitions. Default: the brokers' own default.
    partitions: Option<i64>,
    /// Replication factor: the number of brokers that hold a copy. Default: the brokers' own default.
    replication: Option<i64>,
}

/// A Kafka cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port`, never empty.
    pub brokers: Vec<String>,
    /// `None`: nothing is encrypted, unless `options` say so.
    pub tls: Option<ClientTls>,
    pub sasl: Option<Sasl>,
    pub compression: Option<Compression>,
    /// How long a record may wait for others to be sent with.
    pub linger: Option<Duration>,
    /// How topics are created that do not exist; `None`: they are not.
    pub create: Option<Create>,
    /// Where the schemas of messages are registered, whose ids then stand before their bytes.
    pub schema_registry: Option<SchemaRegistry>,
    /// librdkafka properties, which win over our own choices.
    pub options: BTreeMap<String, Secret>,
    pub spans: SourceSpans,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// `None`: the brokers' own default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Create {
    pub partitions: Option<i32>,
    pub replication: Option<i32>,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl RawKind for RawKafka {
    const TYPE: &'static str = "kafka";

    fn route_rules(&self) -> RouteRules {
        RouteRules {
            check_destination: Some(check_topic),
            has_keys: true,
            only_protobuf: self.schema_registry.is_some(),
        }
    }

    fn validate(self, path: &str, _: &str, validator: &mut Validator<'_>) -> Option<Sink> {
        let advice = "write brokers = [\"kafka-1:9092\"]";
        let brokers = validator
            .report
            .require(path, "brokers", self.brokers, advice);
        let brokers = brokers.map(|names| brokers_of(&join(path, "brokers"), names, validator));
        let tls = self.tls;
        let tls = tls.map(|tls| validator.client_tls(&join(path, "tls"), tls));
        let sasl = match self.sasl {
            Some(sasl) => sasl.validate(&join(path, "sasl"), validator).map(Some),
            None => Some(None),
        };
        let linger = self.linger.map(|span| span.0);
        if linger.is_some_and(|linger| linger > MAX_LINGER) {
            let text = "is out of range (write 15m at most)";
            validator.report.error(&join(path, "linger"), text);
        }
        let create = self.create;
        let create = create.map(|raw| raw.validate(&join(path, "create"), validator));
        let schema_registry = match self.schema_registry {
            Some(registry) => {
                let registry = registry.validate(&join(path, "schema_registry"), validator);
                registry.map(Some)
            }
            None => Some(None),
        };
        let options = self.options.unwrap_or_default();
        let options = options_of(&join(path, "options"), options, validator);
        Some(Sink::Kafka(Box::new(Kafka {
            brokers: brokers?,
            tls,
            sasl: sasl?,
            compression: self.compression,
            linger,
            create,
            schema_registry: schema_registry?,
            options: options?,
            spans: SourceSpans::of(validator.report, path),
        })))
    }
}

impl RawCreate {
    fn validate(self, path: &str, validator: &mut Validator<'_>) -> Create {
        let mut number = |key: &str, raw: Option<i64>, max: i64| {
            let number = validator.number(path, key, raw, 1, max)?;
            i32::try_from(number).ok()
        };
        Create {
            partitions: number("partitions", self.partitions, MAX_PARTITIONS),
            replication: number("replication", self.replication, MAX_REPLICATION),
        }
    }
}

impl Kind for Kafka {
    fn charset(&self) -> DestinationCharset {
        DestinationCharset::KAFKA_TOPIC
    }

    fn warn(&self, path: &str, report: &mut Report) {
        self.warn_of_options(&join(path, "options"), report);
        let sasl = join(path, "sasl");
        let secret = match &self.sasl {
            Some(Sasl::Password { password, .. }) => Some(("password", password)),
            Some(Sasl::Token { client_secret, .. }) => Some(("client_secret", client_secret)),
            None => None,
        };
        if let Some((key, secret)) = secret {
            warn_literal(&join(&sasl, key), secret, report);
        }
        if let Some(registry) = &self.schema_registry
            && let Some(login) = &registry.login
            && !is_local(&registry.url)
        {
            let registry_path = join(path, "schema_registry");
            warn_literal(&join(&registry_path, "password"), &login.password, report);
            if registry.url.scheme() == "http" {
                let text = "the password travels unencrypted (use https)";
                report.warn(&join(&registry_path, "url"), text);
            }
        }
        let shows_its_secret = matches!(
            &self.sasl,
            Some(
                Sasl::Password {
                    mechanism: PasswordMechanism::Plain,
                    ..
                } | Sasl::Token { .. }
            )
        );
        let is_encrypted = self.tls.is_some() || self.options.contains_key("security.protocol");
        if shows_its_secret && !is_encrypted {
            report.warn(
                &join(&sasl, "mechanism"),
                "the password or token travels unencrypted (write tls = {})",
            );
        }
    }
}

impl Kafka {
    fn warn_of_options(&self, path: &str, report: &mut Report) {
        for (option, value) in &self.options {
            if option.contains("password") || option.contains("secret") || option == "ssl.key.pem" {
                warn_literal(&join(path, option), value, report);
            }
            let is_weaker = match option.as_str() {
                "acks" | "request.required.acks" => !matches!(value.expose(), "all" | "-1"),
                "enable.idempotence" => value.expose() == "false",
                _ => false,
            };
            if is_weaker {
                report.warn(
                    &join(path, option),
                    "weakens what is promised: records may be lost, or change their order (leave it out)",
                );
            }
        }
    }
}

fn is_legal_in_a_topic(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

fn check_topic(destination: &Template) -> Vec<String> {
    let illegal = literals(destination)
        .flat_map(str::chars)
        .find(|c| !is_legal_in_a_topic(*c));
    let illegal = illegal.map(|illegal| {
        format!("a Kafka topic cannot hold `{illegal}` (use letters, digits, ., _ and -)")
    });
    let too_long = too_long(destination, MAX_TOPIC_CHARACTERS, "characters");
    illegal.into_iter().chain(too_long).collect()
}

fn brokers_of(path: &str, names: Names, validator: &mut Validator<'_>) -> Vec<String> {
    let report = &mut *validator.report;
    if names.0.is_empty() {
        report.missing(path, path, "is empty (name at least one broker)");
    }
    for (index, broker) in names.0.iter().enumerate() {
        if !is_address(broker) {
            let text = format!("`{broker}` is not HOST:PORT (write \"kafka-1:9092\")");
            report.error(&report.element(path, index), text);
        }
    }
    names.0
}

fn options_of(
    path: &str,
    raw: BTreeMap<String, Setting>,
    validator: &mut Validator<'_>,
) -> Option<BTreeMap<String, Secret>> {
    let mut options = Some(BTreeMap::new());
    for (name, Setting(source)) in raw {
        let at = join(path, &name);
        let value = validator.secret(&at, source);
        if let Some(value) = &value
            && let Err(why) = (validator.kafka_option)(&name, value.expose())
        {
            validator.report.error(&at, why);
        }
        collect(&mut options, name, value);
    }
    options
}

/// `HOST:PORT` or `[IPv6]:PORT`; librdkafka allows a protocol before it.
fn is_address(broker: &str) -> bool {
    let address = broker
        .split_once("://")
        .map_or(broker, |(_, address)| address);
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let host_fits = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', ',', '/', ' ', '[', ']']),
    };
    host_fits && port.parse::<u16>().is_ok_and(|port| port != 0)
}
