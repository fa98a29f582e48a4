//! What every client of a sink, producer or admin client, does when librdkafka calls back.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::sink::kafka::shared_state::SharedState;
use crate::sink::kafka::token::Tokens;

/// Logs, and fetches tokens.
#[derive(Clone, Debug)]
pub(crate) struct ClientCallbacks {
    /// The sink's name.
    pub(crate) sink: Arc<str>,
    pub(crate) shared: Arc<SharedState>,
    pub(crate) tokens: Option<Tokens>,
}

impl ClientContext for ClientCallbacks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let (sink, message) = (&*self.sink, without_thread(message));
        let admitted = match level {
            RDKafkaLogLevel::Debug => None,
            _ => self.shared.log_limiter.admit(message, Instant::now()),
        };
        match (level, admitted) {
            (_, None) => tracing::debug!(sink, facility, "kafka: {message}"),
            (RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info, Some(line)) => {
                tracing::info!(sink, facility, "kafka: {line}");
            }
            (_, Some(line)) => tracing::warn!(sink, facility, "kafka: {line}"),
        }
    }

    /// rdkafka hands over each error twice, here and in the log.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(sink = &*self.sink, "kafka: {error}: {reason}");
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        match &self.tokens {
            Some(tokens) => Ok(tokens.fetch()?),
            None => {
                Err("write sasl = { mechanism = \"OAUTHBEARER\", token_endpoint = ... }".into())
            }
        }
    }
}

/// A log message without the name of the thread of librdkafka's that wrote it.
pub(crate) fn without_thread(message: &str) -> &str {
    let is_thread = message.starts_with("[thrd:");
    let rest = message.split_once("]: ").filter(|_| is_thread);
    rest.map_or(message, |(_, rest)| rest)
}
