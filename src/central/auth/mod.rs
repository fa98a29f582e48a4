//! The credentials that Central accepts, and their renewal.
//!
//! - [`credential`]: a key or an access token, and how its renewal fares.
//! - [`account_credential`]: the key or token that an account's config names.
//! - [`credential_store`]: the handle of a credential that subscriptions share.
//! - [`refresh`]: the task that renews it, one for each credential.
//! - [`registry`]: all credentials that are in use, and their tasks.
//! - [`key`], [`key_file`]: the keys of Classic Central, and where a renewed key is kept.
//! - [`token`]: the access tokens of New Central.

pub(crate) mod account_credential;
pub(crate) mod credential;
pub(crate) mod credential_store;
mod key;
mod key_file;
mod refresh;
pub(crate) mod registry;
mod token;
