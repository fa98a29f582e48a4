//! `schema_registry` of a Kafka sink.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use url::Url;

use crate::config::PemFile;
use crate::config::raw::SecretSource;
use crate::config::secret::Secret;
use crate::config::source::key_path::join;
use crate::config::validate::validator::Validator;

/// The URL of a schema registry, alone or with what else is to be known.
#[derive(Debug)]
pub(crate) enum RawSchemaRegistry {
    Url(String),
    Table(Box<RawRegistryTable>),
}

/// A schema registry that speaks Confluent's HTTP API.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct RawRegistryTable {
    /// URL of the registry: `https://HOST:PORT`. Required.
    url: Option<String>,
    /// User name for HTTP Basic authentication, together with `password`. Default: no authentication.
    username: Option<SecretSource>,
    /// Password for `username`.
    password: Option<SecretSource>,
    /// PEM file of certificate authorities that are trusted beside the system's.
    ca_file: Option<PathBuf>,
    /// Subject under which a schema is registered: `TopicNameStrategy`, `TOPIC-value`;
    /// `RecordNameStrategy`, the message's full name; `TopicRecordNameStrategy`, both.
    #[schemars(extend("default" = "TopicNameStrategy"))]
    subject_name_strategy: Option<SubjectNameStrategy>,
}

/// A schema registry that speaks Confluent's HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRegistry {
    pub url: Url,
    pub login: Option<RegistryLogin>,
    /// PEM; trusted beside the system's authorities.
    pub ca_file: Option<PemFile>,
    pub subjects: SubjectNameStrategy,
}

/// By HTTP's Basic authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryLogin {
    pub username: Secret,
    pub password: Secret,
}

/// Under which subject a schema is registered, by the names that Confluent's serializers have for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
pub enum SubjectNameStrategy {
    /// `TOPIC-value`: one file of messages a topic.
    #[default]
    #[serde(rename = "TopicNameStrategy")]
    Topic,
    /// The message's full name.
    #[serde(rename = "RecordNameStrategy")]
    Record,
    /// `TOPIC-` and the message's full name.
    #[serde(rename = "TopicRecordNameStrategy")]
    TopicRecord,
}

impl<'de> Deserialize<'de> for RawSchemaRegistry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RegistryVisitor;
        impl<'de> Visitor<'de> for RegistryVisitor {
            type Value = RawSchemaRegistry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or a table with one")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<RawSchemaRegistry, E> {
                Ok(RawSchemaRegistry::Url(url.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawSchemaRegistry, A::Error> {
                let table = RawRegistryTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawSchemaRegistry::Table(Box::new(table)))
            }
        }
        deserializer.deserialize_any(RegistryVisitor)
    }
}

impl JsonSchema for RawSchemaRegistry {
    fn schema_name() -> Cow<'static, str> {
        "SchemaRegistry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "string" }, generator.subschema_for::<RawRegistryTable>()],
            "title": "URL or table",
            "description": "a URL, such as \"https://HOST:8081\", or a table with one",
        })
    }
}

impl RawSchemaRegistry {
    pub(super) fn validate(
        self,
        path: &str,
        validator: &mut Validator<'_>,
    ) -> Option<SchemaRegistry> {
        let raw = match self {
            Self::Table(table) => *table,
            Self::Url(url) => {
                return Some(SchemaRegistry {
                    url: validator.http_url(path, &url)?,
                    login: None,
                    ca_file: None,
                    subjects: SubjectNameStrategy::default(),
                });
            }
        };
        let advice = "write url = \"https://HOST:8081\"";
        let url = validator.report.require(path, "url", raw.url, advice);
        let url = url.and_then(|url| validator.http_url(&join(path, "url"), &url));
        let login = if raw.username.is_none() && raw.password.is_none() {
            Some(None)
        } else {
            let username = validator.required_secret(path, "username", raw.username);
            let password = validator.required_secret(path, "password", raw.password);
            username
                .zip(password)
                .map(|(username, password)| Some(RegistryLogin { username, password }))
        };
        let ca_file = validator.ca_file(path, raw.ca_file);
        Some(SchemaRegistry {
            url: url?,
            login: login?,
            ca_file,
            subjects: raw.subject_name_strategy.unwrap_or_default(),
        })
    }
}
