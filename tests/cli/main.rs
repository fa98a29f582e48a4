//! The commands as a user types them.

mod commands;
