//! What librdkafka reports through its callbacks: log messages, errors, delivery reports, statistics; and
//! what is made of them: fewer log lines, outages of the whole cluster, and numbers for metrics.

pub(crate) mod client_callbacks;
pub(crate) mod log_limiter;
pub(crate) mod outage;
pub(crate) mod producer_callbacks;
pub(crate) mod statistics;
