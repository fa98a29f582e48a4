//! The credentials that are in use, and their refresh tasks.
//!
//! Accounts that have the same key, or the same client, share one credential and its renewal.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use tokio::task::JoinSet;
use url::Url;
use xxhash_rust::xxh3::Xxh3Default;

use super::credential::Renewed;
use super::credential_store::CredentialStore;
use super::key::KeyRenewer;
use super::refresh::{self, Renewer};
use super::token::{Client, TokenRenewer};
use crate::central::connect::transport::Transport;
use crate::central::settings::Settings;
use crate::config::secret::Secret;
use crate::config::{NewAccess, Proxy};
use crate::net::dial::authority;
use crate::net::oauth::OauthClient;
use crate::sync::lock;

/// One for a process. A credential leaves it when its last user drops it.
#[derive(Debug)]
pub(crate) struct Registry {
    state_dir: Option<PathBuf>,
    settings: Settings,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By a hash of what makes them the same.
    stores: HashMap<u128, Weak<CredentialStore>>,
    tasks: JoinSet<()>,
}

impl Registry {
    /// Renewed keys are kept in `state_dir`; without it, they last as long as the process.
    pub(crate) fn new(state_dir: Option<&Path>, settings: &Settings) -> Self {
        Self {
            state_dir: state_dir.map(Path::to_owned),
            settings: *settings,
            inner: Mutex::default(),
        }
    }

    /// The key of Classic Central that begins with `seed`, for streams at `endpoint`. Must be called
    /// within a runtime.
    pub(crate) fn key(
        &self,
        endpoint: &Url,
        transport: &Transport,
        seed: &Secret,
    ) -> Arc<CredentialStore> {
        let parts = [&authority(endpoint), seed.expose().trim()];
        self.get_or_begin(identity(transport, "key", &parts), || {
            let transport = transport.clone();
            let (state_dir, settings) = (self.state_dir.as_deref(), &self.settings);
            let (key, first) = KeyRenewer::new(endpoint, transport, seed, state_dir, settings);
            (Renewer::Key(Box::new(key)), Some(first))
        })
    }

    /// The access tokens of a client of New Central. Those of a provider's tenant are exchanged for the
    /// provider's own, which all its tenants share. Must be called within a runtime.
    pub(crate) fn token(&self, transport: &Transport, access: &NewAccess) -> Arc<CredentialStore> {
        let client = |url: &Url| Client {
            oauth: OauthClient {
                url: url.clone(),
                id: access.client_id.clone(),
                secret: access.client_secret.clone(),
            },
            transport: transport.clone(),
        };
        let begin = |url: &Url, renewer: TokenRenewer| {
            let (id, secret) = (&access.client_id, &access.client_secret);
            let parts = [url.as_str(), id.expose().trim(), secret.expose().trim()];
            self.get_or_begin(identity(transport, "token", &parts), || {
                (Renewer::Token(Box::new(renewer)), None)
            })
        };
        let url = &access.token_url;
        let provider = begin(url, TokenRenewer::Own(client(url)));
        let Some(url) = &access.tenant_token_url else {
            return provider;
        };
        let client = client(url);
        begin(url, TokenRenewer::Tenant { client, provider })
    }

    fn get_or_begin(
        &self,
        identity: u128,
        make: impl FnOnce() -> (Renewer, Option<Renewed>),
    ) -> Arc<CredentialStore> {
        let mut inner = lock(&self.inner);
        inner.look_at_ended_tasks();
        if let Some(store) = inner.stores.get(&identity).and_then(Weak::upgrade) {
            return store;
        }
        inner.stores.retain(|_, store| store.strong_count() > 0);
        let (renewer, first) = make();
        let (store, task) = refresh::new(renewer, first, &self.settings);
        inner.tasks.spawn(task.run());
        let store = Arc::new(store);
        inner.stores.insert(identity, Arc::downgrade(&store));
        store
    }
}

impl Inner {
    fn look_at_ended_tasks(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!("a bug: a task that renews a credential failed: {error}");
            }
        }
    }
}

fn identity(transport: &Transport, kind: &str, parts: &[&str]) -> u128 {
    let mut hash = Xxh3Default::new();
    hash.write(format!("{kind} {transport:?}").as_bytes());
    if let Proxy::Url(url) = &transport.proxy {
        hash.update(url.expose().as_bytes());
    }
    for part in parts {
        hash.update(&[0]);
        hash.update(part.as_bytes());
    }
    hash.digest128()
}
