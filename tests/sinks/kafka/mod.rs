//! Kafka, real or librdkafka's mock cluster, read by Kafka's own console consumer.

mod outages;
mod readiness;
mod records;
mod registry;
mod smoke;
