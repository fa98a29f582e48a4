//! One file a subcommand: each parses, calls the library and prints.

pub mod decode;
