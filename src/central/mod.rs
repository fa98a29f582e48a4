//! All that knows Central: how to connect, what a refusal means, when a connection is dead.
//!
//! A [`Source`] is what the subscriptions of one account share. A [`subscription::Task`] keeps one
//! of them connected for ever: one session after the other, with a backoff between them. What a
//! session reads goes to the journal as it came; nothing is decoded here.
//!
//! ```text
//! Source ─┬─ credentials   the key, taken anew for each connect
//!         └─ dial ▶ handshake (classic: headers, refusals) ▶ session (liveness) ▶ Appender
//! ```

mod classic;
mod counters;
mod credentials;
mod dial;
mod error;
mod handshake;
mod liveness;
mod session;
mod settings;
mod source;
pub mod subscription;

pub use self::error::{Cause, Error};
pub use self::settings::Settings;
pub use self::source::Source;
pub use crate::tls::Unusable;
