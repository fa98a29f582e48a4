//! Classic Central: what the handshake says, and what its refusals mean.

use hyper::http::StatusCode;
use hyper::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::credentials::Key;
use super::error::Error;
use super::handshake::Rejection;

const TOPIC: HeaderName = HeaderName::from_static("topic");
const USER_NAME: HeaderName = HeaderName::from_static("username");

/// What Central answers, with status 400, where the topic is switched off (documented by HPE).
const UNSUBSCRIBED: &str = "unsubscribed topic";

/// The headers that Central wants besides those of every WebSocket handshake (documented by HPE).
///
/// # Errors
/// [`Error::Refused`]: a value that no header can hold.
pub(crate) fn headers(key: &Key, topic: &str, user_name: Option<&str>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, key.header()?);
    headers.insert(TOPIC, value("the topic", topic)?);
    if let Some(user_name) = user_name {
        headers.insert(USER_NAME, value("the username", user_name)?);
    }
    Ok(headers)
}

/// What follows from an answer that is not an upgrade.
///
/// 401 and 400 are documented by HPE. Limits are not published, so 429 and every server error are
/// taken for "later" (inferred).
pub(crate) fn refusal(topic: &str, rejection: &Rejection) -> Error {
    let said = &rejection.said;
    match rejection.status {
        StatusCode::UNAUTHORIZED => Error::refused(format!(
            "Central refused the key ({said}): it is wrong or has expired; a key is good for 7 days, \
             the current one stands on the Streaming API page of Central"
        )),
        StatusCode::BAD_REQUEST if said.to_ascii_lowercase().contains(UNSUBSCRIBED) => {
            Error::refused(format!(
                "Central does not stream the topic {topic} to this account ({said}): enable the \
                 topic on the Streaming API page of Central (Account Home > Webhooks)"
            ))
        }
        StatusCode::NOT_FOUND => Error::refused(format!(
            "there is no streaming API at this address ({said}): the endpoint should look like \
             wss://HOST/streaming/api"
        )),
        status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
            Error::Later {
                reason: format!("Central is not ready for this connection ({said})"),
                retry_after: rejection.retry_after,
            }
        }
        _ => Error::refused(format!("Central refused the connection ({said})")),
    }
}

fn value(what: &str, text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text)
        .map_err(|_| Error::refused(format!("{what} holds characters that no header may hold")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn refused(status: u16, said: &str) -> Error {
        refusal(
            "security",
            &Rejection {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: Some(Duration::from_secs(7)),
                said: format!("{status}: {said}"),
            },
        )
    }

    #[test]
    fn what_an_operator_must_do_is_said() {
        for (status, said, hint) in [
            (401, "", "has expired"),
            (
                400,
                "Unsubscribed Topic",
                "enable the topic on the Streaming API page",
            ),
            (400, "unsubscribed topic: x", "the topic security"),
            (404, "", "wss://HOST/streaming/api"),
            (400, "no", "400: no"),
            (403, "forbidden", "403: forbidden"),
        ] {
            let error = refused(status, said);
            assert!(matches!(error, Error::Refused { .. }), "{status}");
            assert!(error.to_string().contains(hint), "{error}");
        }
    }

    #[test]
    fn what_heals_by_itself_is_tried_again_when_central_says() {
        for status in [429, 500, 502, 503, 504] {
            let Error::Later { retry_after, .. } = refused(status, "") else {
                panic!("{status} must be tried again");
            };
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
        }
    }
}
