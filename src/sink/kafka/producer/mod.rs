//! The parts of a producer: the wait for the cluster's first answer, and how many bytes librdkafka is
//! given before it has confirmed any of them.

pub(crate) mod first_answer;
pub(crate) mod in_flight;
pub(crate) mod in_flight_limit;
