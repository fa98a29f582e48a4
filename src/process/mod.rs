//! The process and its operating system: signals, the service manager, and how threads are scheduled.

pub mod notify;
pub(crate) mod scheduling;
pub mod signals;
