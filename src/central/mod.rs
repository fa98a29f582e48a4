//! All that knows Central: how to connect, what a refusal means, when a connection is dead.
//!
//! [`Central`] is what all subscriptions share, a [`Source`] what those of one account share. A
//! [`subscription::Task`] keeps one of them connected for ever: one session after the other, with a
//! backoff between them. What a session reads goes to the journal as it came; nothing is decoded here.
//!
//! ```text
//! Source ─┬─ auth: the key or token, taken anew for each connection and renewed before it ends
//!         └─ net::dial ▶ connect: the handshake and its refusals
//!                └─▶ session: liveness, handover, ingest ─▶ Appender
//! ```

mod auth;
mod backoff_policy;
mod connect;
mod counters;
mod error;
mod gaps;
mod handle;
mod probe;
mod session;
mod settings;
mod shared;
mod source;
mod state_files;
mod stop;
pub mod subscription;

pub use self::error::{Cause, Error};
pub use self::probe::probe;
pub use self::settings::Settings;
pub use self::shared::Central;
pub use self::source::Source;
pub use crate::net::tls::InvalidConfig;
