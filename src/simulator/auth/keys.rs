//! The keys of Classic Central.
//!
//! A key is an HS256 JWT that holds `customer_id` and `creation_date` (documented by HPE). When its
//! lifetime is over Central makes the next one by itself. With the old one a client can still ask for the
//! new one, but it opens no stream.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::jwt::Signer;
use crate::config::secret::Secret;
use crate::simulator::clock::since_epoch;

pub(crate) struct Keys {
    /// The only key if keys do not expire, and otherwise the secret that keys are signed with.
    first: Secret,
    signer: Signer,
    customer_id: String,
    lifetime: Option<Duration>,
    current: Mutex<Key>,
}

/// A key, and when it expires.
#[derive(Clone)]
pub(crate) struct Key {
    text: Arc<str>,
    number: u64,
    expiry: Expiry,
}

/// When a credential expires: at a time, or when it is made to.
#[derive(Clone, Debug)]
pub(crate) struct Expiry {
    at: Option<Instant>,
    now: CancellationToken,
}

impl Keys {
    pub(crate) fn new(
        first: Secret,
        customer_id: &str,
        lifetime: Option<Duration>,
        now: Instant,
    ) -> Self {
        let signer = Signer::new(first.expose());
        let text = match lifetime {
            Some(_) => sign(&signer, customer_id, 0),
            None => first.expose().to_owned(),
        };
        let current = Key {
            text: text.into(),
            number: 0,
            expiry: Expiry::at(lifetime.map(|lifetime| now + lifetime)),
        };
        Self {
            first,
            signer,
            customer_id: customer_id.to_owned(),
            lifetime,
            current: Mutex::new(current),
        }
    }

    /// The key that opens streams now.
    pub(crate) fn current(&self, now: Instant) -> Secret {
        Secret::literal(&*self.with_current(now, |key| key.text.clone()))
    }

    /// When the given key expires; `None` if it does not open streams.
    pub(crate) fn admit(&self, given: &[u8], now: Instant) -> Option<Expiry> {
        self.with_current(now, |current| {
            let valid = given == current.text.as_bytes();
            valid.then(|| current.expiry.clone())
        })
    }

    /// Whether the key opens streams or once did.
    pub(crate) fn knows(&self, given: &[u8]) -> bool {
        let signed = str::from_utf8(given).is_ok_and(|text| self.signer.verify(text).is_some());
        signed || given == self.first.expose().as_bytes()
    }

    /// Makes the current key expire before its time.
    pub(crate) fn expire(&self, now: Instant) {
        self.with_current(now, |current| self.replace(current, now));
    }

    fn with_current<T>(&self, now: Instant, use_key: impl FnOnce(&mut Key) -> T) -> T {
        let mut current = self.current.lock().expect("no code panics with the lock");
        if current.expiry.is_over(now) {
            self.replace(&mut current, now);
        }
        use_key(&mut current)
    }

    fn replace(&self, current: &mut Key, now: Instant) {
        let number = current.number + 1;
        let next = Key {
            text: sign(&self.signer, &self.customer_id, number).into(),
            number,
            expiry: Expiry::at(self.lifetime.map(|lifetime| now + lifetime)),
        };
        std::mem::replace(current, next).expiry.now.cancel();
    }
}

/// The number makes keys different that are made within one second.
fn sign(signer: &Signer, customer_id: &str, number: u64) -> String {
    signer.sign(&json!({
        "customer_id": customer_id,
        "creation_date": since_epoch().as_secs(),
        "number": number,
    }))
}

impl Expiry {
    pub(crate) fn at(at: Option<Instant>) -> Self {
        Self {
            at,
            now: CancellationToken::new(),
        }
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.now.is_cancelled() || self.at.is_some_and(|at| now >= at)
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self) {
        match self.at {
            Some(at) => tokio::select! {
                () = sleep_until(at) => {}
                () = self.now.cancelled() => {}
            },
            None => self.now.cancelled().await,
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn keys(lifetime: Option<Duration>, now: Instant) -> Keys {
        Keys::new(Secret::literal("first"), "c1", lifetime, now)
    }

    #[test]
    fn a_key_without_a_lifetime_is_the_one_that_was_given() {
        let now = Instant::now();
        let keys = keys(None, now);
        assert_eq!(keys.current(now + 1000 * HOUR).expose(), "first");
        assert!(keys.admit(b"first", now).is_some());
        assert!(keys.admit(b"other", now).is_none());
        assert!(!keys.knows(b"other"));
    }

    #[test]
    fn a_key_ends_and_the_old_one_is_still_known() {
        let now = Instant::now();
        let keys = keys(Some(HOUR), now);
        let old = keys.current(now);
        let expiry = keys.admit(old.expose().as_bytes(), now).unwrap();
        assert!(!expiry.is_over(now + HOUR / 2));
        let current = keys.current(now + HOUR);
        assert!(expiry.is_over(now + HOUR));
        assert_ne!(old.expose(), current.expose());
        assert!(keys.admit(old.expose().as_bytes(), now + HOUR).is_none());
        assert!(keys.knows(old.expose().as_bytes()));
        assert!(
            keys.admit(current.expose().as_bytes(), now + HOUR)
                .is_some()
        );
    }

    #[test]
    fn a_key_can_be_ended_before_its_time() {
        let now = Instant::now();
        for lifetime in [None, Some(HOUR)] {
            let keys = keys(lifetime, now);
            let old = keys.current(now);
            let expiry = keys.admit(old.expose().as_bytes(), now).unwrap();
            keys.expire(now);
            assert!(expiry.is_over(now));
            assert!(keys.admit(old.expose().as_bytes(), now).is_none());
            assert!(keys.knows(old.expose().as_bytes()));
        }
    }

    #[test]
    fn a_key_says_when_and_for_whom_it_was_made() {
        let now = Instant::now();
        let key = keys(Some(HOUR), now).current(now);
        let claims = Signer::new("first").verify(key.expose()).unwrap();
        assert_eq!(claims["customer_id"], "c1");
        assert!(claims["creation_date"].as_u64().unwrap() > 1_700_000_000);
    }
}
