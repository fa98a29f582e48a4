//! What librdkafka is told.

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, DefaultProducerContext};
use rdkafka::types::RDKafkaConfRes;

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

/// What we set and an operator may override through `options`.
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

/// The properties that librdkafka is given for this sink. Secrets in files are read anew.
///
/// # Errors
/// Such a file, or that of an authority, cannot be read any more.
pub(super) fn client_config(kafka: &config::Kafka) -> Result<ClientConfig, Unusable> {
    let mut client = ClientConfig::new();
    // What is worth a line is decided by our own log.
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
        // A file alone would stand in the place of the system's.
        Some(file) => client.set("ssl.ca.pem", tls::authorities(file.path())?),
        // OpenSSL is built in and knows no folder of the system's: the usual ones are looked through.
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
        // The token is brought by the context of the client.
        Some(Sasl::Token { .. }) => {
            client.set("sasl.mechanism", "OAUTHBEARER");
        }
    }
    Ok(())
}

/// Asks librdkafka whether it knows a property and takes the value.
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
