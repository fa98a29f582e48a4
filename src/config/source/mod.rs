//! From files and environment variables to one tree in which each value knows its key path and its
//! position.
//!
//! - `layers`: the files in their order, and where each value stands
//! - `environment`: the variables that override them
//! - `tree`: the merged values, and the deserializer that reads from them

pub(crate) mod environment;
pub(crate) mod layers;
pub(crate) mod tree;
