//! Requests to the services beside a stream or a broker: token endpoints, registries.

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use rustls::ClientConfig;

use crate::config::{PemFile, Proxy, Tls};
use crate::tls;

pub(crate) const OUR_NAME: &str = concat!("central-forwarder/", env!("CARGO_PKG_VERSION"));

/// A client that believes the authority in `ca_file` beside the system's, goes through the proxy of
/// the environment where there is one, and gives up after `patience`.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn client(ca_file: Option<&Path>, patience: Duration) -> Result<Client, String> {
    let tls = Tls {
        ca_file: ca_file.map(PemFile::new),
        insecure: false,
    };
    let builder = builder(&tls, &Proxy::Environment)?.timeout(patience);
    builder.build().map_err(|error| explain(&error))
}

/// What all our clients have in common. They follow no redirects: those would carry secrets to a
/// place that nobody has written down.
///
/// # Errors
/// The CA file or the proxy cannot be used.
pub(crate) fn builder(tls: &Tls, proxy: &Proxy) -> Result<ClientBuilder, String> {
    let tls = tls::client_config(tls, None, &[b"http/1.1"]).map_err(|error| error.to_string())?;
    let builder = Client::builder()
        .tls_backend_preconfigured(ClientConfig::clone(&tls))
        .redirect(Policy::none())
        .user_agent(OUR_NAME);
    Ok(match proxy {
        Proxy::Environment => builder,
        Proxy::None => builder.no_proxy(),
        Proxy::Url(url) => {
            let proxy = reqwest::Proxy::all(url.expose()).map_err(|error| explain(&error))?;
            builder.proxy(proxy)
        }
    })
}

/// What happened, down to the cause, without the URL: it may hold a secret.
pub(crate) fn explain(error: &reqwest::Error) -> String {
    if let Some(rustls::Error::InvalidCertificate(reason)) = tls_error(error) {
        return tls::not_trusted("its certificate", reason, "ca_file");
    }
    let mut cause = error.source();
    let mut said = None;
    while let Some(inner) = cause {
        said = Some(inner.to_string());
        cause = inner.source();
    }
    said.unwrap_or_else(|| error.to_string())
}

/// What TLS had against the other side, if that was it.
pub(crate) fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let inner = match error.downcast_ref::<io::Error>() {
        // Its source is that of the error in it.
        Some(error) => error
            .get_ref()
            .map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    };
    tls_error(inner?)
}
