//! Which requests are allowed.
//!
//! Without the token, only this machine may change anything. A browser on this machine does what any
//! web page tells it to, so that a local address alone is not enough: the page's `Origin` must be the
//! forwarder's own, and `Host` must name this machine. Otherwise a foreign name was made to point here
//! (DNS rebinding).

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::config::secret::Secret;

/// Paths that a supervisor of the process asks for; they say only whether it works.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

#[derive(Clone, Debug)]
pub(super) struct Guard {
    pub(super) token: Option<Secret>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NoToken,
    NotLocal,
    ForeignHost,
    ForeignOrigin,
}

/// Passes allowed requests on, and answers the others.
pub(super) async fn guard(
    State(guard): State<Guard>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    match guard.admit(peer, method, path, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

impl Guard {
    fn admit(
        &self,
        peer: IpAddr,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let is_local = peer.to_canonical().is_loopback() && !is_forwarded(headers);
        let has_token = self.has_token(headers);
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        if changes && !is_from_our_page(headers) {
            return Err(Refusal::ForeignOrigin);
        }
        if has_token {
            return Ok(());
        }
        if is_local {
            return if names_this_machine(headers) {
                Ok(())
            } else {
                Err(Refusal::ForeignHost)
            };
        }
        match self.token {
            Some(_) if !OPEN_PATHS.contains(&path) => Err(Refusal::NoToken),
            _ if changes => Err(Refusal::NotLocal),
            _ => Ok(()),
        }
    }

    /// The token may come as a bearer token or, as browsers send it, as a password with any user name.
    fn has_token(&self, headers: &HeaderMap) -> bool {
        let (Some(token), Some(given)) = (&self.token, text(headers, AUTHORIZATION)) else {
            return false;
        };
        let Some((scheme, given)) = given.split_once(' ') else {
            return false;
        };
        let given = if scheme.eq_ignore_ascii_case("bearer") {
            given.trim().as_bytes().to_vec()
        } else if scheme.eq_ignore_ascii_case("basic") {
            let pair = STANDARD.decode(given.trim()).unwrap_or_default();
            let colon = pair.iter().position(|byte| *byte == b':');
            colon.map_or_else(Vec::new, |colon| pair[colon + 1..].to_vec())
        } else {
            return false;
        };
        token.expose().as_bytes().ct_eq(&given).into()
    }
}

/// Whether a proxy on this machine passes on a request from elsewhere.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED)
        || headers.contains_key("x-forwarded-for")
        || headers.contains_key("x-real-ip")
}

/// Whether the request comes from the forwarder's own page, or from a program that is no browser: those
/// send neither header.
fn is_from_our_page(headers: &HeaderMap) -> bool {
    let site = text(headers, "sec-fetch-site");
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return false;
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().unwrap_or_default();
    let origin = origin.split_once("://").map(|(_, authority)| authority);
    origin.is_some() && origin == text(headers, HOST)
}

/// A literal address, or `localhost`.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = text(headers, HOST) else {
        return false;
    };
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

fn text(headers: &HeaderMap, name: impl axum::http::header::AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

impl Refusal {
    fn into_response(self) -> Response {
        let (status, why) = match self {
            Self::NoToken => (
                StatusCode::UNAUTHORIZED,
                "the token of [admin] is needed: Authorization: Bearer TOKEN",
            ),
            Self::NotLocal => (
                StatusCode::FORBIDDEN,
                "only from this machine, or with a token: set token in [admin]",
            ),
            Self::ForeignHost => (
                StatusCode::FORBIDDEN,
                "the Host header does not name this machine: ask for localhost, or an address",
            ),
            Self::ForeignOrigin => (
                StatusCode::FORBIDDEN,
                "a page of another origin may not ask for this",
            ),
        };
        let mut response = (status, Json(json!({ "error": why }))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let headers = response.headers_mut();
            for scheme in [
                "Bearer realm=\"central-forwarder\"",
                "Basic realm=\"central-forwarder\", charset=\"UTF-8\"",
            ] {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";
    const LOCAL: &str = "127.0.0.1";
    const REMOTE: &str = "192.0.2.7";

    /// What is decided about a request with these headers; `Host` is there already.
    fn asked(
        token: Option<&str>,
        peer: &str,
        method: &Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(), Refusal> {
        let mut map = HeaderMap::new();
        map.insert(HOST, HeaderValue::from_static("127.0.0.1:9600"));
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let guard = Guard {
            token: token.map(Secret::literal),
        };
        guard.admit(peer.parse().unwrap(), method, path, &map)
    }

    fn read(
        token: Option<&str>,
        peer: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(), Refusal> {
        asked(token, peer, &Method::GET, "/api/status", headers)
    }

    fn change(
        token: Option<&str>,
        peer: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(), Refusal> {
        asked(token, peer, &Method::POST, "/api/reload", headers)
    }

    #[test]
    fn this_machine_may_do_all_with_or_without_a_token() {
        for peer in [LOCAL, "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            for token in [None, Some(TOKEN)] {
                assert_eq!(read(token, peer, &[]), Ok(()), "{peer}");
                assert_eq!(change(token, peer, &[]), Ok(()), "{peer}");
            }
        }
    }

    #[test]
    fn others_may_look_if_there_is_no_token_and_change_nothing() {
        assert_eq!(read(None, REMOTE, &[("host", "forwarder:9600")]), Ok(()));
        assert_eq!(change(None, REMOTE, &[]), Err(Refusal::NotLocal));
        let empty = [("authorization", "Bearer ")];
        assert_eq!(change(None, REMOTE, &empty), Err(Refusal::NotLocal));
    }

    #[test]
    fn others_need_the_token_if_there_is_one() {
        let basic =
            |password: &str| format!("Basic {}", STANDARD.encode(format!("ops:{password}")));
        for good in [
            format!("Bearer {TOKEN}"),
            format!("bearer  {TOKEN}"),
            basic(TOKEN),
        ] {
            let headers = [("authorization", good.as_str())];
            assert_eq!(read(Some(TOKEN), REMOTE, &headers), Ok(()), "{good}");
            assert_eq!(change(Some(TOKEN), REMOTE, &headers), Ok(()), "{good}");
        }
        for bad in [
            "Bearer",
            "Bearer 0123456789abcdeF",
            "Basic !",
            "Basic",
            TOKEN,
            &basic(""),
            &basic("x"),
        ] {
            let headers = [("authorization", bad)];
            assert_eq!(
                read(Some(TOKEN), REMOTE, &headers),
                Err(Refusal::NoToken),
                "{bad}"
            );
            assert_eq!(
                change(Some(TOKEN), REMOTE, &headers),
                Err(Refusal::NoToken),
                "{bad}"
            );
        }
        for path in OPEN_PATHS {
            assert_eq!(asked(Some(TOKEN), REMOTE, &Method::GET, path, &[]), Ok(()));
            let change = asked(Some(TOKEN), REMOTE, &Method::POST, path, &[]);
            assert_eq!(change, Err(Refusal::NotLocal));
        }
    }

    #[test]
    fn a_proxy_on_this_machine_speaks_for_others() {
        for header in ["forwarded", "x-forwarded-for", "x-real-ip"] {
            let headers = [(header, "192.0.2.7")];
            assert_eq!(change(None, LOCAL, &headers), Err(Refusal::NotLocal));
            assert_eq!(read(Some(TOKEN), LOCAL, &headers), Err(Refusal::NoToken));
        }
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing_here() {
        for foreign in [
            [("origin", "http://evil.example")],
            [("origin", "null")],
            [("origin", "http://127.0.0.1:9601")],
            [("sec-fetch-site", "cross-site")],
            [("sec-fetch-site", "same-site")],
        ] {
            assert_eq!(
                change(None, LOCAL, &foreign),
                Err(Refusal::ForeignOrigin),
                "{foreign:?}"
            );
        }
        let ours = [
            ("origin", "http://127.0.0.1:9600"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(change(None, LOCAL, &ours), Ok(()));
    }

    #[test]
    fn a_foreign_name_that_points_here_shows_and_changes_nothing() {
        for host in [
            "evil.example",
            "evil.example:9600",
            "localhost.evil.example",
            "",
            "1.2.3.4.evil.example:80",
        ] {
            let headers = [("host", host)];
            assert_eq!(
                read(None, LOCAL, &headers),
                Err(Refusal::ForeignHost),
                "{host}"
            );
            let rebound = format!("http://{host}");
            let headers = [("host", host), ("origin", rebound.as_str())];
            assert_eq!(
                change(None, LOCAL, &headers),
                Err(Refusal::ForeignHost),
                "{host}"
            );
        }
        for host in [
            "localhost",
            "LOCALHOST:9600",
            "[::1]:9600",
            "[::1]",
            "127.0.0.1",
            "10.0.0.5:9600",
        ] {
            assert_eq!(read(None, LOCAL, &[("host", host)]), Ok(()), "{host}");
        }
    }
}
