//! Whether a sink could deliver now, for `check --connect`. Nothing is written that a consumer would see.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::{amqp, kafka, mqtt};
use crate::config;

/// How long one sink may take to answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// Connects, logs in, and checks as far as possible that the broker would accept records for these
/// destinations. Returns what was found, for the operator.
///
/// # Errors
/// What failed, with the broker's own message.
pub async fn probe(sink: &config::Sink, destinations: &BTreeSet<String>) -> Result<String, String> {
    let probed = async {
        match sink {
            config::Sink::Kafka(kafka) => kafka::probe(kafka, destinations).await,
            config::Sink::Amqp(amqp) => amqp::probe(amqp, destinations).await,
            config::Sink::Mqtt(mqtt) => mqtt::probe(mqtt, destinations).await,
            config::Sink::Stdout => Ok("standard output".to_owned()),
            config::Sink::File(file) => file_can_be_written(&file.path),
        }
    };
    match timeout(DEADLINE, probed).await {
        Ok(said) => said,
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

/// Creates nothing: where the file is missing, its folder must exist.
fn file_can_be_written(path: &Path) -> Result<String, String> {
    let name = path.display();
    match OpenOptions::new().append(true).open(path) {
        Ok(_) => Ok(format!("{name} may be written")),
        Err(error) if error.kind() == ErrorKind::NotFound => match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
                Err(format!("{name}: there is no folder {}", folder.display()))
            }
            _ => Ok(format!("{name} will be created")),
        },
        Err(error) => Err(format!("{name}: {error}")),
    }
}
