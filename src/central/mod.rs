//! All that knows Central: how to connect, what a refusal means, when a connection is dead.
//!
//! [`Central`] is what all subscriptions share, a [`Source`] what those of one account share. A
//! [`subscription::Task`] keeps one of them connected for ever: one session after the other, with a
//! backoff between them. What a session reads goes to the journal as it came; nothing is decoded here.
//!
//! ```text
//! Source ─┬─ keeper        the key or token, taken anew for each connect, renewed before it ends
//!         │    └ key, token ▶ http
//!         └─ dial (proxy) ▶ handshake (classic, new: headers, refusals)
//!                └─▶ session (liveness, succession) ▶ feed ▶ Appender
//! ```

mod classic;
mod counters;
mod dial;
mod error;
mod feed;
mod handle;
mod handshake;
mod http;
mod keeper;
mod key;
mod liveness;
mod new;
mod outage;
mod probe;
mod proxy;
mod session;
mod settings;
mod shared;
mod source;
mod stop;
mod store;
pub mod subscription;
mod succession;
mod token;
mod waits;
mod window;

pub use self::error::{Cause, Error};
pub use self::probe::probe;
pub use self::settings::Settings;
pub use self::shared::Central;
pub use self::source::Source;
pub use crate::tls::Unusable;
