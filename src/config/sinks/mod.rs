//! What each sink must be.

pub(crate) mod amqp;
pub(crate) mod kafka;
pub(crate) mod mqtt;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::raw::{self, SinkType};
use crate::config::source::layers::join;
use crate::config::validate::{Tables, collect};
use crate::config::{File, Rotate, Sink};

/// Larger than any batch of lines.
const MIN_FILE_BYTES: u64 = 1 << 20;
const DEFAULT_FILE_BYTES: u64 = 100 << 20;
const DEFAULT_FILES: u32 = 7;
/// Each of them is renamed at each rotation.
const MAX_FILES: i64 = 1000;

impl Tables<'_> {
    pub(crate) fn sinks(
        &mut self,
        raw: BTreeMap<String, raw::Sink>,
    ) -> Option<BTreeMap<String, Sink>> {
        if raw.is_empty() {
            self.report
                .missing("", "sinks", "there is none (add [sinks.NAME])");
        }
        let mut sinks = Some(BTreeMap::new());
        let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
        for (name, raw) in raw {
            let path = join("sinks", &name);
            self.name(&path, &name);
            let sink = self.sink(&path, &name, raw);
            if let Some(Sink::File(file)) = &sink
                && let Some(other) = files.insert(file.path.clone(), path.clone())
            {
                let text = format!("is the same file as of {other} (name another)");
                self.report.mistake(&join(&path, "path"), text);
            }
            collect(&mut sinks, name, sink);
        }
        sinks
    }

    fn sink(&mut self, path: &str, name: &str, raw: raw::Sink) -> Option<Sink> {
        let advice = "write type = \"kafka\", \"amqp\", \"mqtt\", \"stdout\" or \"file\"";
        let kind = self.report.require(path, "type", raw.kind, advice)?;
        self.refuse_keys_of_others(path, kind, &raw);
        match kind {
            SinkType::Amqp => self.amqp(path, raw).map(Box::new).map(Sink::Amqp),
            SinkType::Stdout => Some(Sink::Stdout),
            SinkType::Mqtt => self.mqtt(path, name, raw).map(Box::new).map(Sink::Mqtt),
            SinkType::File => {
                let advice = "write path = \"/var/log/central.ndjson\"";
                let rotate = raw
                    .rotate
                    .map(|rotate| self.rotate(&join(path, "rotate"), &rotate));
                let path = self.report.require(path, "path", raw.path, advice)?;
                Some(Sink::File(File { path, rotate }))
            }
            SinkType::Kafka => self.kafka(path, raw).map(Box::new).map(Sink::Kafka),
        }
    }

    fn rotate(&mut self, path: &str, raw: &raw::Rotate) -> Rotate {
        let max_bytes = raw.max_bytes.as_ref().map(|size| size.0);
        if max_bytes.is_some_and(|bytes| bytes < MIN_FILE_BYTES) {
            let text = "is too small (write at least 1 MiB)";
            self.report.mistake(&join(path, "max_bytes"), text);
        }
        let keep = self.number(path, "keep", raw.keep, 1, MAX_FILES);
        Rotate {
            max_bytes: max_bytes.unwrap_or(DEFAULT_FILE_BYTES),
            keep: keep
                .and_then(|keep| u32::try_from(keep).ok())
                .unwrap_or(DEFAULT_FILES),
        }
    }

    fn refuse_keys_of_others(&mut self, path: &str, kind: SinkType, raw: &raw::Sink) {
        const KAFKA: &[SinkType] = &[SinkType::Kafka];
        const AMQP: &[SinkType] = &[SinkType::Amqp];
        const URL: &[SinkType] = &[SinkType::Amqp, SinkType::Mqtt];
        const TLS: &[SinkType] = &[SinkType::Kafka, SinkType::Amqp, SinkType::Mqtt];
        const MQTT: &[SinkType] = &[SinkType::Mqtt];
        const FILE: &[SinkType] = &[SinkType::File];
        let own = [
            ("brokers", raw.brokers.is_some(), KAFKA),
            ("options", raw.options.is_some(), KAFKA),
            ("sasl", raw.sasl.is_some(), KAFKA),
            ("compression", raw.compression.is_some(), KAFKA),
            ("linger", raw.linger.is_some(), KAFKA),
            ("create", raw.create.is_some(), KAFKA),
            ("schema_registry", raw.schema_registry.is_some(), KAFKA),
            ("path", raw.path.is_some(), FILE),
            ("rotate", raw.rotate.is_some(), FILE),
            ("url", raw.url.is_some(), URL),
            ("username", raw.username.is_some(), MQTT),
            ("password", raw.password.is_some(), URL),
            ("tls", raw.tls.is_some(), TLS),
            ("auth_mechanism", raw.auth_mechanism.is_some(), AMQP),
            ("app_id", raw.app_id.is_some(), AMQP),
            ("exchange", raw.exchange.is_some(), AMQP),
            ("queue", raw.queue.is_some(), AMQP),
            ("heartbeat", raw.heartbeat.is_some(), AMQP),
            ("confirm_timeout", raw.confirm_timeout.is_some(), AMQP),
            ("max_in_flight", raw.max_in_flight.is_some(), AMQP),
            ("expiration", raw.expiration.is_some(), AMQP),
            ("priority", raw.priority.is_some(), AMQP),
            ("client_id", raw.client_id.is_some(), MQTT),
            ("version", raw.version.is_some(), MQTT),
            ("qos", raw.qos.is_some(), MQTT),
            ("retain", raw.retain.is_some(), MQTT),
            ("message_expiry", raw.message_expiry.is_some(), MQTT),
            ("max_packet_size", raw.max_packet_size.is_some(), MQTT),
            ("status_topic", raw.status_topic.is_some(), MQTT),
        ];
        for (key, given, owners) in own {
            if given && !owners.contains(&kind) {
                let owners: Vec<String> = owners.iter().map(SinkType::to_string).collect();
                let text = format!(
                    "is for sinks of type {}, and this one is {kind} (leave it out)",
                    owners.join(" or ")
                );
                self.report.mistake(&join(path, key), text);
            }
        }
    }
}
