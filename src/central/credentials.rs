//! The key of one account.

use std::sync::Mutex;

use hyper::http::HeaderValue;

use super::error::Error;
use crate::config::secret::Secret;

/// What stands in a message where a key stood.
const REDACTED: &str = "***";

/// The key that each connect takes anew. Its renewal has its place here.
#[derive(Debug)]
pub(crate) struct Credentials {
    key: Mutex<Secret>,
}

impl Credentials {
    pub(crate) fn new(key: Secret) -> Self {
        Self {
            key: Mutex::new(key),
        }
    }

    /// The current key; one that stands in a file is read again, so that a new key needs no restart.
    ///
    /// # Errors
    /// [`Error::Refused`]: the file is gone or empty.
    pub(crate) async fn take(&self) -> Result<Key, Error> {
        let known = self.known();
        let current = tokio::task::spawn_blocking(move || known.read_again())
            .await
            .map_err(|stopped| Error::refused(stopped.to_string()))?
            .map_err(|unreadable| Error::refused(format!("the key: {unreadable}")))?;
        *self.key.lock().expect("no code panics with the lock") = current.clone();
        Ok(Key(current))
    }

    fn known(&self) -> Secret {
        self.key
            .lock()
            .expect("no code panics with the lock")
            .clone()
    }
}

/// The key of one connect.
#[derive(Debug)]
pub(crate) struct Key(Secret);

impl Key {
    /// The key as it stands in `Authorization`: raw, without a scheme (documented by HPE).
    ///
    /// # Errors
    /// [`Error::Refused`]: no header can hold it.
    pub(crate) fn header(&self) -> Result<HeaderValue, Error> {
        let mut value = HeaderValue::from_str(self.0.expose().trim())
            .map_err(|_| Error::refused("the key holds characters that no header may hold"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Takes the key out of what a server said: some repeat it.
    pub(crate) fn redact(&self, text: &str) -> String {
        match self.0.expose().trim() {
            "" => text.to_owned(),
            key => text.replace(key, REDACTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_a_server_repeats_is_not_shown() {
        let key = Key(Secret::literal("s3cret"));
        assert_eq!(key.redact("bad key s3cret!"), "bad key ***!");
        assert!(!format!("{key:?} {:?}", key.header().unwrap()).contains("s3cret"));
    }

    #[test]
    fn a_key_that_no_header_can_hold_is_refused() {
        let error = Key(Secret::literal("a\nb")).header().unwrap_err();
        assert!(matches!(error, Error::Refused { .. }));
    }
}
