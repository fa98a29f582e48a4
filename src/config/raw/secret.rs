//! Secrets, and what may hold one.

use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::config::secret::Secret;

/// Where a secret is to be read.
#[derive(Debug)]
pub(crate) enum SecretSource {
    Literal(Secret),
    File(PathBuf),
    Env(String),
}

/// A librdkafka property: a string, number or boolean, or the source of a secret.
#[derive(Debug)]
pub(crate) struct Setting(pub(crate) SecretSource);

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
