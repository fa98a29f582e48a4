//! What a sink of type `mqtt` must be.

use std::time::Duration;

use url::Url;

use crate::config::ClientTls;
use crate::config::raw::{self, Names, SecretSource};
use crate::config::secret::Secret;
use crate::config::source::layers::join;
use crate::config::validate::Tables;

/// What a text may have in MQTT: its length is two bytes.
const MAX_TEXT_BYTES: usize = 65_535;

/// The smallest limit that leaves room for the attributes of a record.
const MIN_PACKET_BYTES: u64 = 4096;

/// The largest packet that MQTT can express.
const MAX_PACKET_BYTES: u64 = 268_435_455;

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
    /// Bytes that a packet may have, besides what the broker says itself.
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

impl Tables<'_> {
    pub(crate) fn mqtt(&mut self, path: &str, name: &str, raw: raw::Sink) -> Option<Mqtt> {
        let advice = "write url = \"mqtts://HOST\"";
        let url = self.report.require(path, "url", raw.url, advice);
        let url = url.and_then(|url| self.mqtt_url(&join(path, "url"), &url));
        let version = raw.version.unwrap_or_default();
        let message_expiry = raw
            .message_expiry
            .map(|expiry| self.expiry(&join(path, "message_expiry"), version, expiry.0));
        if raw.tls.is_some() && url.as_ref().is_some_and(|url| !is_encrypted(url)) {
            let text = "has a meaning for mqtts and wss only (change the url, or leave it out)";
            self.report.mistake(&join(path, "tls"), text);
        }
        let tls = self.client_tls(&join(path, "tls"), raw.tls.unwrap_or_default());
        let mut secret = |key: &str, source: Option<SecretSource>| match source {
            Some(source) => self.mqtt_secret(&join(path, key), source).map(Some),
            None => Some(None),
        };
        let (username, password) = (
            secret("username", raw.username),
            secret("password", raw.password),
        );
        if let (Some(None), Some(Some(_))) = (&username, &password) {
            let text = "has a meaning with a username only (write username = \"NAME\")";
            self.report.mistake(&join(path, "password"), text);
        }
        let client_id = raw
            .client_id
            .unwrap_or_else(|| format!("central-forwarder-{name}"));
        if let Some(why) = mistake_in_client_id(&client_id) {
            self.report.mistake(&join(path, "client_id"), why);
        }
        if let Some(topic) = &raw.status_topic
            && let Some(why) = mistake_in_topic([topic.as_str()].into_iter())
        {
            self.report.mistake(&join(path, "status_topic"), why);
        }
        let limit = raw.max_packet_size.map_or(MAX_PACKET_BYTES, |size| size.0);
        let max_packet_size = self.packet_size(&join(path, "max_packet_size"), limit);
        Some(Mqtt {
            url: url?,
            version,
            qos: raw.qos.unwrap_or_default(),
            client_id,
            username: username?,
            password: password?,
            tls,
            retain: raw.retain.unwrap_or_default(),
            message_expiry: message_expiry.flatten(),
            max_packet_size: max_packet_size?,
            status_topic: raw.status_topic,
        })
    }

    fn mqtt_url(&mut self, path: &str, urls: &Names) -> Option<Url> {
        let parsed = match urls.0.as_slice() {
            [url] => parse_url(url),
            _ => Err("has to be one URL (write \"mqtts://HOST\")".to_owned()),
        };
        match parsed {
            Ok(url) => Some(url),
            Err(why) => {
                self.report.mistake(path, why);
                None
            }
        }
    }

    fn expiry(&mut self, path: &str, version: MqttVersion, span: Duration) -> Option<u32> {
        if version == MqttVersion::V3 {
            let text = "is a thing of MQTT 5, and this sink has version = 3 (leave it out)";
            self.report.mistake(path, text);
            return None;
        }
        let seconds = u32::try_from(span.as_secs()).ok().filter(|s| *s > 0);
        if seconds.is_none() || span.subsec_nanos() != 0 {
            let text = "is out of range (write whole seconds, 1s to 49710d)";
            self.report.mistake(path, text);
        }
        seconds
    }

    fn packet_size(&mut self, path: &str, bytes: u64) -> Option<u32> {
        if (MIN_PACKET_BYTES..=MAX_PACKET_BYTES).contains(&bytes) {
            return u32::try_from(bytes).ok();
        }
        let text = "is out of range (write 4 KiB to 255 MiB)";
        self.report.mistake(path, text);
        None
    }

    fn mqtt_secret(&mut self, path: &str, source: SecretSource) -> Option<Secret> {
        let secret = self.secret(path, source)?;
        if fits(secret.expose()) {
            return Some(secret);
        }
        let text = "holds what MQTT cannot carry (at most 65535 bytes, no control characters)";
        self.report.mistake(path, text);
        None
    }
}

/// What is wrong with a topic to publish to, given the parts of it that are fixed.
pub(crate) fn mistake_in_topic<'a>(parts: impl Iterator<Item = &'a str>) -> Option<String> {
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

fn mistake_in_client_id(id: &str) -> Option<&'static str> {
    (id.is_empty() || !fits(id)).then_some(
        "is empty or holds what MQTT cannot carry (write letters and digits, or leave it out)",
    )
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
