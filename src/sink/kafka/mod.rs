//! Kafka through librdkafka: idempotent, `acks=all`, confirmed by the delivery report.
//!
//! A producer that has failed is dropped with its sink, and the next one is sent everything unconfirmed,
//! in order. What is to outlive a producer is in `shared_state`.
//!
//! - `producer`: the wait for the cluster's first answer, and the limit of what is in flight
//! - `events`: what librdkafka reports through its callbacks
//! - `admin`: creating topics, and the probe of `check --connect`
//! - `schema_registry`: the wire format of Confluent's schema registry

mod admin;
mod events;
mod explain;
mod producer;
mod schema_registry;
mod settings;
mod shared_state;
mod sink;
mod target;
mod token;

pub use self::events::statistics::Statistics;
pub use self::settings::check_option;
pub use self::sink::KafkaSink;
pub use self::target::Target;
