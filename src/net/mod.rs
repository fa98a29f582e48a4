//! Connections to other machines: one way to dial, one HTTP client and one OAuth client for Central,
//! the brokers, token endpoints and schema registries. librdkafka alone dials by itself.
//!
//! ```text
//! oauth ─▶ http ─▶ dial ─▶ tcp ─▶ address
//!                   ├─▶ proxy (HTTP CONNECT)
//!                   └─▶ tls ─▶ certificate (what is wrong with one, and what to do)
//! ```

pub(crate) mod address;
pub(crate) mod tcp;
pub(crate) mod certificate;
pub mod tls;
pub(crate) mod response;
pub(crate) mod proxy;
pub(crate) mod dial;
pub(crate) mod error;
pub(crate) mod http;
pub(crate) mod oauth;
#[cfg(test)]
pub(crate) mod silent;

/// `User-Agent` of every request.
pub(crate) const USER_AGENT: &str = concat!("central-forwarder/", env!("CARGO_PKG_VERSION"));
