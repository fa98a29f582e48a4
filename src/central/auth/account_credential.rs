//! The credential of one account, as its config names it.

use std::sync::{Arc, Mutex};

use url::Url;

use super::credential::CredentialStatus;
use super::credential_store::CredentialStore;
use super::registry::Registry;
use crate::central::connect::transport::Transport;
use crate::central::error::Error;
use crate::config::secret::Secret;
use crate::config::{Access, Account};
use crate::sync::lock;

pub(crate) enum AccountCredential {
    Key(Box<ConfiguredKey>),
    Token(Arc<CredentialStore>),
}

impl AccountCredential {
    /// Must be called within a runtime.
    pub(crate) fn new(registry: &Arc<Registry>, account: &Account, transport: Transport) -> Self {
        match &account.access {
            Access::New(access) => Self::Token(registry.token(&transport, access)),
            Access::Classic(access) => {
                let store = registry.key(&account.endpoint, &transport, &access.key);
                Self::Key(Box::new(ConfiguredKey {
                    latest: Mutex::new((access.key.clone(), store)),
                    registry: Arc::clone(registry),
                    endpoint: account.endpoint.clone(),
                    transport,
                }))
            }
        }
    }

    pub(crate) fn status(&self) -> CredentialStatus {
        match self {
            Self::Key(key) => key.latest().1.status(),
            Self::Token(token) => token.status(),
        }
    }

    /// The store that is to be asked for the key or token.
    ///
    /// # Errors
    /// The key's file cannot be read.
    pub(crate) async fn store(&self) -> Result<Arc<CredentialStore>, Error> {
        match self {
            Self::Key(key) => key.store().await,
            Self::Token(token) => Ok(Arc::clone(token)),
        }
    }
}

/// A key of Classic Central that may stand in a file, which is read again for each connection: a new
/// key in it needs no restart.
pub(crate) struct ConfiguredKey {
    /// As it was read last, and the store that renews it.
    latest: Mutex<(Secret, Arc<CredentialStore>)>,
    registry: Arc<Registry>,
    endpoint: Url,
    transport: Transport,
}

impl ConfiguredKey {
    async fn store(&self) -> Result<Arc<CredentialStore>, Error> {
        let (known, store) = self.latest();
        let before = known.clone();
        let seed = tokio::task::spawn_blocking(move || known.read_again())
            .await
            .map_err(|stopped| Error::refused(stopped.to_string()))?
            .map_err(|unreadable| Error::refused(format!("the key: {unreadable}")))?;
        if seed == before {
            return Ok(store);
        }
        // The file may hold the renewed key, written there by its own renewal.
        let store = if store.holds(seed.expose().trim()) {
            store
        } else {
            self.registry.key(&self.endpoint, &self.transport, &seed)
        };
        let mut latest = lock(&self.latest);
        *latest = (seed, Arc::clone(&store));
        Ok(store)
    }

    fn latest(&self) -> (Secret, Arc<CredentialStore>) {
        let latest = lock(&self.latest);
        latest.clone()
    }
}
