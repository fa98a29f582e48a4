//! Which errors are for good, and what to tell the operator.

use rdkafka::error::RDKafkaErrorCode as Code;

/// Why no later try of the same record can end otherwise; `None`: one may.
pub(super) fn refusal(code: Code, topic: &str) -> Option<String> {
    let why = match code {
        Code::TopicAuthorizationFailed => {
            format!("this user may not write to the topic {topic} (allow it WRITE and DESCRIBE)")
        }
        Code::InvalidTopic => format!("`{topic}` is no name of a topic"),
        Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::PolicyViolation => format!("the topic {topic} does not take it: {code}"),
        _ => return None,
    };
    Some(why)
}

pub(super) fn missing(topic: &str) -> String {
    format!("there is no topic {topic} (create it, or write create = {{ partitions = ... }})")
}

pub(super) fn too_large_for_broker(topic: &str) -> String {
    format!("it is larger than the topic {topic} takes (raise its max.message.bytes)")
}

pub(super) fn too_large_for_client(bytes: usize) -> String {
    format!(
        "its {bytes} bytes are more than librdkafka takes (raise message.max.bytes in options, and \
         max.message.bytes of the topic)"
    )
}
