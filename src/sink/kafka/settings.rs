//! librdkafka's properties: ours, those that the config has keys for, and the operator's `options`.

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, DefaultProducerContext};
use rdkafka::types::RDKafkaConfRes;

use super::producer::in_flight_limit::BatchSettings;
use crate::config::secret::Unreadable;
use crate::config::{self, Diagnostic, Sasl};
use crate::net::tls;

/// Why librdkafka cannot be told what the config says.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(transparent)]
    Secret(#[from] Unreadable),
    #[error(transparent)]
    Tls(#[from] tls::InvalidConfig),
}

/// librdkafka's default of `batch.size`, in bytes.
pub(super) const BATCH_BYTES: usize = 1_000_000;

/// librdkafka's default of `batch.num.messages`.
const BATCH_RECORDS: usize = 10_000;

/// librdkafka's default of `linger.ms`.
const LINGER: Duration = Duration::from_millis(5);

/// Properties that the forwarder sets and an operator may override through `options`.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "central-forwarder"),
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // A broker that comes back is used again after at most two seconds.
    ("reconnect.backoff.max.ms", "2000"),
    // A topic that was missing, and is there now, is found within a minute.
    ("topic.metadata.refresh.interval.ms", "60000"),
    ("statistics.interval.ms", "5000"),
];

/// The properties for this sink. Secrets in files are read again.
///
/// # Errors
/// Such a file, or the CA file, cannot be read any more.
pub(super) fn client_config(kafka: &config::Kafka) -> Result<ClientConfig, Unusable> {
    let mut client = ClientConfig::new();
    // Levels are filtered by the forwarder's own log.
    client.set_log_level(RDKafkaLogLevel::Info);
    client.set("bootstrap.servers", kafka.brokers.join(","));
    for (name, value) in DEFAULTS {
        client.set(*name, *value);
    }
    set_tls(kafka, &mut client)?;
    set_sasl(kafka, &mut client)?;
    if let Some(compression) = kafka.compression {
        client.set("compression.type", compression.to_string());
    }
    if let Some(linger) = kafka.linger {
        client.set("linger.ms", linger.as_millis().to_string());
    }
    for (name, value) in &kafka.options {
        client.set(name, value.read_again()?.expose());
    }
    Ok(client)
}

/// When librdkafka takes a batch for complete.
pub(super) fn batch(client: &ClientConfig) -> BatchSettings {
    let number = |name| client.get(name).and_then(|value| value.parse().ok());
    let linger = client.get("linger.ms").and_then(|value| value.parse().ok());
    let linger = linger.and_then(|millis: f64| Duration::try_from_secs_f64(millis / 1000.0).ok());
    BatchSettings {
        bytes: number("batch.size").unwrap_or(BATCH_BYTES),
        records: number("batch.num.messages").unwrap_or(BATCH_RECORDS),
        linger: linger.unwrap_or(LINGER),
    }
}

pub(super) fn is_idempotent(client: &ClientConfig) -> bool {
    let value = client.get("enable.idempotence");
    value.is_some_and(|value| matches!(value, "true" | "t" | "1"))
}

fn set_tls(kafka: &config::Kafka, client: &mut ClientConfig) -> Result<(), tls::InvalidConfig> {
    let protocol = match (&kafka.tls, &kafka.sasl) {
        (None, None) => return Ok(()),
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    client.set("security.protocol", protocol);
    let Some(tls) = &kafka.tls else {
        return Ok(());
    };
    match &tls.ca_file {
        // `ssl.ca.location` with this file would replace the system's authorities.
        Some(file) => client.set("ssl.ca.pem", tls::authorities(file.path())?),
        // The OpenSSL that is built in knows no folder of the system: librdkafka tries the usual ones.
        None => client.set("ssl.ca.location", "probe"),
    };
    if let Some((certificate, key)) = &tls.identity {
        client.set(
            "ssl.certificate.location",
            certificate.path().to_string_lossy(),
        );
        client.set("ssl.key.location", key.path().to_string_lossy());
    }
    Ok(())
}

fn set_sasl(kafka: &config::Kafka, client: &mut ClientConfig) -> Result<(), Unreadable> {
    match &kafka.sasl {
        None => {}
        Some(Sasl::Password {
            mechanism,
            username,
            password,
        }) => {
            client.set("sasl.mechanism", mechanism.to_string());
            client.set("sasl.username", username.read_again()?.expose());
            client.set("sasl.password", password.read_again()?.expose());
        }
        // The client's callbacks fetch the token.
        Some(Sasl::Token { .. }) => {
            client.set("sasl.mechanism", "OAUTHBEARER");
        }
    }
    Ok(())
}

/// Asks librdkafka whether it knows a property and accepts the value.
///
/// # Errors
/// What librdkafka says, without the value.
pub fn check_option(name: &str, value: &str) -> Result<(), String> {
    if name == "transactional.id" {
        return Err(
            "is not for this sink: it writes without transactions (leave it out)".to_owned(),
        );
    }
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

/// Asks librdkafka about a sink's properties together.
///
/// # Errors
/// What does not go together.
pub(super) fn check_together(kafka: &config::Kafka) -> Result<(), Diagnostic> {
    let Err(why) = build(kafka) else {
        return Ok(());
    };
    let entry = match (&kafka.tls, kafka.options.is_empty()) {
        (_, false) => "options",
        (Some(_), true) => "tls",
        (None, true) => "type",
    };
    let text = format!("librdkafka says: {why} (see its CONFIGURATION.md)");
    Err(kafka.spans.about(entry, text))
}

/// A producer that knows no broker, and so connects to none.
fn build(kafka: &config::Kafka) -> Result<(), String> {
    let mut client = client_config(kafka).map_err(|error| error.to_string())?;
    client.remove("bootstrap.servers");
    let built: KafkaResult<BaseProducer<Silent>> = client.create_with_context(Silent);
    match built {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientCreation(why)) => Err(why),
        Err(error) => Err(error.to_string()),
    }
}

/// Says nothing of what goes on.
struct Silent;

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
}

impl rdkafka::producer::ProducerContext for Silent {
    type DeliveryOpaque =
        <DefaultProducerContext as rdkafka::producer::ProducerContext>::DeliveryOpaque;

    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): Self::DeliveryOpaque) {}
}
