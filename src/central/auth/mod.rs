//! The credentials that Central accepts, and their renewal.
//!
//! - [`credential`]: a key or an access token, and how its renewal fares.
//! - [`credential_store`]: holds the current credential of one account and renews it, once for all
//!   subscriptions that share it.
//! - [`key`], [`key_file`]: the keys of Classic Central, and where a renewed key is kept.
//! - [`token`]: the access tokens of New Central.

pub(crate) mod credential;
pub(crate) mod credential_store;
pub(crate) mod key;
mod key_file;
pub(crate) mod token;
