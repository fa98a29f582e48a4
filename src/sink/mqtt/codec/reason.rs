//! What a broker's reason codes mean for a record and for a connection.
//!
//! Those of MQTT 5 are 0 or at least 16; those of a 3.1.1 CONNACK are 1 to 5. One table has both.

use crate::sink::{Cause, Failure, Outcome};

const SUCCESS: u8 = 0x00;
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
const NOT_AUTHORIZED: u8 = 0x87;
const TOPIC_NAME_INVALID: u8 = 0x90;
pub(crate) const ID_NOT_FOUND: u8 = 0x92;
pub(crate) const QUOTA_EXCEEDED: u8 = 0x97;
const PACKET_TOO_LARGE: u8 = 0x95;
const PAYLOAD_FORMAT_INVALID: u8 = 0x99;

/// What the reason code of an acknowledgement means for the record.
pub(crate) fn outcome(code: u8) -> Outcome {
    match code {
        SUCCESS | NO_MATCHING_SUBSCRIBERS => Outcome::Confirmed,
        TOPIC_NAME_INVALID | PACKET_TOO_LARGE | PAYLOAD_FORMAT_INVALID => {
            let why = format!("the broker refuses the record: {}", text(code));
            Outcome::Refused(Failure::new(cause(code), why))
        }
        NOT_AUTHORIZED => Outcome::Retry(Failure::new(
            Cause::Unauthorized,
            "this client may not publish to the topic (allow it in the broker's access rules)",
        )),
        _ => {
            let why = format!("the broker did not accept a record: {}", text(code));
            Outcome::Retry(Failure::new(cause(code), why))
        }
    }
}

/// Why the broker refuses or ends a connection; `what` it does comes first.
pub(crate) fn failure(what: &str, code: u8) -> Failure {
    Failure::new(cause(code), format!("{what}: {}", text(code)))
}

fn cause(code: u8) -> Cause {
    match code {
        2 | 4 | 5 | 0x85..=0x87 | 0x8a | 0x8c => Cause::Unauthorized,
        3 | 0x88 | 0x89 | 0x93 | 0x96 | 0x97 | 0x9f => Cause::Overloaded,
        0x8d => Cause::Timeout,
        PACKET_TOO_LARGE => Cause::TooLarge,
        1 | 0x81..=0x84 | TOPIC_NAME_INVALID | PAYLOAD_FORMAT_INVALID | 0x9a | 0x9b => {
            Cause::Invalid
        }
        _ => Cause::Other,
    }
}

/// Whether an acknowledgement with this code says that the broker does not have the record.
pub(crate) fn is_failure(code: u8) -> bool {
    code >= 0x80
}

/// What a code means, and what to do where that is known.
pub(crate) fn text(code: u8) -> String {
    let known = match code {
        SUCCESS => "no reason given",
        1 | 0x84 => "it does not speak this version of MQTT (set `version`)",
        2 | 0x85 => "it does not accept the client_id",
        4 | 0x86 => "it does not accept the username or the password",
        5 | NOT_AUTHORIZED => {
            "not authorized (check username and password, and the broker's access rules)"
        }
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        3 | 0x88 => "it is not available",
        0x89 => "it is busy",
        0x8a => "this client is banned",
        0x8b => "it is shutting down",
        0x8d => "it received nothing within the keep-alive time",
        0x8e => {
            "another client connected with the same client_id (give each forwarder and sink its own)"
        }
        TOPIC_NAME_INVALID => "topic name invalid",
        0x91 => "packet identifier in use",
        ID_NOT_FOUND => "packet identifier not found",
        0x93 => "more records in flight than it allows",
        PACKET_TOO_LARGE => "packet too large",
        0x96 => "message rate too high",
        QUOTA_EXCEEDED => "quota exceeded",
        0x98 => "administrative action",
        PAYLOAD_FORMAT_INVALID => "payload format invalid",
        0x9a => "it does not retain messages (set retain = false, and no status_topic)",
        0x9b => "it does not support this QoS (set a lower `qos`)",
        0x9c | 0x9d => "another server is to be used (change the `url`)",
        0x9f => "connection rate exceeded",
        0xa0 => "maximum connect time",
        _ => return format!("reason code {code:#04x}"),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_told_apart() {
        for code in [0x00, 0x10] {
            assert_eq!(outcome(code), Outcome::Confirmed, "{code:#x}");
        }
        for code in [0x90, 0x95, 0x99] {
            assert!(matches!(outcome(code), Outcome::Refused(_)), "{code:#x}");
        }
        for code in [0x80, 0x83, 0x87, 0x91, 0x92, 0x97, 0xff] {
            assert!(matches!(outcome(code), Outcome::Retry(_)), "{code:#x}");
        }
    }

    #[test]
    fn an_unknown_code_is_shown_as_the_specification_writes_it() {
        assert_eq!(text(0xee), "reason code 0xee");
    }
}
