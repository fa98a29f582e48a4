//! The time of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
