//! The daemon as a whole: its admin endpoint, reload, service manager, outages and panics.

mod admin;
mod alerts;
mod dashboard;
mod end_to_end;
mod outages;
mod panics;
mod reload;
mod secrets;
mod service_manager;
