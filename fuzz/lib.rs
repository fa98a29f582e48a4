//! What holds whatever the input is: no panic, no hang, and what is written is JSON.

use central_forwarder::transcode::{JsonStyle, MessageId, Tables, write_json};
use serde::Deserialize as _;
use serde::de::IgnoredAny;

/// Writes `payload` in both styles.
///
/// # Panics
/// What was written is not JSON, or something was left behind by a failure.
pub fn payload(tables: &Tables, id: MessageId, payload: &[u8]) {
    for style in [JsonStyle::Canonical, JsonStyle::Readable] {
        let mut json = b"before".to_vec();
        match write_json(tables, id, payload, style, &mut json) {
            Ok(()) => is_json(&json[b"before".len()..]),
            Err(error) => {
                assert_eq!(json, b"before");
                assert!(error.offset <= payload.len(), "{error}");
            }
        }
    }
}

/// # Panics
/// It is not.
pub fn is_json(text: &[u8]) {
    let mut parser = serde_json::Deserializer::from_slice(text);
    parser.disable_recursion_limit();
    IgnoredAny::deserialize(&mut parser).expect("JSON");
    parser.end().expect("nothing but JSON");
}
