//! Requests to Central: they go the way that the streams of their account go.

use crate::central::error::Error;
use crate::central::settings::Settings;
use crate::config::{Proxy, Tls};
use crate::net::dial::Timeouts;
use crate::net::http::{self, MAX_TOKEN_BYTES, Request};
use crate::net::response::HttpResponse;

/// The key of an account that names further authorities.
pub(crate) const CA_KEY: &str = "tls.ca_file";

/// Which authorities the connections of an account trust, and which proxy they go through.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) tls: Tls,
    pub(crate) proxy: Proxy,
}

impl Transport {
    pub(crate) fn client(&self, settings: &Settings) -> http::Client {
        http::Client {
            tls: self.tls.clone(),
            proxy: self.proxy.clone(),
            ca_key: CA_KEY,
            dial: timeouts(settings),
            timeout: settings.connect_timeout + settings.tls_timeout + settings.handshake_timeout,
            max_body_bytes: MAX_TOKEN_BYTES,
        }
    }

    /// # Errors
    /// There is no connection, or no response in time.
    pub(crate) async fn send(
        &self,
        settings: &Settings,
        request: Request<'_>,
    ) -> Result<HttpResponse, Error> {
        Ok(self.client(settings).send(request).await?)
    }
}

pub(crate) fn timeouts(settings: &Settings) -> Timeouts {
    Timeouts {
        connect: settings.connect_timeout,
        tls: settings.tls_timeout,
        proxy: settings.handshake_timeout,
        unacknowledged: Some(Timeouts::UNACKNOWLEDGED),
    }
}
