//! `[sinks.NAME]`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::{Names, SecretSource, Setting, Size, Span};
use crate::config::{
    AmqpAuth, Compression, ExchangeKind, MqttVersion, OnFull, Qos, SinkStart, SubjectNameStrategy,
};

/// Where records go: one broker, or one file. Which keys there are depends on the type.
// Which belong together is checked later.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Sink {
    /// What it is. Required.
    #[serde(rename = "type")]
    pub(crate) kind: Option<SinkType>,
    /// How far it may lag behind in the journal, at least two segments of the journal.
    #[schemars(extend("default" = "10 GiB"))]
    pub(crate) max_backlog: Option<Size>,
    /// What happens then: `skip_oldest`, it loses its own oldest frames; `block`, nothing more is read from
    /// Central, for any sink, until it has caught up.
    #[schemars(extend("default" = "skip_oldest"))]
    pub(crate) on_full: Option<OnFull>,
    /// Where it begins when it is new: `end`, with what comes from now on; `oldest`, with the oldest frame
    /// that the journal still has.
    #[schemars(extend("default" = "end"))]
    pub(crate) start: Option<SinkStart>,
    /// kafka: Brokers to begin with, `HOST:PORT` each; they name the others. Required.
    pub(crate) brokers: Option<Names>,
    /// kafka: Any librdkafka property, such as `"batch.size" = 500000`. They win over the keys here.
    pub(crate) options: Option<BTreeMap<String, Setting>>,
    /// kafka: Who we are. Left out: nobody.
    pub(crate) sasl: Option<Sasl>,
    /// kafka: How batches are compressed.
    #[schemars(extend("default" = "none"))]
    pub(crate) compression: Option<Compression>,
    /// kafka: How long a record may wait for others to be sent with, `15m` at most.
    #[schemars(extend("default" = "5ms"))]
    pub(crate) linger: Option<Span>,
    /// kafka: How topics are made that are not there. Left out: they are not made by us.
    pub(crate) create: Option<Create>,
    /// kafka: Where the schemas of messages are registered, whose ids then stand before their bytes; for
    /// routes of `format = "protobuf"` alone. A URL, or a table. Left out: nowhere.
    pub(crate) schema_registry: Option<SchemaRegistry>,
    /// file: The file. Required.
    pub(crate) path: Option<PathBuf>,
    /// file: When it is followed by a new one. Left out: it grows, or somebody else rotates it.
    pub(crate) rotate: Option<Rotate>,
    /// amqp, mqtt: The broker: `amqp://USER:PASSWORD@HOST:PORT/VHOST` or amqps, several for the first that
    /// answers; `mqtt://HOST`, mqtts, ws or wss. Required.
    pub(crate) url: Option<Names>,
    /// mqtt: The user.
    pub(crate) username: Option<SecretSource>,
    /// amqp, mqtt: The user's password, if it does not stand in the URL.
    pub(crate) password: Option<SecretSource>,
    /// kafka, amqp, mqtt: Who is believed, and who we are. kafka: left out, nothing is encrypted; `{}`
    /// encrypts with the system's authorities.
    pub(crate) tls: Option<ClientTls>,
    /// mqtt: Each sink of each forwarder needs its own. Left out: `central-forwarder-NAME`.
    pub(crate) client_id: Option<String>,
    /// mqtt: 5, or 3, which is 3.1.1.
    #[schemars(extend("default" = 5))]
    pub(crate) version: Option<MqttVersion>,
    /// mqtt: 0 confirms nothing; 1 is delivered when the broker says PUBACK, 2 at PUBCOMP.
    #[schemars(extend("default" = 1))]
    pub(crate) qos: Option<Qos>,
    /// mqtt: Whether the broker keeps the last record of each topic for those who subscribe later.
    #[schemars(extend("default" = false))]
    pub(crate) retain: Option<bool>,
    /// mqtt: How long the broker may keep a record; whole seconds, version 5 only. Left out: for ever.
    pub(crate) message_expiry: Option<Span>,
    /// mqtt: A limit of the broker's that it does not say itself, `4 KiB` to `255 MiB`. Left out: what the
    /// broker says.
    pub(crate) max_packet_size: Option<Size>,
    /// mqtt: Where `online` and, by the last will, `offline` are retained. Left out: nowhere.
    pub(crate) status_topic: Option<String>,
    /// amqp: `plain`, user and password; `external`, who we are is what the certificate says.
    #[schemars(extend("default" = "plain"))]
    pub(crate) auth_mechanism: Option<AmqpAuth>,
    /// amqp: The property `app_id` of every message.
    #[schemars(extend("default" = "central-forwarder"))]
    pub(crate) app_id: Option<String>,
    /// amqp: Where messages are published to. Left out: the default exchange, where a routing key is the
    /// name of a queue.
    pub(crate) exchange: Option<Exchange>,
    /// amqp: A queue for records that are to wait for their first reader. Left out: none.
    pub(crate) queue: Option<Queue>,
    /// amqp: How often both sides show that they are there, `1s` to `1h`.
    #[schemars(extend("default" = "30s"))]
    pub(crate) heartbeat: Option<Span>,
    /// amqp: The longest wait for a confirm, `1s` to `1h`. Then the connection is given up and all is sent
    /// again.
    #[schemars(extend("default" = "30s"))]
    pub(crate) confirm_timeout: Option<Span>,
    /// amqp: Records that may be without a confirm at a time, 1 to 20000.
    #[schemars(extend("default" = 2000))]
    pub(crate) max_in_flight: Option<i64>,
    /// amqp: How long a queue may keep a message, `49d` at most. Left out: for ever.
    pub(crate) expiration: Option<Span>,
    /// amqp: For queues that have priorities, 0 to 255. Left out: none.
    pub(crate) priority: Option<i64>,
}

/// Who is believed to be the broker, and who we are.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
#[expect(clippy::struct_field_names, reason = "these are the config's keys")]
pub(crate) struct ClientTls {
    /// A PEM file of authorities: trusted beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// A PEM file with our certificate. Together with `key_file`.
    pub(crate) certificate_file: Option<PathBuf>,
    /// A PEM file with its key.
    pub(crate) key_file: Option<PathBuf>,
}

/// Who we are, to Kafka.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Sasl {
    /// How we prove it. Required.
    pub(crate) mechanism: Option<SaslMechanism>,
    /// PLAIN and SCRAM: The user. Required there.
    pub(crate) username: Option<SecretSource>,
    /// PLAIN and SCRAM: The user's password. Required there.
    pub(crate) password: Option<SecretSource>,
    /// OAUTHBEARER: Who is asked for tokens, by the grant `client_credentials`: `https://HOST/PATH`.
    /// Required there.
    pub(crate) token_endpoint: Option<String>,
    /// OAUTHBEARER: The client. Required there.
    pub(crate) client_id: Option<SecretSource>,
    /// OAUTHBEARER: The client's secret. Required there.
    pub(crate) client_secret: Option<SecretSource>,
    /// OAUTHBEARER: What the token is to be good for. Left out: what the endpoint gives by default.
    pub(crate) scope: Option<String>,
    /// OAUTHBEARER: A PEM file of authorities that the endpoint is believed by: trusted beside the system's.
    /// For the brokers there is `tls`.
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
pub(crate) enum SaslMechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    #[serde(rename = "OAUTHBEARER")]
    OAuthBearer,
}

/// How a Kafka topic is made that is not there.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Create {
    /// Partitions of a topic. Left out: as the brokers choose.
    pub(crate) partitions: Option<i64>,
    /// Brokers that have a copy of it. Left out: as the brokers choose.
    pub(crate) replication: Option<i64>,
}

/// The URL of a schema registry, alone or with what else is to be known.
#[derive(Debug)]
pub(crate) enum SchemaRegistry {
    Url(String),
    Table(Box<SchemaRegistryTable>),
}

/// A schema registry that speaks Confluent's HTTP API.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct SchemaRegistryTable {
    /// `https://HOST:PORT`. Required.
    pub(crate) url: Option<String>,
    /// The user, by HTTP's Basic authentication. Together with `password`.
    pub(crate) username: Option<SecretSource>,
    /// The user's password.
    pub(crate) password: Option<SecretSource>,
    /// A PEM file of authorities: trusted beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// Under which subject a schema is registered: `TopicNameStrategy`, `TOPIC-value`; `RecordNameStrategy`,
    /// the message's full name; `TopicRecordNameStrategy`, both.
    #[schemars(extend("default" = "TopicNameStrategy"))]
    pub(crate) subject_name_strategy: Option<SubjectNameStrategy>,
}

impl<'de> Deserialize<'de> for SchemaRegistry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RegistryVisitor;
        impl<'de> Visitor<'de> for RegistryVisitor {
            type Value = SchemaRegistry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or a table with one")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<SchemaRegistry, E> {
                Ok(SchemaRegistry::Url(url.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SchemaRegistry, A::Error> {
                let table = SchemaRegistryTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(SchemaRegistry::Table(Box::new(table)))
            }
        }
        deserializer.deserialize_any(RegistryVisitor)
    }
}

/// When a file is followed by a new one.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Rotate {
    /// Of one file; at least `1 MiB`.
    #[schemars(extend("default" = "100 MiB"))]
    pub(crate) max_bytes: Option<Size>,
    /// How many old files are kept, 1 to 1000.
    #[schemars(extend("default" = 7))]
    pub(crate) keep: Option<i64>,
}

/// Where AMQP messages are published to.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Exchange {
    /// Its name. Required.
    pub(crate) name: Option<String>,
    /// How it chooses queues.
    #[schemars(extend("default" = "topic"))]
    pub(crate) kind: Option<ExchangeKind>,
    /// `true` makes it, durable, where it is not there; otherwise it must be there.
    #[schemars(extend("default" = false))]
    pub(crate) declare: Option<bool>,
}

/// An AMQP queue for records that are to wait for their first reader.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Queue {
    /// Its name. Required.
    pub(crate) name: Option<String>,
    /// `true` makes it, durable, where it is not there; otherwise it must be there.
    #[schemars(extend("default" = false))]
    pub(crate) declare: Option<bool>,
    /// The key by which it is bound to the exchange. Left out: `#`, which is all, if it is declared and there
    /// is an exchange; otherwise it is not bound by us.
    pub(crate) binding: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SinkType {
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
