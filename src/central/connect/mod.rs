//! How a WebSocket of Central is opened, and what Central's refusals mean.
//!
//! - [`classic`], [`new`]: the request of each generation of Central, and its refusals.
//! - [`handshake`]: the WebSocket handshake on a connected stream.
//! - [`dial`], [`proxy`]: the stream: TCP, TLS, a proxy in front.
//! - [`http`]: requests for keys and tokens, and how an answer is read.

pub(crate) mod classic;
pub(crate) mod dial;
pub(crate) mod handshake;
pub(crate) mod http;
pub(crate) mod new;
mod proxy;
