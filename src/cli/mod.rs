//! One file a subcommand: arguments in, library called, result printed.

pub mod simulate;
