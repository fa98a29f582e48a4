//! Classic Central: the headers of the handshake, and what its refusals mean.

use hyper::http::StatusCode;
use hyper::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::central::auth::credential::Credential;
use crate::central::error::Error;
use crate::net::response::HttpResponse;

const TOPIC: HeaderName = HeaderName::from_static("topic");
const USER_NAME: HeaderName = HeaderName::from_static("username");

/// The body of status 400 where the topic is not enabled (documented by HPE).
const UNSUBSCRIBED: &str = "unsubscribed topic";

/// The headers that Central requires besides those of every WebSocket handshake (documented by HPE).
///
/// # Errors
/// [`Error::Refused`]: a value has characters that a header must not have.
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

/// The error for an answer that is not an upgrade.
///
/// 401 and 400 are documented by HPE. Limits are not published, so 429 and every server error count as
/// [`Error::Later`] (inferred).
pub(crate) fn refusal(topic: &str, response: &HttpResponse, secrets: &[&str]) -> Error {
    let said = response.summary(secrets);
    if response.is_later() {
        return Error::Later {
            reason: format!("Central is not ready for this connection ({said})"),
            retry_after: response.retry_after,
        };
    }
    Error::refused(match response.status {
        StatusCode::UNAUTHORIZED => format!(
            "Central refused the key ({said}): it is wrong or has expired; a key is valid for 7 days, \
             copy the current one from the Streaming API page of Central"
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
    HeaderValue::from_str(text).map_err(|_| {
        Error::refused(format!(
            "{what} has characters that an HTTP header must not have"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn refused(status: u16, said: &str) -> Error {
        let mut response = HttpResponse::new(status, said.to_owned());
        response.retry_after = Some(Duration::from_secs(7));
        refusal("security", &response, &[])
    }

    #[test]
    fn a_refusal_says_what_the_operator_must_do() {
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
    fn a_temporary_refusal_keeps_the_time_that_central_asks_for() {
        for status in [429, 500, 502, 503, 504] {
            let Error::Later { retry_after, .. } = refused(status, "") else {
                panic!("{status} must be tried again");
            };
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
        }
    }
}
