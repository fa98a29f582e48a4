//! A cluster, as a sink's config names it.

use std::sync::Arc;

use rdkafka::ClientConfig;

use super::events::client_callbacks::ClientCallbacks;
use super::events::statistics::Statistics;
use super::settings;
use super::shared_state::SharedState;
use super::token::Tokens;
use crate::config;
use crate::sink::ConnectionError;

/// A cluster, and what all producers that are built for it share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Target {
    /// The sink's, for the log.
    pub(super) name: Arc<str>,
    pub(super) config: Arc<config::Kafka>,
    pub(super) shared: Arc<SharedState>,
}

impl Target {
    /// `name` is the sink's, for the log.
    #[must_use]
    pub fn new(name: &str, config: config::Kafka) -> Self {
        Self {
            name: name.into(),
            config: Arc::new(config),
            shared: Arc::default(),
        }
    }

    /// librdkafka's last statistics.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        *self.shared.statistics()
    }

    pub(super) fn client_config(&self) -> Result<ClientConfig, ConnectionError> {
        settings::client_config(&self.config)
            .map_err(|error| ConnectionError(format!("kafka: {error}").into()))
    }

    pub(super) fn callbacks(&self) -> ClientCallbacks {
        ClientCallbacks {
            sink: Arc::clone(&self.name),
            shared: Arc::clone(&self.shared),
            tokens: Tokens::of(self.config.sasl.as_ref()),
        }
    }
}
