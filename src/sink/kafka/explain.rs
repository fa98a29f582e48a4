//! Which errors are final, and what the operator reads about them.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::sink::{Cause, Failure};

/// Why no later attempt with the same record can succeed; `None`: one may.
pub(super) fn refusal(code: Code, topic: &str) -> Option<Failure> {
    let (cause, why) = match code {
        Code::TopicAuthorizationFailed => (
            Cause::Unauthorized,
            format!("this user may not write to the topic {topic} (allow it WRITE and DESCRIBE)"),
        ),
        Code::InvalidTopic => (
            Cause::Invalid,
            format!("`{topic}` is not a valid topic name"),
        ),
        Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::PolicyViolation => (
            Cause::Invalid,
            format!("the topic {topic} does not accept the record: {code}"),
        ),
        _ => return None,
    };
    Some(Failure::new(cause, why))
}

pub(super) fn missing(topic: &str) -> Failure {
    let advice = "create it, or write create = { partitions = ... }";
    Failure::new(
        Cause::NoDestination,
        format!("there is no topic {topic} ({advice})"),
    )
}

/// One producer was told that the topic does not exist.
pub(super) fn perhaps_missing(topic: &str) -> Failure {
    Failure::new(
        Cause::NoDestination,
        format!(
            "the cluster knows no topic {topic}; it is asked once more before records for the topic \
             become dead letters"
        ),
    )
}

pub(super) fn too_large_for_broker(topic: &str) -> Failure {
    Failure::new(
        Cause::TooLarge,
        format!(
            "the record is larger than the topic {topic} accepts (raise its max.message.bytes)"
        ),
    )
}

pub(super) fn batch_too_large(topic: &str) -> Failure {
    Failure::new(
        Cause::TooLarge,
        format!("a batch is larger than the topic {topic} accepts; smaller ones will be sent"),
    )
}

pub(super) fn too_large_for_client(bytes: usize) -> Failure {
    Failure::new(
        Cause::TooLarge,
        format!(
            "the record of {bytes} bytes is larger than librdkafka accepts (raise message.max.bytes in \
             options, and max.message.bytes of the topic)"
        ),
    )
}
