//! `QoS` 2 over several connections: the exchanges that a connection left unfinished, and how the next
//! one finishes them.

pub(crate) mod pending;
pub(crate) mod resume;
