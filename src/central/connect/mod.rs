//! How a WebSocket of Central is opened, and what Central's refusals mean.
//!
//! - [`classic`], [`new`]: the request of each generation of Central, and its refusals.
//! - [`handshake`]: the WebSocket handshake on a connected stream.
//! - [`transport`]: how connections and requests go to Central: deadlines, TLS, a proxy in front.

pub(crate) mod classic;
pub(crate) mod handshake;
pub(crate) mod new;
pub(crate) mod transport;
