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
    /// Generation of Central: `classic` or `new`. Required.
    pub(crate) generation: Option<Generation>,
    /// WebSocket URL of Central. Classic: the host of the customer's cluster and the path `/streaming/api`;
    /// New Central: the host alone. Required.
    pub(crate) endpoint: Option<Endpoint>,
    /// classic: WebSocket key from Central's page *Streaming API*. The forwarder renews it before it expires,
    /// and keeps the renewed key in `state_dir`. Required, unless `input_json` is given.
    pub(crate) key: Option<SecretSource>,
    /// classic: User name that is sent to Central with the key. Default: none is sent.
    pub(crate) username: Option<String>,
    /// classic: `input.json` of HPE's sample client. The forwarder reads key, user name and topic from it, and
    /// writes renewed keys back.
    pub(crate) input_json: Option<PathBuf>,
    /// classic: Name of the customer in `input_json`. Default: its only customer, or the one with the account's
    /// name.
    pub(crate) customer: Option<String>,
    /// new: Client ID of an API client of HPE GreenLake. Required.
    pub(crate) client_id: Option<SecretSource>,
    /// new: Client secret of that API client. Required.
    pub(crate) client_secret: Option<SecretSource>,
    /// new: URL of the endpoint that gives access tokens.
    #[schemars(extend("default" = "https://sso.common.cloud.hpe.com/as/token.oauth2"))]
    pub(crate) token_url: Option<String>,
    /// new: Workspace ID of a managed service provider's tenant, for whom the forwarder exchanges the
    /// provider's token. Default: none, the token is used as it is.
    pub(crate) tenant: Option<String>,
    /// new: URL of the endpoint that exchanges a token for a tenant's; `{tenant}` is replaced by `tenant`.
    #[schemars(extend(
        "default" = "https://global.api.greenlake.hpe.com/authorization/v2/oauth2/{tenant}/token"
    ))]
    pub(crate) tenant_token_url: Option<String>,
    /// new: Subscriber ID, a UUID. Connections with the same ID share the events; each ID receives all of
    /// them. Default: the forwarder makes one and keeps it in `state_dir`.
    pub(crate) subscriber_id: Option<String>,
    /// Topics to which the forwarder subscribes, with one connection each: names, or for New Central also
    /// tables. Required.
    pub(crate) topics: Option<Topics>,
    /// How the forwarder verifies Central's certificate.
    pub(crate) tls: Tls,
    /// URL of an HTTP proxy, `http://USER:PASSWORD@HOST:PORT`, or `none`. Default: the environment variables
    /// `HTTPS_PROXY` and `NO_PROXY` decide.
    pub(crate) proxy: Option<SecretSource>,
    /// Time without any message after which the forwarder closes a connection and makes a new one, at least
    /// `1s`. Default: `15m` to `72h`, depending on the topic.
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
    /// First part of the stream's path, such as `network-services`. Optional for an event that the forwarder
    /// knows by name.
    pub(crate) service: Option<String>,
    /// Second part, such as `v1`. Optional for an event that the forwarder knows by name.
    pub(crate) version: Option<String>,
    /// Third part, such as `wids`, which is the topic's name in routes and templates. Required.
    pub(crate) event: Option<String>,
    /// Full name of the payload's message type, where it is not built in. Its .proto file belongs into
    /// `schemas.paths`.
    #[serde(rename = "type")]
    pub(crate) message: Option<String>,
    /// Types of the events that Central sends. Default: all.
    pub(crate) event_types: Option<Names>,
}

/// How the forwarder verifies Central's certificate.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Tls {
    /// PEM file of certificate authorities that are trusted beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// `false`: any certificate is accepted, so that anybody on the way can pose as Central and learn the key;
    /// causes a warning at every start.
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
