//! What librdkafka reports: the callbacks, the limit on repeated log lines, outages of the whole
//! cluster, and statistics.

pub(crate) mod log_limiter;
pub(crate) mod outage;
pub(crate) mod reports;
pub(crate) mod statistics;
