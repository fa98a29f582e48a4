//! All that knows Central: how to connect, what a refusal means, when a connection is dead.
//!
//! [`Central`] is what all subscriptions share, an [`AccountClient`] what those of one account share. A
//! [`subscription::Task`] keeps one topic connected: one session after the other, with a backoff
//! between them. A frame goes to the journal as it was received; nothing is decoded here.
//!
//! ```text
//! AccountClient ─┬─ auth: the key or token, renewed before it expires
//!                └─ net::dial ▶ connect: the handshake and its refusals
//!                      └─▶ session: liveness, handover, ingest ─▶ Appender
//! ```
//!
//! `gaps` keeps account of the times without a connection, `probe` tries an account once, and
//! `state_files` replaces the files that outlive the process.

mod account_client;
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
mod state_files;
pub mod subscription;

pub use self::account_client::AccountClient;
pub use self::error::{Cause, Error};
pub use self::probe::probe;
pub use self::settings::Settings;
pub use self::shared::Central;
pub use crate::net::tls::InvalidConfig;
