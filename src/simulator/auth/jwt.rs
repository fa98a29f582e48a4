//! JSON Web Tokens, signed with HS256. Classic keys and our access tokens have this form.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use ring::hmac;
use serde_json::Value;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

#[derive(Debug)]
pub(crate) struct Signer(hmac::Key);

impl Signer {
    pub(crate) fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let signed = format!(
            "{}.{}",
            BASE64URL.encode(HEADER),
            BASE64URL.encode(claims.to_string())
        );
        let signature = hmac::sign(&self.0, signed.as_bytes());
        format!("{signed}.{}", BASE64URL.encode(signature))
    }

    /// The claims of a token; `None` if it was not signed with this secret.
    pub(crate) fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = BASE64URL.decode(signature).ok()?;
        hmac::verify(&self.0, signed.as_bytes(), &signature).ok()?;
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&BASE64URL.decode(claims).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_reads_back_and_another_signer_refuses_it() {
        let claims = json!({"customer_id": "c1"});
        let token = Signer::new("a").sign(&claims);
        assert_eq!(Signer::new("a").verify(&token), Some(claims));
        assert_eq!(Signer::new("b").verify(&token), None);
        assert_eq!(Signer::new("a").verify(&token[1..]), None);
        assert_eq!(Signer::new("a").verify("x"), None);
    }
}
