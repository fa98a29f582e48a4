//! What all connections share, and who is admitted to which stream.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::form_urlencoded;

use super::Options;
use crate::simulator::auth::keys::{Expiry, Keys};
use crate::simulator::auth::tokens::Tokens;
use crate::simulator::clock::since_epoch;
use crate::simulator::faults::{FaultKind, Faults};
use crate::simulator::frames::Ring;
use crate::simulator::frames::site::Site;
use crate::simulator::handshakes::Handshakes;
use crate::simulator::supply::Supply;
use crate::simulator::supply::ledger::Ledger;
use crate::simulator::supply::pace::Pace;
use crate::simulator::supply::subscribers::{Identity, Subscribers};

/// The query parameter that selects event types (seen in clients).
const FILTER: &str = "event-types";

const SUBSCRIBER_ID: &str = "subscriber-id";

/// The version that the UUID of a `Subscriber-Id` must have (documented by HPE), and its position.
const UUID_VERSION: (usize, u8) = (14, b'4');

/// The simulated Central.
#[derive(Debug)]
pub(crate) struct Central {
    rate: u32,
    count: Option<u64>,
    /// By topic or path.
    rings: BTreeMap<String, Arc<Ring>>,
    pub(crate) keys: Keys,
    pub(crate) tokens: Tokens,
    subscribers: Subscribers,
    pub(crate) ledger: Ledger,
    pub(crate) faults: Faults,
    pub(crate) handshakes: Handshakes,
    quiet: AtomicBool,
    pub(crate) connections: TaskTracker,
    /// Cancelled to drop the open connections. Later ones get a new token.
    connected: Mutex<CancellationToken>,
}

/// What an admitted client gets.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Topic or path.
    pub(crate) stream: String,
    pub(crate) ring: Arc<Ring>,
    pub(crate) supply: Supply,
    pub(crate) expiry: Expiry,
    /// The tenant whose token it was, if it was a tenant's.
    pub(crate) tenant: Option<String>,
}

/// A status and its text.
pub(crate) type Refusal = (StatusCode, &'static str);

const UNAUTHORIZED: Refusal = (StatusCode::UNAUTHORIZED, "Unauthorized");

/// The answer for a topic that no operator has enabled (documented by HPE).
const UNSUBSCRIBED: Refusal = (StatusCode::BAD_REQUEST, "Unsubscribed Topic");

impl Central {
    pub(crate) fn new(options: Options) -> Self {
        let now = u32::try_from(since_epoch().as_secs()).unwrap_or(u32::MAX);
        let site = Site::new(options.seed);
        let topics = options.topics.iter().map(|topic| {
            let ring = Ring::classic(topic, &site, options.seed, now);
            (topic.clone(), Arc::new(ring))
        });
        let events = options.events.iter().map(|path| {
            let ring = Ring::new_central(path, options.bare_payloads, &site, options.seed, now);
            (path.clone(), Arc::new(ring))
        });
        Self {
            rings: topics.chain(events).collect(),
            keys: Keys::new(
                options.key,
                &site.customer_id,
                options.key_lifetime,
                Instant::now(),
            ),
            tokens: Tokens::new(
                options.client_id,
                options.client_secret,
                options.token_lifetime,
            ),
            subscribers: Subscribers::new(options.queue_time, options.rate, options.count),
            rate: options.rate,
            count: options.count,
            ledger: Ledger::new(),
            faults: Faults::new(options.faults),
            handshakes: Handshakes::default(),
            quiet: AtomicBool::new(false),
            connections: TaskTracker::new(),
            connected: Mutex::default(),
        }
    }

    pub(crate) fn drop_connections(&self) {
        let mut connected = self.connected.lock().expect("no code panics with the lock");
        std::mem::take(&mut *connected).cancel();
    }

    /// Stops sending frames. Connections stay open.
    pub(crate) fn be_quiet(&self) {
        self.quiet.store(true, Relaxed);
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Relaxed)
    }

    /// Makes every key and token expire.
    pub(crate) fn expire_credentials(&self) {
        self.keys.expire(Instant::now());
        self.tokens.expire();
    }

    /// Applies a fault that is ordered for handshakes of this stream. An error is the answer to give.
    fn inject_fault(&self, stream: &str) -> Result<(), Refusal> {
        match self.faults.at_handshake(stream) {
            Some(FaultKind::Refuse(status)) => {
                Err((status, status.canonical_reason().unwrap_or_default()))
            }
            Some(FaultKind::UnsubscribedTopic) => Err(UNSUBSCRIBED),
            Some(FaultKind::ExpiredKey) => {
                self.expire_credentials();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Checks a handshake of Classic Central: first the key, then the topic, as Central does.
    pub(crate) fn admit_classic(&self, headers: &HeaderMap) -> Result<Admitted, Refusal> {
        let topic = text(headers, "topic").filter(|topic| !topic.contains('/'));
        self.inject_fault(topic.unwrap_or_default())?;
        let now = Instant::now();
        let key = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let expiry = key.and_then(|key| self.keys.admit(key, now));
        let expiry = expiry.ok_or(UNAUTHORIZED)?;
        let known = topic.and_then(|topic| self.rings.get_key_value(topic));
        let (topic, ring) = known.ok_or(UNSUBSCRIBED)?;
        Ok(Admitted {
            stream: topic.clone(),
            ring: Arc::clone(ring),
            supply: Supply::Own(Pace::new(self.rate, self.count, now)),
            expiry,
            tenant: None,
        })
    }

    /// Checks a handshake of New Central for the stream of a path.
    pub(crate) fn admit_new(
        &self,
        headers: &HeaderMap,
        path: &str,
        query: &str,
    ) -> Result<Admitted, Refusal> {
        self.inject_fault(path)?;
        let token = text(headers, AUTHORIZATION.as_str())
            .and_then(|header| header.strip_prefix("Bearer "))
            .and_then(|token| self.tokens.verify(token));
        let token = token.ok_or(UNAUTHORIZED)?;
        let known = self.rings.get_key_value(path);
        let (path, ring) = known.ok_or((StatusCode::NOT_FOUND, "Not Found"))?;
        let (filter, ring) = filtered(query, ring)?;
        let subscriber = text(headers, SUBSCRIBER_ID);
        if subscriber.is_some_and(|id| !is_uuid(id)) {
            let text = "Subscriber-Id must be a UUID of version 4";
            return Err((StatusCode::BAD_REQUEST, text));
        }
        let who = Identity {
            stream: format!("{path}?{filter}"),
            subscriber: subscriber.map(str::to_owned),
        };
        let membership = self.subscribers.join(who, ring, Instant::now());
        Ok(Admitted {
            stream: path.clone(),
            ring: Arc::clone(membership.ring()),
            supply: Supply::Shared(membership),
            expiry: Expiry::at(None),
            tenant: token.tenant,
        })
    }

    /// Is cancelled when the connections that are up now are to be dropped.
    pub(crate) fn connected(&self) -> CancellationToken {
        let connected = self.connected.lock().expect("no code panics with the lock");
        connected.clone()
    }
}

/// The selected types as they were given, and the frames of the ring that have them.
fn filtered(query: &str, ring: &Arc<Ring>) -> Result<(String, Arc<Ring>), Refusal> {
    let filter = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == FILTER);
    let Some((_, filter)) = filter else {
        return Ok((String::new(), Arc::clone(ring)));
    };
    let kinds: Vec<&str> = filter.split(',').map(str::trim).collect();
    let ring = ring
        .filtered(&kinds)
        .ok_or((StatusCode::BAD_REQUEST, "no event has such a type"))?;
    Ok((filter.to_string(), Arc::new(ring)))
}

fn is_uuid(text: &str) -> bool {
    let dash = |at| matches!(at, 8 | 13 | 18 | 23);
    text.len() == 36
        && text.as_bytes()[UUID_VERSION.0] == UUID_VERSION.1
        && text.bytes().enumerate().all(|(at, byte)| {
            if dash(at) {
                byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
