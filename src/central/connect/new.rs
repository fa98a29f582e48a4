//! New Central: path and headers of the handshake, and what its refusals mean.

use hyper::http::StatusCode;
use hyper::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::form_urlencoded::Serializer;

use crate::central::auth::credential::Credential;
use crate::central::error::Error;
use crate::config::Topic;
use crate::frame::Stream;
use crate::net::response::HttpResponse;

const SUBSCRIBER_ID: HeaderName = HeaderName::from_static("subscriber-id");

/// Path and query of a stream (seen in clients of HPE).
pub(crate) fn target(topic: &Topic) -> String {
    let Stream::New {
        service,
        version,
        event,
    } = &topic.stream
    else {
        return "/".to_owned();
    };
    let path = format!("/{service}/{version}/{event}");
    if topic.event_types.is_empty() {
        return path;
    }
    let types: Vec<&str> = topic.event_types.iter().map(String::as_str).collect();
    let query = Serializer::new(String::new())
        .append_pair("event-types", &types.join(","))
        .finish();
    format!("{path}?{query}")
}

/// # Errors
/// [`Error::Refused`]: a value has characters that a header must not have.
pub(crate) fn headers(token: &Credential, subscriber_id: &str) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, token.header("Bearer ")?);
    let id = HeaderValue::from_str(subscriber_id).map_err(|_| {
        Error::refused("subscriber_id has characters that an HTTP header must not have")
    })?;
    headers.insert(SUBSCRIBER_ID, id);
    Ok(headers)
}

/// The error for an answer that is not an upgrade (seen in clients, and inferred).
pub(crate) fn refusal(topic: &Topic, response: &HttpResponse, secrets: &[&str]) -> Error {
    let said = response.summary(secrets);
    let stream = &topic.stream;
    if response.is_later() {
        return Error::Later {
            reason: format!("Central is not ready for this connection ({said})"),
            retry_after: response.retry_after,
        };
    }
    Error::refused(match response.status {
        StatusCode::UNAUTHORIZED => format!(
            "Central refused a fresh access token ({said}): check that the client id belongs \
             to this Central, and that the endpoint is the one of the account's region"
        ),
        StatusCode::FORBIDDEN => format!(
            "Central does not let this client stream {stream} ({said}): the client needs a role that \
             may stream, and the devices need a subscription of the Advanced tier"
        ),
        StatusCode::BAD_REQUEST => format!(
            "Central does not understand the subscription to {stream} ({said}): check event_types"
        ),
        StatusCode::NOT_FOUND => format!(
            "Central has no stream {stream} ({said}): check service, version and event, and that the \
             endpoint is the one of the account's region"
        ),
        _ => format!("Central refused the connection ({said})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(event_types: &[&str]) -> Topic {
        Topic {
            stream: Stream::New {
                service: "network-services".to_owned(),
                version: "v1".to_owned(),
                event: "wids".to_owned(),
            },
            event_types: event_types.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    #[test]
    fn a_stream_is_a_path_and_a_filter() {
        assert_eq!(target(&topic(&[])), "/network-services/v1/wids");
        assert_eq!(
            target(&topic(&["b c", "a"])),
            "/network-services/v1/wids?event-types=a%2Cb+c"
        );
    }

    #[test]
    fn a_refusal_says_what_the_operator_must_do() {
        for (status, hint) in [
            (401, "client id"),
            (403, "a role"),
            (400, "event_types"),
            (404, "service, version and event"),
            (410, "410 Gone"),
        ] {
            let response = HttpResponse::new(status, "no token");
            let error = refusal(&topic(&[]), &response, &["token"]);
            assert!(matches!(error, Error::Refused { .. }), "{status}");
            let text = error.to_string();
            assert!(text.contains(hint) && text.contains("no ***"), "{text}");
        }
    }
}
