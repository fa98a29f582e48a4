//! The TOML as it is written, each value of the right form and nothing known about the whole.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use url::Url;

use super::secret::Secret;
use super::template::Template;
use super::{
    AmqpAuth, Compression, ExchangeKind, Format, JsonStyle, Literal, LogFormat, MqttVersion,
    OnFull, Qos, SinkStart, units,
};

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Raw {
    pub(super) state_dir: Option<PathBuf>,
    pub(super) shutdown_timeout: Option<Span>,
    pub(super) log: Log,
    pub(super) journal: Journal,
    pub(super) admin: Option<Admin>,
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) sinks: BTreeMap<String, Sink>,
    pub(super) routes: Vec<Route>,
    pub(super) schemas: Schemas,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Log {
    pub(super) format: Option<LogFormat>,
    pub(super) filter: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Journal {
    pub(super) sync_interval: Option<Span>,
    pub(super) segment_bytes: Option<Size>,
    pub(super) memory_bytes: Option<Size>,
    pub(super) max_bytes: Option<Size>,
    pub(super) retain: Option<Span>,
    pub(super) dead_letter_bytes: Option<Size>,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Admin {
    pub(super) listen: Option<Listen>,
    pub(super) token: Option<SecretSource>,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Account {
    pub(super) generation: Option<Generation>,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) key: Option<SecretSource>,
    pub(super) username: Option<String>,
    pub(super) input_json: Option<PathBuf>,
    pub(super) customer: Option<String>,
    pub(super) client_id: Option<SecretSource>,
    pub(super) client_secret: Option<SecretSource>,
    pub(super) token_url: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) tenant_token_url: Option<String>,
    pub(super) subscriber_id: Option<String>,
    pub(super) topics: Option<Topics>,
    pub(super) tls: Tls,
    pub(super) proxy: Option<SecretSource>,
    pub(super) idle_timeout: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Generation {
    Classic,
    New,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "classic",
            Self::New => "new",
        })
    }
}

/// A list of topics; one alone may stand without brackets.
#[derive(Debug)]
pub(super) struct Topics(pub(super) Vec<Topic>);

/// The name of a topic, or a stream of New Central part by part.
#[derive(Debug)]
pub(super) enum Topic {
    Name(String),
    Parts(Parts),
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Parts {
    pub(super) service: Option<String>,
    pub(super) version: Option<String>,
    pub(super) event: Option<String>,
    #[serde(rename = "type")]
    pub(super) message: Option<String>,
    pub(super) event_types: Option<Names>,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Tls {
    pub(super) ca_file: Option<PathBuf>,
    pub(super) verify: Option<bool>,
}

/// The keys of all types of sinks; which belong together is checked later.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Sink {
    #[serde(rename = "type")]
    pub(super) kind: Option<SinkType>,
    pub(super) max_backlog: Option<Size>,
    pub(super) on_full: Option<OnFull>,
    pub(super) start: Option<SinkStart>,
    pub(super) brokers: Option<Names>,
    pub(super) options: Option<BTreeMap<String, Setting>>,
    pub(super) sasl: Option<Sasl>,
    pub(super) compression: Option<Compression>,
    pub(super) linger: Option<Span>,
    pub(super) create: Option<Create>,
    pub(super) path: Option<PathBuf>,
    pub(super) rotate: Option<Rotate>,
    pub(super) url: Option<Names>,
    pub(super) username: Option<SecretSource>,
    pub(super) password: Option<SecretSource>,
    pub(super) tls: Option<ClientTls>,
    pub(super) client_id: Option<String>,
    pub(super) version: Option<MqttVersion>,
    pub(super) qos: Option<Qos>,
    pub(super) retain: Option<bool>,
    pub(super) message_expiry: Option<Span>,
    pub(super) max_packet_size: Option<Size>,
    pub(super) status_topic: Option<String>,
    pub(super) auth_mechanism: Option<AmqpAuth>,
    pub(super) app_id: Option<String>,
    pub(super) exchange: Option<Exchange>,
    pub(super) queue: Option<Queue>,
    pub(super) heartbeat: Option<Span>,
    pub(super) confirm_timeout: Option<Span>,
    pub(super) max_in_flight: Option<i64>,
    pub(super) expiration: Option<Span>,
    pub(super) priority: Option<i64>,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
#[expect(clippy::struct_field_names, reason = "these are the config's keys")]
pub(super) struct ClientTls {
    pub(super) ca_file: Option<PathBuf>,
    pub(super) certificate_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Sasl {
    pub(super) mechanism: Option<SaslMechanism>,
    pub(super) username: Option<SecretSource>,
    pub(super) password: Option<SecretSource>,
    pub(super) token_endpoint: Option<String>,
    pub(super) client_id: Option<SecretSource>,
    pub(super) client_secret: Option<SecretSource>,
    pub(super) scope: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
pub(super) enum SaslMechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    #[serde(rename = "OAUTHBEARER")]
    OAuthBearer,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Create {
    pub(super) partitions: Option<i64>,
    pub(super) replication: Option<i64>,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Rotate {
    pub(super) max_bytes: Option<Size>,
    pub(super) keep: Option<i64>,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Exchange {
    pub(super) name: Option<String>,
    pub(super) kind: Option<ExchangeKind>,
    pub(super) declare: Option<bool>,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Queue {
    pub(super) name: Option<String>,
    pub(super) declare: Option<bool>,
    pub(super) binding: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SinkType {
    Kafka,
    Amqp,
    Mqtt,
    Stdout,
    File,
}

impl fmt::Display for SinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kafka => "kafka",
            Self::Amqp => "amqp",
            Self::Mqtt => "mqtt",
            Self::Stdout => "stdout",
            Self::File => "file",
        })
    }
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Route {
    pub(super) topics: Option<Names>,
    pub(super) accounts: Option<Names>,
    pub(super) sink: Option<String>,
    pub(super) destination: Option<Template>,
    pub(super) key: Option<Template>,
    pub(super) format: Option<Format>,
    pub(super) json: Option<JsonStyle>,
    pub(super) split: Option<bool>,
    pub(super) elements: Option<Names>,
    #[serde(rename = "where")]
    pub(super) conditions: Vec<Condition>,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Condition {
    pub(super) path: Option<String>,
    pub(super) equals: Option<Literal>,
    pub(super) not_equals: Option<Literal>,
    pub(super) one_of: Option<Vec<Literal>>,
    pub(super) exists: Option<bool>,
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Schemas {
    pub(super) paths: Option<Names>,
    pub(super) messages: BTreeMap<String, String>,
}

/// A duration such as `30s`.
#[derive(Debug)]
pub(super) struct Span(pub(super) Duration);

/// A number of bytes, such as `64 MiB`.
#[derive(Debug)]
pub(super) struct Size(pub(super) u64);

/// A `ws` or `wss` URL.
#[derive(Debug)]
pub(super) struct Endpoint(pub(super) Url);

/// `IP:PORT`.
#[derive(Debug)]
pub(super) struct Listen(pub(super) SocketAddr);

/// A list of strings; one alone may stand without brackets.
#[derive(Debug, Default)]
pub(super) struct Names(pub(super) Vec<String>);

/// Where a secret is to be read.
#[derive(Debug)]
pub(super) enum SecretSource {
    Literal(Secret),
    File(PathBuf),
    Env(String),
}

/// A librdkafka property: a string, number or boolean, or the source of a secret.
#[derive(Debug)]
pub(super) struct Setting(pub(super) SecretSource);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a duration, such as \"30s\"";
        parsed(deserializer, wanted, units::duration).map(Self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size, such as \"64 MiB\"")
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<u64, E> {
                self.visit_str(&bytes.to_string())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
                units::size(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(SizeVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a template, such as \"central.{topic}\"";
        parsed(deserializer, wanted, Self::parse)
    }
}

impl<'de> Deserialize<'de> for MqttVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number(deserializer, Self::try_from)
    }
}

impl<'de> Deserialize<'de> for Qos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number(deserializer, Self::try_from)
    }
}

/// The check is part of the visitor, so that what it says has the value's place.
fn number<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    check: fn(i64) -> Result<T, String>,
) -> Result<T, D::Error> {
    struct Number<T>(fn(i64) -> Result<T, String>);
    impl<T> Visitor<'_> for Number<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            (self.0)(number).map_err(E::custom)
        }
    }
    deserializer.deserialize_i64(Number(check))
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a URL, such as \"wss://HOST/streaming/api\"";
        parsed(deserializer, wanted, endpoint).map(Self)
    }
}

/// The messages never show the URL: it may hold a password.
fn endpoint(text: &str) -> Result<Url, String> {
    let advice = "(write wss://HOST/streaming/api)";
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error} {advice}"))?;
    if !matches!(url.scheme(), "ws" | "wss") {
        return Err(format!("is a URL of scheme `{}` {advice}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or password (use `username` and `key`)".to_owned());
    }
    Ok(url)
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "an address, such as \"127.0.0.1:9600\"";
        parsed(deserializer, wanted, listen).map(Self)
    }
}

/// A name would have to be looked up, and could mean another interface tomorrow.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let advice = "(write an IP address and a port, such as \"127.0.0.1:9600\")";
    text.parse()
        .map_err(|_| format!("`{text}` is not IP:PORT {advice}"))
}

fn parsed<'de, D: Deserializer<'de>, T, E: fmt::Display>(
    deserializer: D,
    wanted: &'static str,
    parse: fn(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    struct Parsed<T, E>(&'static str, fn(&str) -> Result<T, E>);
    impl<T, E: fmt::Display> Visitor<'_> for Parsed<T, E> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<F: de::Error>(self, text: &str) -> Result<T, F> {
            (self.1)(text).map_err(F::custom)
        }
    }
    deserializer.deserialize_str(Parsed(wanted, parse))
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of strings")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Vec<String>, E> {
                Ok(vec![name.to_owned()])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Vec<String>, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = names.next_element()? {
                    all.push(name);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_seq(NamesVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for Topics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TopicsVisitor;
        impl<'de> Visitor<'de> for TopicsVisitor {
            type Value = Vec<Topic>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of strings")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Vec<Topic>, E> {
                Ok(vec![Topic::Name(name.to_owned())])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut topics: A) -> Result<Vec<Topic>, A::Error> {
                let mut all = Vec::new();
                while let Some(topic) = topics.next_element()? {
                    all.push(topic);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_seq(TopicsVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TopicVisitor;
        impl<'de> Visitor<'de> for TopicVisitor {
            type Value = Topic;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Topic, E> {
                Ok(Topic::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Topic, A::Error> {
                Parts::deserialize(MapAccessDeserializer::new(map)).map(Topic::Parts)
            }
        }
        deserializer.deserialize_any(TopicVisitor)
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LiteralVisitor;
        impl Visitor<'_> for LiteralVisitor {
            type Value = Literal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number, true or false")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Literal, E> {
                Ok(Literal::Text(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Literal, E> {
                Ok(Literal::Integer(value))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Literal, E> {
                Ok(Literal::Float(value))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Literal, E> {
                Ok(Literal::Bool(value))
            }
        }
        deserializer.deserialize_any(LiteralVisitor)
    }
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor { scalars: false })
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = SecretVisitor { scalars: true };
        deserializer.deserialize_any(visitor).map(Self)
    }
}

struct SecretVisitor {
    /// Whether numbers and booleans stand for their text.
    scalars: bool,
}

impl SecretVisitor {
    fn scalar<E: de::Error>(
        self,
        found: de::Unexpected<'_>,
        text: String,
    ) -> Result<SecretSource, E> {
        if self.scalars {
            Ok(SecretSource::Literal(Secret::literal(text)))
        } else {
            Err(E::invalid_type(found, &self))
        }
    }
}

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, { file = \"PATH\" } or { env = \"NAME\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretSource, E> {
        Ok(SecretSource::Literal(Secret::literal(text)))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<SecretSource, E> {
        self.scalar(de::Unexpected::Bool(value), value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<SecretSource, E> {
        self.scalar(de::Unexpected::Signed(value), value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<SecretSource, E> {
        self.scalar(de::Unexpected::Float(value), value.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretSource, A::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Source {
            file: Option<PathBuf>,
            env: Option<String>,
        }
        match Source::deserialize(MapAccessDeserializer::new(map))? {
            Source {
                file: Some(path),
                env: None,
            } => Ok(SecretSource::File(path)),
            Source {
                file: None,
                env: Some(name),
            } => Ok(SecretSource::Env(name)),
            Source { file: None, .. } => Err(de::Error::custom(
                "names no source (write { file = \"PATH\" } or { env = \"NAME\" })",
            )),
            Source { .. } => Err(de::Error::custom(
                "names two sources (leave `file` or `env` out)",
            )),
        }
    }
}
