//! Sinks of type `mqtt`: a broker that speaks MQTT 5 or 3.1.1.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use url::Url;

use super::destination::{DestinationCharset, RouteRules, literals};
use super::{Guarantee, Kind, RawKind, Sink};
use crate::config::ClientTls;
use crate::config::diagnostics::report::Report;
use crate::config::raw::{Names, RawClientTls, SecretSource, Size, Span, number};
use crate::config::secret::Secret;
use crate::config::source::key_path::join;
use crate::config::validate::exposure::{is_local, warn_literal};
use crate::config::validate::validator::Validator;

/// What a text may have in MQTT: its length is two bytes.
const MAX_TEXT_BYTES: usize = 65_535;

/// The smallest limit that leaves room for the attributes of a record.
const MIN_PACKET_BYTES: u64 = 4096;

/// The largest packet that MQTT can express.
const MAX_PACKET_BYTES: u64 = 268_435_455;

impl DestinationCharset {
    /// One level of an MQTT topic: no `/`, no wildcard, nothing that a broker may refuse.
    pub const MQTT_TOPIC_LEVEL: Self = Self::new(|text| {
        let mut characters = text.chars();
        characters.all(|c| !matches!(c, '+' | '#' | '/') && is_carried(c))
    });
}

/// A broker that speaks MQTT 5 or 3.1.1.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct RawMqtt {
    /// URL of the broker: `mqtt://HOST:PORT`, or `mqtts` for TLS; `ws://HOST/PATH` or `wss` for MQTT over
    /// WebSocket. Required.
    url: Option<Names>,
    /// User name with which the forwarder authenticates at the broker. Default: none is sent.
    username: Option<SecretSource>,
    /// Password for `username`. Default: none is sent.
    password: Option<SecretSource>,
    /// Trusted certificate authorities, and the client certificate and key that the forwarder presents to
    /// the broker; for `mqtts` and `wss`. Default: the system's authorities, no client certificate.
    tls: Option<RawClientTls>,
    /// Client identifier, which must differ for each sink of each forwarder at one broker. Default:
    /// `central-forwarder-NAME`.
    client_id: Option<String>,
    /// Version of MQTT: `5`, or `3` for MQTT 3.1.1.
    #[schemars(extend("default" = 5))]
    version: Option<MqttVersion>,
    /// Quality of service: with `0` the broker confirms nothing, and records can be lost; with `1` a record
    /// counts as delivered at the broker's PUBACK, with `2` at its PUBCOMP.
    #[schemars(extend("default" = 1))]
    qos: Option<Qos>,
    /// `true`: the broker retains the last record of each topic for later subscribers.
    #[schemars(extend("default" = false))]
    retain: Option<bool>,
    /// How long the broker keeps a record for subscribers that are away; whole seconds, version 5 only.
    /// Default: without limit.
    message_expiry: Option<Span>,
    /// Largest packet that the broker takes, `4 KiB` to `255 MiB`, where it has a limit that it does not
    /// announce. Default: the limit that the broker announces.
    max_packet_size: Option<Size>,
    /// Topic for the sink's state, retained: `online` while it is connected, `offline` afterwards, by the
    /// last will. Default: none.
    status_topic: Option<String>,
}

/// A broker that speaks MQTT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mqtt {
    /// `mqtt`, `mqtts`, `ws` or `wss`, with a host, without user or password.
    pub url: Url,
    pub version: MqttVersion,
    pub qos: Qos,
    pub client_id: String,
    /// Always there when there is a password.
    pub username: Option<Secret>,
    pub password: Option<Secret>,
    pub tls: ClientTls,
    pub retain: bool,
    /// Whole seconds; MQTT 5 only.
    pub message_expiry: Option<u32>,
    /// Bytes that a packet may have, besides what the broker announces.
    pub max_packet_size: u32,
    /// Where `online` and, by the last will, `offline` are retained.
    pub status_topic: Option<String>,
}

impl Mqtt {
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        is_encrypted(&self.url)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MqttVersion {
    /// 3.1.1
    V3,
    #[default]
    V5,
}

impl TryFrom<i64> for MqttVersion {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        match number {
            3 => Ok(Self::V3),
            5 => Ok(Self::V5),
            _ => Err(format!(
                "there is no version {number} (write 5, or 3 for MQTT 3.1.1)"
            )),
        }
    }
}

/// How a record counts as delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Qos {
    /// Once it is written to the socket.
    AtMostOnce,
    /// By the broker's PUBACK.
    #[default]
    AtLeastOnce,
    /// By the broker's PUBCOMP.
    ExactlyOnce,
}

impl TryFrom<i64> for Qos {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        match number {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            _ => Err(format!("there is no QoS {number} (write 0, 1 or 2)")),
        }
    }
}

impl<'de> Deserialize<'de> for MqttVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number(deserializer, Self::try_from)
    }
}

impl JsonSchema for MqttVersion {
    fn schema_name() -> Cow<'static, str> {
        "MqttVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [3, 5] })
    }
}

impl<'de> Deserialize<'de> for Qos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number(deserializer, Self::try_from)
    }
}

impl JsonSchema for Qos {
    fn schema_name() -> Cow<'static, str> {
        "Qos".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [0, 1, 2] })
    }
}

impl RawKind for RawMqtt {
    const TYPE: &'static str = "mqtt";

    fn route_rules(&self) -> RouteRules {
        RouteRules {
            check_destination: Some(|destination| {
                check_topic(literals(destination)).into_iter().collect()
            }),
            has_keys: false,
            only_protobuf: false,
        }
    }

    fn validate(self, path: &str, name: &str, validator: &mut Validator<'_>) -> Option<Sink> {
        let advice = "write url = \"mqtts://HOST\"";
        let url = validator.report.require(path, "url", self.url, advice);
        let url = url.and_then(|urls| url_of(&join(path, "url"), &urls, validator));
        let version = self.version.unwrap_or_default();
        let message_expiry = self.message_expiry;
        let message_expiry = message_expiry
            .and_then(|Span(span)| expiry(&join(path, "message_expiry"), version, span, validator));
        if self.tls.is_some() && url.as_ref().is_some_and(|url| !is_encrypted(url)) {
            let text = "has a meaning for mqtts and wss only (change the url, or leave it out)";
            validator.report.error(&join(path, "tls"), text);
        }
        let tls = validator.client_tls(&join(path, "tls"), self.tls.unwrap_or_default());
        let has_username = self.username.is_some();
        let mut secret = |key: &str, source: Option<SecretSource>| match source {
            Some(source) => text_secret(&join(path, key), source, validator).map(Some),
            None => Some(None),
        };
        let username = secret("username", self.username);
        let password = secret("password", self.password);
        if !has_username && matches!(password, Some(Some(_))) {
            let text = "has a meaning with a username only (write username = \"NAME\")";
            validator.report.error(&join(path, "password"), text);
        }
        let client_id = self.client_id;
        let client_id = client_id.unwrap_or_else(|| format!("central-forwarder-{name}"));
        if client_id.is_empty() || !fits(&client_id) {
            let text = "is empty or holds what MQTT cannot carry (write letters and digits, or leave it \
                        out)";
            validator.report.error(&join(path, "client_id"), text);
        }
        if let Some(topic) = &self.status_topic
            && let Some(why) = check_topic([topic.as_str()].into_iter())
        {
            validator.report.error(&join(path, "status_topic"), why);
        }
        let max_packet_size = packet_size(path, self.max_packet_size, validator);
        Some(Sink::Mqtt(Box::new(Mqtt {
            url: url?,
            version,
            qos: self.qos.unwrap_or_default(),
            client_id,
            username: username?,
            password: password?,
            tls,
            retain: self.retain.unwrap_or_default(),
            message_expiry,
            max_packet_size: max_packet_size?,
            status_topic: self.status_topic,
        })))
    }
}

impl Kind for Mqtt {
    fn charset(&self) -> DestinationCharset {
        DestinationCharset::MQTT_TOPIC_LEVEL
    }

    fn guarantee(&self) -> Guarantee {
        match self.qos {
            Qos::AtMostOnce => Guarantee::AtMostOnce {
                why: "with qos = 0 the broker confirms nothing",
            },
            Qos::AtLeastOnce | Qos::ExactlyOnce => Guarantee::AtLeastOnce,
        }
    }

    fn warn(&self, path: &str, report: &mut Report) {
        if self.qos == Qos::AtMostOnce {
            let text = "the broker confirms nothing: what is on its way when a connection breaks is lost (use qos = 1)";
            report.warn(&join(path, "qos"), text);
        } else if self.version == MqttVersion::V3 {
            let text = "the broker cannot refuse a record: it may confirm one that its access rules forbid or that is too large, and drop it (use version = 5)";
            report.warn(&join(path, "version"), text);
        }
        if is_local(&self.url) {
            return;
        }
        if let Some(password) = &self.password {
            warn_literal(&join(path, "password"), password, report);
            if !self.is_encrypted() {
                let text = "the password travels unencrypted (use mqtts)";
                report.warn(&join(path, "url"), text);
            }
        }
    }
}

fn url_of(path: &str, urls: &Names, validator: &mut Validator<'_>) -> Option<Url> {
    let parsed = match urls.0.as_slice() {
        [url] => parse_url(url),
        _ => Err("has to be one URL (write \"mqtts://HOST\")".to_owned()),
    };
    parsed.map_err(|why| validator.report.error(path, why)).ok()
}

fn expiry(
    path: &str,
    version: MqttVersion,
    span: Duration,
    validator: &mut Validator<'_>,
) -> Option<u32> {
    if version == MqttVersion::V3 {
        let text = "MQTT 3.1.1 has no expiry of messages (write version = 5, or leave it out)";
        validator.report.error(path, text);
        return None;
    }
    let seconds = u32::try_from(span.as_secs()).ok().filter(|s| *s > 0);
    if seconds.is_none() || span.subsec_nanos() != 0 {
        let text = "is out of range (write whole seconds, 1s to 49710d)";
        validator.report.error(path, text);
    }
    seconds
}

fn packet_size(path: &str, raw: Option<Size>, validator: &mut Validator<'_>) -> Option<u32> {
    let bytes = raw.map_or(MAX_PACKET_BYTES, |size| size.0);
    if (MIN_PACKET_BYTES..=MAX_PACKET_BYTES).contains(&bytes) {
        return u32::try_from(bytes).ok();
    }
    let text = "is out of range (write 4 KiB to 255 MiB)";
    validator.report.error(&join(path, "max_packet_size"), text);
    None
}

fn text_secret(path: &str, source: SecretSource, validator: &mut Validator<'_>) -> Option<Secret> {
    let secret = validator.secret(path, source)?;
    if fits(secret.expose()) {
        return Some(secret);
    }
    let text = "holds what MQTT cannot carry (at most 65535 bytes, no control characters)";
    validator.report.error(path, text);
    None
}

/// What is wrong with a topic to publish to, given the parts of it that are fixed.
fn check_topic<'a>(parts: impl Iterator<Item = &'a str>) -> Option<String> {
    let text: String = parts.collect();
    if text.is_empty() {
        return Some("is empty (write text, such as \"central/status\")".to_owned());
    }
    if text.starts_with('$') {
        return Some(
            "begins with `$`, which is the broker's own (begin with something else)".to_owned(),
        );
    }
    if text.len() > MAX_TEXT_BYTES {
        return Some(format!(
            "is longer than {MAX_TEXT_BYTES} bytes (shorten it)"
        ));
    }
    let odd = text
        .chars()
        .find(|c| matches!(c, '+' | '#') || !is_carried(*c))?;
    let odd = odd.escape_debug();
    Some(format!(
        "an MQTT topic cannot hold `{odd}` (`+` and `#` are for subscribers; leave it out)"
    ))
}

fn fits(text: &str) -> bool {
    text.len() <= MAX_TEXT_BYTES && text.chars().all(is_carried)
}

/// Whether brokers take a character in a text: they may close the connection at a control
/// character or a code point that Unicode calls no character.
#[must_use]
pub(crate) fn is_carried(character: char) -> bool {
    let code = u32::from(character);
    let is_no_character = code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code);
    !character.is_control() && !is_no_character
}

fn is_encrypted(url: &Url) -> bool {
    matches!(url.scheme(), "mqtts" | "wss")
}

/// The messages never show the URL: it may hold a password.
fn parse_url(text: &str) -> Result<Url, String> {
    let advice = "(write mqtts://HOST, mqtt://HOST:PORT, wss://HOST/PATH or ws://HOST/PATH)";
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error} {advice}"))?;
    if !matches!(url.scheme(), "mqtt" | "mqtts" | "ws" | "wss") {
        return Err(format!("is a URL of scheme `{}` {advice}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or password (use `username` and `password`)".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("names no host {advice}"));
    }
    let has_path = !matches!(url.path(), "" | "/") || url.query().is_some();
    if url.scheme().starts_with("mqtt") && has_path {
        return Err(format!(
            "holds a path, and topics stand in the routes {advice}"
        ));
    }
    Ok(url)
}
