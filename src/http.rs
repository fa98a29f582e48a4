//! Requests to small services beside a broker: token endpoints.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use reqwest::Client;
use rustls::ClientConfig;

use crate::config::{PemFile, Tls};
use crate::tls;

/// A client that believes the authority in `ca_file` beside the system's, and gives up after
/// `patience`.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn client(ca_file: Option<&Path>, patience: Duration) -> Result<Client, String> {
    let tls = Tls {
        ca_file: ca_file.map(PemFile::new),
        insecure: false,
    };
    let tls = tls::client_config(&tls, None, &[b"http/1.1"]).map_err(|error| error.to_string())?;
    Client::builder()
        .tls_backend_preconfigured(ClientConfig::clone(&tls))
        .timeout(patience)
        .user_agent(concat!("central-forwarder/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| explain(&error))
}

/// What happened, down to the cause, without the URL: it may hold a secret.
pub(crate) fn explain(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut said = None;
    while let Some(inner) = cause {
        said = Some(inner.to_string());
        cause = inner.source();
    }
    said.unwrap_or_else(|| error.to_string())
}
