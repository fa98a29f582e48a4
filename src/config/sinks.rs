//! What each sink must be.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use super::layers::join;
use super::raw::{self, Names, Setting, SinkType};
use super::secret::Secret;
use super::validate::{Tables, collect};
use super::{File, Kafka, Sink};

impl Tables<'_> {
    pub(super) fn sinks(
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
                let path = self.report.require(path, "path", raw.path, advice)?;
                Some(Sink::File(File { path }))
            }
            SinkType::Kafka => {
                let advice = "write brokers = [\"kafka-1:9092\"]";
                let brokers = self.report.require(path, "brokers", raw.brokers, advice);
                let brokers = brokers.map(|brokers| self.brokers(&join(path, "brokers"), brokers));
                let options = self.options(&join(path, "options"), raw.options.unwrap_or_default());
                Some(Sink::Kafka(Kafka {
                    brokers: brokers?,
                    options: options?,
                }))
            }
        }
    }

    fn refuse_keys_of_others(&mut self, path: &str, kind: SinkType, raw: &raw::Sink) {
        const KAFKA: &[SinkType] = &[SinkType::Kafka];
        const AMQP: &[SinkType] = &[SinkType::Amqp];
        const URL: &[SinkType] = &[SinkType::Amqp, SinkType::Mqtt];
        const MQTT: &[SinkType] = &[SinkType::Mqtt];
        const FILE: &[SinkType] = &[SinkType::File];
        let own = [
            ("brokers", raw.brokers.is_some(), KAFKA),
            ("options", raw.options.is_some(), KAFKA),
            ("path", raw.path.is_some(), FILE),
            ("url", raw.url.is_some(), URL),
            ("username", raw.username.is_some(), MQTT),
            ("password", raw.password.is_some(), URL),
            ("tls", raw.tls.is_some(), URL),
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

    fn brokers(&mut self, path: &str, names: Names) -> Vec<String> {
        if names.0.is_empty() {
            self.report
                .missing(path, path, "is empty (name at least one broker)");
        }
        for (index, broker) in names.0.iter().enumerate() {
            if !is_address(broker) {
                let at = self.report.element(path, index);
                self.report.mistake(
                    &at,
                    format!("`{broker}` is not HOST:PORT (write \"kafka-1:9092\")"),
                );
            }
        }
        names.0
    }

    fn options(
        &mut self,
        path: &str,
        raw: BTreeMap<String, Setting>,
    ) -> Option<BTreeMap<String, Secret>> {
        let mut options = Some(BTreeMap::new());
        for (name, Setting(source)) in raw {
            let at = join(path, &name);
            let value = self.secret(&at, source);
            if let Some(value) = &value
                && let Err(why) = (self.kafka_option)(&name, value.expose())
            {
                self.report.mistake(&at, why);
            }
            collect(&mut options, name, value);
        }
        options
    }
}

/// `HOST:PORT` or `[IPv6]:PORT`; librdkafka allows a protocol before it.
fn is_address(broker: &str) -> bool {
    let address = broker
        .split_once("://")
        .map_or(broker, |(_, address)| address);
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let host_fits = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', ',', '/', ' ', '[', ']']),
    };
    host_fits && port.parse::<u16>().is_ok_and(|port| port != 0)
}
