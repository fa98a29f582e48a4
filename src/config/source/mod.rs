//! From files and environment variables to one tree in which each value knows its key path and its
//! position.
//!
//! - `layers`: the files in their order, and where each value stands
//! - `environment`: the variables that override them
//! - `key_path`: how the place of a value is written: `accounts.acme.topics[1]`
//! - `field_names`: the keys that a table may have
//! - `tree`: the merged values, and the deserializer that reads from them

pub(crate) mod environment;
pub(crate) mod field_names;
pub(crate) mod key_path;
pub(crate) mod layers;
pub(crate) mod tree;
