//! `[[routes]]`.

use super::Names;
use crate::config::template::Template;
use crate::config::{Format, JsonStyle, Literal};

/// Which events go to which sink, and how they are written. An event goes to every route that it matches.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Route {
    /// Names of topics, or `*` for all topics of Central. `@gaps` and `@dead-letters` are the forwarder's own
    /// events. Required.
    pub(crate) topics: Option<Names>,
    /// Names of accounts. Default: all.
    pub(crate) accounts: Option<Names>,
    /// Name of the sink. Required.
    pub(crate) sink: Option<String>,
    /// Kafka topic, AMQP routing key or MQTT topic. It must begin with literal text. In the values of
    /// placeholders, characters that are special to the broker become `_`. Required, except for sinks of
    /// type `stdout` and `file`, which take none.
    pub(crate) destination: Option<Template>,
    /// Key of Kafka records, which decides their partition. Default: none.
    pub(crate) key: Option<Template>,
    /// Format of records: `json`, one object; `cloudevents`, the JSON format of CloudEvents 1.0; `protobuf`,
    /// the payload as Central sent it; `frame`, the whole WebSocket frame.
    #[schemars(extend("default" = "json"))]
    pub(crate) format: Option<Format>,
    /// Form of the payload in JSON: `readable`, with addresses, numbers and text as people read them;
    /// `canonical`, exactly the ProtoJSON mapping of Google's libraries.
    #[schemars(extend("default" = "readable"))]
    pub(crate) json: Option<JsonStyle>,
    /// `true`: each element of the payload's repeated messages becomes a record of its own.
    #[schemars(extend("default" = false))]
    pub(crate) split: Option<bool>,
    /// Fields of the payload that records keep; with `split`, the repeated messages that are split. Default:
    /// all.
    pub(crate) elements: Option<Names>,
    /// Conditions that must all hold for an event. Default: none, all events match.
    #[serde(rename = "where")]
    pub(crate) conditions: Vec<Condition>,
}

/// Condition on one field: exactly one of `equals`, `not_equals`, `one_of` and `exists`.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Condition {
    /// Field of the payload, or with `split` of the element, such as `data.status`. Required.
    pub(crate) path: Option<String>,
    /// The field has this value.
    pub(crate) equals: Option<Literal>,
    /// The field does not have this value.
    pub(crate) not_equals: Option<Literal>,
    /// The field has one of these values.
    pub(crate) one_of: Option<Vec<Literal>>,
    /// `true`: the field is present; `false`: it is absent.
    pub(crate) exists: Option<bool>,
}
