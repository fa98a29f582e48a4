//! The access tokens of New Central: OAuth 2.0 client credentials (RFC 6749, section 4.4) and, for
//! the tenants of a service provider, token exchange (RFC 8693).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::jwt::Signer;
use crate::config::secret::Secret;
use crate::simulator::clock::since_epoch;

const CLIENT_CREDENTIALS: &str = "client_credentials";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

pub(crate) struct Tokens {
    client_id: Secret,
    client_secret: Secret,
    lifetime: Duration,
    signer: Signer,
    /// The number of the last token.
    issued: AtomicU64,
    /// Tokens up to this number were made to expire.
    expired: AtomicU64,
}

/// What a token says.
#[derive(Debug)]
pub(crate) struct Claims {
    /// The tenant whose token it is, if it is a tenant's.
    pub(crate) tenant: Option<String>,
}

/// A response of the token endpoint: its status and JSON body.
pub(crate) type TokenResponse = (StatusCode, Value);

impl Tokens {
    pub(crate) fn new(client_id: Secret, client_secret: Secret, lifetime: Duration) -> Self {
        Self {
            signer: Signer::new(client_secret.expose()),
            client_id,
            client_secret,
            lifetime,
            issued: AtomicU64::new(0),
            expired: AtomicU64::new(0),
        }
    }

    /// Answers a request, of which `authorization` is the header and `form` the body. `tenant` is
    /// the workspace that the path names, if it does.
    pub(crate) fn answer(
        &self,
        authorization: Option<&str>,
        form: &[u8],
        tenant: Option<&str>,
    ) -> TokenResponse {
        let form = Form(form);
        if !self.is_client(authorization, &form) {
            return refusal(StatusCode::UNAUTHORIZED, "invalid_client");
        }
        match form.value("grant_type").as_deref() {
            Some(CLIENT_CREDENTIALS) => self.issue(tenant, None),
            Some(TOKEN_EXCHANGE) => self.exchange(&form, tenant),
            Some(_) => refusal(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            None => refusal(StatusCode::BAD_REQUEST, "invalid_request"),
        }
    }

    /// The claims of a token; `None` if it was not issued here, or has expired.
    pub(crate) fn verify(&self, token: &str) -> Option<Claims> {
        let claims = self.signer.verify(token)?;
        let number = claims["jti"].as_u64().unwrap_or(0);
        let expires = claims["exp"].as_f64().unwrap_or(0.0);
        let is_valid = number > self.expired.load(Relaxed) && since_epoch().as_secs_f64() < expires;
        let tenant = claims["tenant"].as_str().map(str::to_owned);
        is_valid.then_some(Claims { tenant })
    }

    /// How many tokens were issued.
    pub(crate) fn issued(&self) -> u64 {
        self.issued.load(Relaxed)
    }

    /// Makes all tokens expire.
    pub(crate) fn expire(&self) {
        self.expired.store(self.issued.load(Relaxed), Relaxed);
    }

    /// Checks the client's credentials, which may be in HTTP Basic or in the form (RFC 6749, section 2.3.1).
    fn is_client(&self, authorization: Option<&str>, form: &Form<'_>) -> bool {
        let (id, secret) = (self.client_id.expose(), self.client_secret.expose());
        if let Some(basic) = authorization.and_then(|header| header.strip_prefix("Basic ")) {
            return basic == BASE64_STANDARD.encode(format!("{id}:{secret}"));
        }
        let given = |name| form.value(name).unwrap_or_default();
        given("client_id") == id && given("client_secret") == secret
    }

    fn exchange(&self, form: &Form<'_>, tenant: Option<&str>) -> TokenResponse {
        let subject = form.value("subject_token").unwrap_or_default();
        if form.value("subject_token_type").as_deref() != Some(ACCESS_TOKEN) {
            return refusal(StatusCode::BAD_REQUEST, "invalid_request");
        }
        let subject = self.verify(&subject);
        if subject.is_none_or(|subject| subject.tenant.is_some()) {
            return refusal(StatusCode::UNAUTHORIZED, "invalid_client");
        }
        self.issue(tenant, Some(ACCESS_TOKEN))
    }

    fn issue(&self, tenant: Option<&str>, kind: Option<&str>) -> TokenResponse {
        let number = self.issued.fetch_add(1, Relaxed) + 1;
        let token = self.signer.sign(&json!({
            "jti": number,
            "tenant": tenant,
            "exp": (since_epoch() + self.lifetime).as_secs_f64(),
        }));
        let mut answer = json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": seconds(self.lifetime),
        });
        if let Some(kind) = kind {
            answer["issued_token_type"] = kind.into();
        }
        (StatusCode::OK, answer)
    }
}

/// Whole seconds, rounded up: RFC 6749 has no fractions.
fn seconds(lifetime: Duration) -> u64 {
    lifetime.as_secs() + u64::from(lifetime.subsec_nanos() > 0)
}

/// An error response (RFC 6749, section 5.2).
fn refusal(status: StatusCode, error: &str) -> TokenResponse {
    (status, json!({ "error": error }))
}

struct Form<'a>(&'a [u8]);

impl Form<'_> {
    fn value(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.0)
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.into_owned())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(lifetime: Duration) -> Tokens {
        Tokens::new(Secret::literal("id"), Secret::literal("s3cret"), lifetime)
    }

    fn token(answer: &TokenResponse) -> String {
        assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
        answer.1["access_token"].as_str().unwrap().to_owned()
    }

    const GRANT: &[u8] = b"grant_type=client_credentials&client_id=id&client_secret=s3cret";

    #[test]
    fn a_client_shows_itself_in_the_form_or_in_the_header() {
        let tokens = tokens(Duration::from_secs(7200));
        let basic = format!("Basic {}", BASE64_STANDARD.encode("id:s3cret"));
        let answer = tokens.answer(Some(&basic), b"grant_type=client_credentials", None);
        assert_eq!(answer.1["expires_in"], 7200);
        assert!(tokens.verify(&token(&answer)).is_some());
        assert!(
            tokens
                .verify(&token(&tokens.answer(None, GRANT, None)))
                .is_some()
        );
    }

    #[test]
    fn others_are_refused() {
        let tokens = tokens(Duration::from_secs(7200));
        for (form, status, error) in [
            ("grant_type=client_credentials", 401, "invalid_client"),
            (
                "grant_type=client_credentials&client_id=id&client_secret=x",
                401,
                "invalid_client",
            ),
            (
                "grant_type=password&client_id=id&client_secret=s3cret",
                400,
                "unsupported_grant_type",
            ),
            ("client_id=id&client_secret=s3cret", 400, "invalid_request"),
        ] {
            let (answered, body) = tokens.answer(None, form.as_bytes(), None);
            assert_eq!((answered.as_u16(), &body["error"]), (status, &json!(error)));
        }
    }

    #[test]
    fn a_token_is_exchanged_for_that_of_a_tenant() {
        let tokens = tokens(Duration::from_secs(7200));
        let parent = token(&tokens.answer(None, GRANT, None));
        let exchange = |subject: &str| {
            let form = form_urlencoded::Serializer::new(String::new())
                .append_pair("grant_type", TOKEN_EXCHANGE)
                .append_pair("client_id", "id")
                .append_pair("client_secret", "s3cret")
                .append_pair("subject_token", subject)
                .append_pair("subject_token_type", ACCESS_TOKEN)
                .finish();
            tokens.answer(None, form.as_bytes(), Some("tenant7"))
        };
        let answer = exchange(&parent);
        assert_eq!(answer.1["issued_token_type"], ACCESS_TOKEN);
        let tenant = token(&answer);
        let claims = tokens.verify(&tenant).unwrap();
        assert_eq!(claims.tenant.as_deref(), Some("tenant7"));
        for no_providers in ["nonsense", &tenant] {
            assert_eq!(exchange(no_providers).0, StatusCode::UNAUTHORIZED);
        }
    }

    #[test]
    fn a_token_ends_by_itself_or_is_ended() {
        let over = tokens(Duration::ZERO);
        assert!(
            over.verify(&token(&over.answer(None, GRANT, None)))
                .is_none()
        );
        let tokens = tokens(Duration::from_secs(7200));
        let old = token(&tokens.answer(None, GRANT, None));
        tokens.expire();
        assert!(tokens.verify(&old).is_none());
        assert!(
            tokens
                .verify(&token(&tokens.answer(None, GRANT, None)))
                .is_some()
        );
    }
}
