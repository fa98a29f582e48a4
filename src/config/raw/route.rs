//! `[[routes]]`.

use super::Names;
use crate::config::template::Template;
use crate::config::{Format, JsonStyle, Literal};

/// Which events go where. An event goes to every route that it matches.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Route {
    /// Names of topics, or `*` for all of Central's; `@gaps` and `@dead-letters` are the forwarder's own.
    /// Required.
    pub(crate) topics: Option<Names>,
    /// Names of accounts. Left out: all.
    pub(crate) accounts: Option<Names>,
    /// The name of one of the sinks. Required.
    pub(crate) sink: Option<String>,
    /// The Kafka topic, AMQP routing key or MQTT topic. It begins with literal text; what is special to the
    /// broker becomes `_` in the values that are put in. Required, but for sinks of type stdout and file.
    pub(crate) destination: Option<Template>,
    /// Kafka's key, which decides the partition. Left out: none.
    pub(crate) key: Option<Template>,
    /// What a record is: `json`, one object; `cloudevents`, the JSON format of CloudEvents 1.0; `protobuf`,
    /// the payload as Central sent it; `frame`, the whole WebSocket frame.
    #[schemars(extend("default" = "json"))]
    pub(crate) format: Option<Format>,
    /// How the payload is written: `readable`, with addresses, numbers and text as people read them;
    /// `canonical`, exactly as Google's ProtoJSON.
    #[schemars(extend("default" = "readable"))]
    pub(crate) json: Option<JsonStyle>,
    /// `true` makes a record of each element of the payload's repeated messages.
    #[schemars(extend("default" = false))]
    pub(crate) split: Option<bool>,
    /// Only these fields of the payload. Left out: all.
    pub(crate) elements: Option<Names>,
    /// Only events for which all of these hold. Left out: all events.
    #[serde(rename = "where")]
    pub(crate) conditions: Vec<Condition>,
}

/// What one field must be: one of `equals`, `not_equals`, `one_of` and `exists`.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Condition {
    /// A field of the payload, or of its element with `split`, such as `data.status`. Required.
    pub(crate) path: Option<String>,
    /// It is this.
    pub(crate) equals: Option<Literal>,
    /// It is not this.
    pub(crate) not_equals: Option<Literal>,
    /// It is one of these.
    pub(crate) one_of: Option<Vec<Literal>>,
    /// It is there, or with `false` it is not.
    pub(crate) exists: Option<bool>,
}
