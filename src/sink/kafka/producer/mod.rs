//! The parts of a producer: the wait for a cluster's first answer, and how much is handed to
//! librdkafka before it has confirmed any of it.

pub(crate) mod connect;
pub(crate) mod in_flight;
pub(crate) mod in_flight_limit;
