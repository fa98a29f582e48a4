//! Which errors are for good, and what to tell the operator.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::sink::{Cause, Failure};

/// Why no later try of the same record can end otherwise; `None`: one may.
pub(super) fn refusal(code: Code, topic: &str) -> Option<Failure> {
    let (cause, why) = match code {
        Code::TopicAuthorizationFailed => (
            Cause::Unauthorized,
            format!("this user may not write to the topic {topic} (allow it WRITE and DESCRIBE)"),
        ),
        Code::InvalidTopic => (Cause::Invalid, format!("`{topic}` is no name of a topic")),
        Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::PolicyViolation => (
            Cause::Invalid,
            format!("the topic {topic} does not take it: {code}"),
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

pub(super) fn too_large_for_broker(topic: &str) -> Failure {
    Failure::new(
        Cause::TooLarge,
        format!("it is larger than the topic {topic} takes (raise its max.message.bytes)"),
    )
}

pub(super) fn too_large_for_client(bytes: usize) -> Failure {
    Failure::new(
        Cause::TooLarge,
        format!(
            "its {bytes} bytes are more than librdkafka takes (raise message.max.bytes in options, and \
             max.message.bytes of the topic)"
        ),
    )
}
