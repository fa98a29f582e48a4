//! `[accounts.NAME]`.

use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Endpoint, Names, SecretSource, Span};

/// One customer of Classic Central, or one tenant of New Central.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Account {
    /// Which Central it is. Required.
    pub(crate) generation: Option<Generation>,
    /// Where Central listens. Classic: the host of the customer's cluster and the path
    /// `/streaming/api`; New Central: the host alone. Required.
    pub(crate) endpoint: Option<Endpoint>,
    /// classic: The WebSocket key of Central's page *Streaming API*. It is renewed before it ends, and
    /// what it was renewed to is kept in `state_dir`. Required, unless `input_json` is there.
    pub(crate) key: Option<SecretSource>,
    /// classic: Sent to Central beside the key, where it is there.
    pub(crate) username: Option<String>,
    /// classic: The file of HPE's sample client: key, user name and topic are read from it, and renewed
    /// keys are written back.
    pub(crate) input_json: Option<PathBuf>,
    /// classic: Which customer of `input_json` it is. Left out: the one with the account's name.
    pub(crate) customer: Option<String>,
    /// new: Of an API client of HPE GreenLake. Required.
    pub(crate) client_id: Option<SecretSource>,
    /// new: Of the same API client. Required.
    pub(crate) client_secret: Option<SecretSource>,
    /// new: Who is asked for tokens.
    #[schemars(extend("default" = "https://sso.common.cloud.hpe.com/as/token.oauth2"))]
    pub(crate) token_url: Option<String>,
    /// new: The workspace of a managed service provider's tenant. With it the provider's token is
    /// exchanged for one of the tenant's.
    pub(crate) tenant: Option<String>,
    /// new: Where a token is exchanged for the tenant's; `{tenant}` stands for its workspace.
    #[schemars(extend(
        "default" = "https://global.api.greenlake.hpe.com/authorization/v2/oauth2/{tenant}/token"
    ))]
    pub(crate) tenant_token_url: Option<String>,
    /// new: A UUID. Connections with the same one share the events among them, another one gets all of
    /// them. Left out: made once and kept in `state_dir`.
    pub(crate) subscriber_id: Option<String>,
    /// What is subscribed to: names, or for New Central tables as well. One connection each. Required.
    pub(crate) topics: Option<Topics>,
    /// Who is believed to be Central.
    pub(crate) tls: Tls,
    /// An HTTP proxy, `http://USER:PASSWORD@HOST:PORT`, or `none`. Left out: as `HTTPS_PROXY` and
    /// `NO_PROXY` of the environment say.
    pub(crate) proxy: Option<SecretSource>,
    /// Silence after which a connection is taken for dead, at least `1s`. Left out: from `15m` to `72h`,
    /// by topic.
    pub(crate) idle_timeout: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Generation {
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
pub(crate) struct Topics(pub(crate) Vec<Topic>);

/// The name of a topic, or a stream of New Central part by part.
#[derive(Debug)]
pub(crate) enum Topic {
    Name(String),
    Parts(Parts),
}

/// A stream of New Central, part by part.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Parts {
    /// The first part of the stream's path, such as `network-services`. May be left out for an event
    /// that has a name.
    pub(crate) service: Option<String>,
    /// The second part, such as `v1`. May be left out for an event that has a name.
    pub(crate) version: Option<String>,
    /// The third part, such as `wids`; routes and templates call the topic by it. Required.
    pub(crate) event: Option<String>,
    /// The full name of the payload's message, where it is not known. Its .proto file goes into
    /// `schemas.paths`.
    #[serde(rename = "type")]
    pub(crate) message: Option<String>,
    /// Only events of these types are sent. Left out: all.
    pub(crate) event_types: Option<Names>,
}

/// Who is believed to be Central.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Tls {
    /// A PEM file of authorities that are trusted beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// `false` believes whoever answers, and is warned about at every start.
    #[schemars(extend("default" = true))]
    pub(crate) verify: Option<bool>,
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
