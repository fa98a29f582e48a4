//! The credential that Central accepts: a key of Classic Central or an access token of New Central.

use std::time::SystemTime;

use hyper::http::HeaderValue;

use crate::central::error::Error;
use crate::config::secret::Secret;
use crate::frame::Timestamp;

/// A key or an access token.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) secret: Secret,
    /// Differs for each credential that a store has held.
    pub(crate) serial: u64,
    pub(crate) issued: Option<SystemTime>,
    pub(crate) expires: Option<SystemTime>,
}

impl Credential {
    /// The value of `Authorization`: the scheme, if it is not empty, and the credential.
    ///
    /// # Errors
    /// [`Error::Refused`]: it has characters that a header must not have.
    pub(crate) fn header(&self, scheme: &str) -> Result<HeaderValue, Error> {
        let text = format!("{scheme}{}", self.secret.expose().trim());
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            Error::refused("the key or token has characters that an HTTP header must not have")
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    pub(crate) fn expose(&self) -> &str {
        self.secret.expose().trim()
    }
}

/// A credential as Central gave it.
#[derive(Debug)]
pub(crate) struct Renewed {
    pub(crate) secret: Secret,
    pub(crate) issued: Option<SystemTime>,
    pub(crate) expires: Option<SystemTime>,
    /// When to renew it.
    pub(crate) due: SystemTime,
}

impl Renewed {
    pub(crate) fn into_credential(self, serial: u64) -> Credential {
        Credential {
            secret: self.secret,
            serial,
            issued: self.issued,
            expires: self.expires,
        }
    }
}

/// How the credential of a subscription fares. No field holds the credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialStatus {
    /// From the key itself, or when the token was received; `None`: the key does not say.
    pub issued: Option<Timestamp>,
    pub expires: Option<Timestamp>,
    /// When it is renewed, or its renewal is tried again.
    pub due: Option<Timestamp>,
    /// Why the last renewal failed, if it did: an operator may have to act before the credential
    /// expires.
    pub failure: Option<Error>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_not_shown() {
        let credential = Credential {
            secret: Secret::literal(" s3cret\n"),
            serial: 1,
            issued: None,
            expires: None,
        };
        let header = credential.header("Bearer ").unwrap();
        assert_eq!(header, "Bearer s3cret");
        assert!(!format!("{credential:?} {header:?}").contains("s3cret"));
        let error = Credential {
            secret: Secret::literal("a\nb"),
            ..credential
        };
        let error = error.header("").unwrap_err();
        assert!(matches!(error, Error::Refused { .. }));
    }
}
