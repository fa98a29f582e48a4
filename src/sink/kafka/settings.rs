//! What librdkafka is told.

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use crate::config;

/// What we set and an operator may override through `options`.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "central-forwarder"),
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // A broker that comes back is used again after at most two seconds.
    ("reconnect.backoff.max.ms", "2000"),
];

/// The properties that librdkafka is given for this sink.
#[must_use]
pub fn client_config(kafka: &config::Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", kafka.brokers.join(","));
    for (name, value) in DEFAULTS {
        client.set(*name, *value);
    }
    for (name, value) in &kafka.options {
        client.set(name, value.expose());
    }
    client
}

/// Asks librdkafka whether it knows a property and takes the value.
///
/// # Errors
/// What librdkafka says, without the value.
pub fn check_option(name: &str, value: &str) -> Result<(), String> {
    let mut client = ClientConfig::new();
    client.set(name, value);
    match client.create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(result, _, _, _)) => Err(match result {
            RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => {
                "librdkafka has no such property (see its CONFIGURATION.md)".to_owned()
            }
            _ => "librdkafka does not take this value (see its CONFIGURATION.md)".to_owned(),
        }),
        Err(error) => Err(error.to_string()),
    }
}
