//! What an operator and a monitoring system see of the daemon, over HTTP.
//!
//! ```text
//! daemon::Handle ──snapshot──▶ Status ─┬─▶ /api/status, /api/events, and the page that shows them
//!                                      ├─▶ /metrics   (families: one row a metric)
//!                                      └─▶ /readyz    (what is not ready, and why)
//! ```
//!
//! Everything is read from the handles when somebody asks. Nothing is counted here, and no part of the
//! daemon knows who reads it.

mod actions;
pub mod families;
mod guard;
mod last_day;
mod live;
pub mod metrics;
mod server;
mod snapshot;
pub mod status;

use std::sync::{Arc, Mutex};

pub use self::server::{BindError, Bound};

use self::last_day::LastDay;
use self::live::Live;
use self::status::Status;
use crate::daemon;
use crate::sync::lock;

/// What every answer is made from.
#[derive(Clone, Debug)]
struct App {
    daemon: daemon::Handle,
    live: Arc<Live>,
    last_day: Arc<Mutex<LastDay>>,
}

impl App {
    /// Everything that is known at this moment.
    fn status(&self) -> Status {
        let mut status = snapshot::of(&self.daemon);
        let mut last_day = lock(&self.last_day);
        status.last_day = last_day.update(&status);
        status
    }
}
