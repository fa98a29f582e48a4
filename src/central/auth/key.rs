//! The key of Classic Central: when it expires, and how the next one is fetched.
//!
//! A key is a JWT. Its payload says when it was issued, and it is valid for seven days. Central then
//! has a new key and returns it to a request that shows the old one (documented by HPE). Until then
//! the same request returns the same key, so it is sent more and more often as the expiry comes near.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::http::StatusCode;
use hyper::http::header::AUTHORIZATION;
use rand::{Rng, RngExt as _};
use url::Url;

use super::credential::{Credential, Renewed};
use super::key_file::KeyFile;
use crate::central::connect::transport::Transport;
use crate::central::error::{Cause, Error};
use crate::central::settings::Settings;
use crate::config::secret::Secret;
use crate::net::dial::authority;
use crate::net::http::Request;
use crate::net::response::HttpResponse;

/// Documented by HPE.
const VALIDATE: &str = "/streaming/token/validate";

/// How often the current key is requested if the one that is known does not say when it was issued.
const UNKNOWN_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest pause between two requests once a key should have expired.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(crate) struct KeyRenewer {
    /// Returns the current key.
    url: Url,
    transport: Transport,
    file: KeyFile,
}

impl KeyRenewer {
    /// For streams at `endpoint`. Also returns the first key: the newer of the seed and the renewed key
    /// that an earlier run has kept.
    pub(crate) fn new(
        endpoint: &Url,
        transport: Transport,
        seed: &Secret,
        state_dir: Option<&Path>,
        settings: &Settings,
    ) -> (Self, Renewed) {
        let file = KeyFile::of(seed, state_dir);
        let kept = file.read().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read the renewed key: using the key of the config");
            None
        });
        let key = match kept {
            Some(kept) if is_newer(&kept, seed) => kept,
            _ => seed.clone(),
        };
        let first = described(key, settings.key_lifetime, SystemTime::now());
        let renewer = Self {
            url: validate_url(endpoint),
            transport,
            file,
        };
        (renewer, first)
    }

    pub(crate) async fn renew(
        &self,
        current: Option<&Credential>,
        settings: &Settings,
    ) -> Result<Renewed, Error> {
        let Some(current) = current else {
            return Err(Error::refused("there is no key to begin with"));
        };
        let authorization = current.header("")?;
        let request = Request::get(&self.url).header(AUTHORIZATION, authorization);
        let response = self.transport.send(settings, request).await?;
        let key = read(&response, current.expose())?;
        let now = SystemTime::now();
        if key.expose() == current.expose() {
            return Ok(described(
                current.secret.clone(),
                settings.key_lifetime,
                now,
            ));
        }
        self.save(&key).await;
        tracing::info!(host = authority(&self.url), "Central has renewed the key");
        Ok(described(key, settings.key_lifetime, now))
    }

    /// Where the key cannot be kept, this run uses it all the same.
    async fn save(&self, key: &Secret) {
        let (file, key) = (self.file.clone(), key.clone());
        let written = tokio::task::spawn_blocking(move || file.write(&key)).await;
        let failure = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(stopped) => stopped.to_string(),
        };
        tracing::error!(
            "cannot save the renewed key, so that the next start has to request it again: {failure}"
        );
    }
}

/// The address of the key request, at the host of an endpoint.
fn validate_url(endpoint: &Url) -> Url {
    let mut url = endpoint.clone();
    let scheme = if url.scheme() == "wss" {
        "https"
    } else {
        "http"
    };
    url.set_scheme(scheme)
        .expect("one scheme of the web may take another's place");
    url.set_path(VALIDATE);
    url.set_query(None);
    url
}

fn read(response: &HttpResponse, old: &str) -> Result<Secret, Error> {
    #[derive(serde::Deserialize)]
    struct Validated {
        token: String,
    }
    let summary = || response.summary(&[old]);
    if response.is_later() {
        return Err(Error::Later {
            reason: format!("Central does not renew keys now ({})", summary()),
            retry_after: response.retry_after,
        });
    }
    if response.status != StatusCode::OK {
        return Err(Error::refused(format!(
            "Central does not renew this key ({}): copy the current one from the Streaming API page \
             of Central",
            summary()
        )));
    }
    // What serde says, and the body, may show the key.
    let body = response.body().unwrap_or_default();
    let validated: Option<Validated> = serde_json::from_slice(body).ok();
    let fits = |token: &str| token.bytes().all(|byte| byte.is_ascii_graphic());
    match validated.map(|validated| validated.token) {
        Some(token) if !token.is_empty() && fits(&token) => Ok(Secret::given(token)),
        _ => Err(Error::broken(
            Cause::Handshake,
            "Central's answer to the question for the current key holds none",
        )),
    }
}

fn described(key: Secret, lifetime: Duration, now: SystemTime) -> Renewed {
    let issued = issued(key.expose());
    let expires = issued.and_then(|issued| issued.checked_add(lifetime));
    let rng = &mut rand::rng();
    let due = match expires {
        Some(expires) => due(now, expires, lifetime, rng),
        None => now + UNKNOWN_AGE.mul_f64(rng.random_range(0.5..1.0)),
    };
    Renewed {
        secret: key,
        issued,
        expires,
        due,
    }
}

/// When to request the next key: first in the last seventh of the lifetime, at a random time so that
/// many forwarders do not ask at once; then each time half of the remaining time has passed; then
/// right after the expiry; then less and less often.
fn due(now: SystemTime, expires: SystemTime, lifetime: Duration, rng: &mut impl Rng) -> SystemTime {
    let lead = lifetime / 7;
    let shortest = lifetime / 10_000;
    let first = expires - lead.mul_f64(rng.random_range(0.5..1.0));
    if now < first {
        return first;
    }
    match expires.duration_since(now) {
        Ok(left) if left > shortest => now + left / 2,
        // A little after, since clocks differ.
        Ok(left) => now + left + shortest,
        Err(after) => now + after.duration().clamp(shortest, LONGEST_PAUSE),
    }
}

fn is_newer(key: &Secret, other: &Secret) -> bool {
    match (issued(key.expose()), issued(other.expose())) {
        (Some(key), Some(other)) => key > other,
        // Without the times, the renewed key is taken for the newer one.
        _ => true,
    }
}

/// When a key was issued: `creation_date` (documented by HPE) or `Created` (seen in a client), in
/// seconds since 1970.
fn issued(key: &str) -> Option<SystemTime> {
    let payload = key.trim().split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let claim = claims
        .get("creation_date")
        .or_else(|| claims.get("Created"))?;
    let seconds = match claim {
        serde_json::Value::String(text) => text.parse().ok()?,
        number => number.as_f64()?,
    };
    let since = Duration::try_from_secs_f64(seconds).ok()?;
    UNIX_EPOCH.checked_add(since)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::config::{Proxy, Tls};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn key(payload: &str) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn a_key_says_when_it_was_issued() {
        let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(
            issued(&key(r#"{"creation_date":1700000000}"#)),
            at(1_700_000_000)
        );
        assert_eq!(
            issued(&key(r#"{"Created":"1700000000"}"#)),
            at(1_700_000_000)
        );
        assert_eq!(issued(&key(r#"{"creation_date":1e300}"#)), None);
        assert_eq!(issued(&key(r#"{"creation_date":-1}"#)), None);
        for odd in [
            "",
            "simulated-key",
            "a.b.c",
            "a.!.c",
            &key("[]"),
            &key("{}"),
        ] {
            assert_eq!(issued(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_key_of_the_far_future_has_no_known_expiry() {
        let secret = Secret::literal(key(r#"{"creation_date":9223372036854774784}"#));
        let described = described(secret, 7 * DAY, SystemTime::now());
        assert!(described.issued.is_some() && described.expires.is_none());
    }

    #[test]
    fn the_next_key_is_requested_in_the_seventh_day_and_right_after_the_expiry() {
        let rng = &mut SmallRng::seed_from_u64(7);
        let issued = UNIX_EPOCH + 1000 * DAY;
        let expires = issued + 7 * DAY;
        let mut now = issued;
        let mut requests = Vec::new();
        for _ in 0..40 {
            let next = due(now, expires, 7 * DAY, rng);
            assert!(next > now);
            requests.push(next);
            now = next;
        }
        assert!(requests[0] > issued + 6 * DAY && requests[0] <= expires - DAY / 2);
        let after = requests.iter().position(|time| *time > expires).unwrap();
        assert!(after < 12, "{after}");
        assert!(requests[after] < expires + DAY / 100);
        assert!(requests[39] > requests[38] + LONGEST_PAUSE / 2);
    }

    #[test]
    fn the_newer_of_two_keys_is_used() {
        let settings = Settings::default();
        let folder = tempfile::tempdir().unwrap();
        let endpoint = "wss://central.example/streaming/api?x".parse().unwrap();
        let transport = Transport {
            tls: Tls::default(),
            proxy: Proxy::None,
        };
        let begin = |seed: &Secret| {
            let transport = transport.clone();
            let state_dir = Some(folder.path());
            let (renewer, first) =
                KeyRenewer::new(&endpoint, transport, seed, state_dir, &settings);
            let url = "https://central.example/streaming/token/validate";
            assert_eq!(renewer.url.as_str(), url);
            first.secret.expose().to_owned()
        };
        let of = |day: u64| key(&format!("{{\"creation_date\":{}}}", day * 86_400));
        let seed = Secret::literal(of(10));
        assert_eq!(begin(&seed), of(10));
        let file = KeyFile::of(&seed, Some(folder.path()));
        file.write(&Secret::given(of(17))).unwrap();
        assert_eq!(begin(&seed), of(17));
        file.write(&Secret::given(of(3))).unwrap();
        assert_eq!(begin(&seed), of(10));
        assert_eq!(begin(&Secret::literal(of(11))), of(11));
    }
}
