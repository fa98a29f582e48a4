//! What `schema_registry` of a Kafka sink must be.

use url::Url;

use crate::config::PemFile;
use crate::config::raw;
use crate::config::secret::Secret;
use crate::config::source::layers::join;
use crate::config::validate::Tables;

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

impl Tables<'_> {
    pub(crate) fn schema_registry(
        &mut self,
        path: &str,
        raw: raw::SchemaRegistry,
    ) -> Option<SchemaRegistry> {
        let raw = match raw {
            raw::SchemaRegistry::Table(table) => *table,
            raw::SchemaRegistry::Url(url) => {
                return Some(SchemaRegistry {
                    url: self.http_url(path, &url)?,
                    login: None,
                    ca_file: None,
                    subjects: SubjectNameStrategy::default(),
                });
            }
        };
        let advice = "write url = \"https://HOST:8081\"";
        let url = self.report.require(path, "url", raw.url, advice);
        let url = url.and_then(|url| self.http_url(&join(path, "url"), &url));
        let login = if raw.username.is_none() && raw.password.is_none() {
            Some(None)
        } else {
            let username = self.needed_secret(path, "username", raw.username);
            let password = self.needed_secret(path, "password", raw.password);
            username
                .zip(password)
                .map(|(username, password)| Some(RegistryLogin { username, password }))
        };
        let ca_file = self.ca_file(path, raw.ca_file);
        Some(SchemaRegistry {
            url: url?,
            login: login?,
            ca_file,
            subjects: raw.subject_name_strategy.unwrap_or_default(),
        })
    }
}
