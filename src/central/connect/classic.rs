//! Classic Central: what the handshake says, and what its refusals mean.

use hyper::http::StatusCode;
use hyper::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::http::Answer;
use crate::central::auth::credential::Credential;
use crate::central::error::Error;

const TOPIC: HeaderName = HeaderName::from_static("topic");
const USER_NAME: HeaderName = HeaderName::from_static("username");

/// What Central answers, with status 400, where the topic is switched off (documented by HPE).
const UNSUBSCRIBED: &str = "unsubscribed topic";

/// The headers that Central wants besides those of every WebSocket handshake (documented by HPE).
///
/// # Errors
/// [`Error::Refused`]: a value that no header can hold.
pub(crate) fn headers(
    key: &Credential,
    topic: &str,
    user_name: Option<&str>,
) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, key.header("")?);
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
pub(crate) fn refusal(topic: &str, answer: &Answer, secrets: &[&str]) -> Error {
    let said = answer.said(secrets);
    if answer.is_later() {
        return Error::Later {
            reason: format!("Central is not ready for this connection ({said})"),
            retry_after: answer.retry_after,
        };
    }
    Error::refused(match answer.status {
        StatusCode::UNAUTHORIZED => format!(
            "Central refused the key ({said}): it is wrong or has expired; a key is good for 7 days, \
             the current one stands on the Streaming API page of Central"
        ),
        StatusCode::BAD_REQUEST if said.to_ascii_lowercase().contains(UNSUBSCRIBED) => format!(
            "Central does not stream the topic {topic} to this account ({said}): enable the topic on \
             the Streaming API page of Central (Account Home > Webhooks)"
        ),
        StatusCode::NOT_FOUND => format!(
            "there is no streaming API at this address ({said}): the endpoint should look like \
             wss://HOST/streaming/api"
        ),
        _ => format!("Central refused the connection ({said})"),
    })
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
            &Answer {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: Some(Duration::from_secs(7)),
                body: said.to_owned().into(),
            },
            &[],
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
            (400, "no", "400 Bad Request: no"),
            (403, "forbidden", "403 Forbidden: forbidden"),
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
