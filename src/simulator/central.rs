//! What all connections share, and who is let in to what.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::form_urlencoded;

use super::Options;
use super::clock::since_epoch;
use super::faults::{Faults, Kind};
use super::feed::{Feed, Source};
use super::frames::Ring;
use super::handshakes::Handshakes;
use super::keys::{Expiry, Keys};
use super::ledger::Ledger;
use super::pace::Pace;
use super::site::Site;
use super::subscribers::{Identity, Subscribers};
use super::supply::Supply;
use super::tokens::Tokens;

/// The query that says which kinds of events are wanted (seen in clients).
const FILTER: &str = "event-types";

const SUBSCRIBER_ID: &str = "subscriber-id";

/// The version of the UUIDs that a `Subscriber-Id` must be (documented by HPE), and its place.
const UUID_VERSION: (usize, u8) = (14, b'4');

#[derive(Debug)]
pub(super) struct Central {
    rate: u32,
    count: Option<u64>,
    /// By topic or path.
    rings: BTreeMap<String, Arc<Ring>>,
    pub(super) keys: Keys,
    pub(super) tokens: Tokens,
    subscribers: Subscribers,
    pub(super) ledger: Ledger,
    pub(super) faults: Faults,
    pub(super) handshakes: Handshakes,
    quiet: AtomicBool,
    pub(super) feeds: TaskTracker,
    /// Cancelled to drop the connections that are up; the next ones get a new one.
    connected: Mutex<CancellationToken>,
}

/// What a client gets that was let in.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Topic or path.
    stream: String,
    ring: Arc<Ring>,
    supply: Supply,
    expiry: Expiry,
    /// Whose token it was, where that was a tenant's.
    pub(super) tenant: Option<String>,
}

/// A status and what is said with it.
pub(super) type Refusal = (StatusCode, &'static str);

const UNAUTHORIZED: Refusal = (StatusCode::UNAUTHORIZED, "Unauthorized");

/// What is said of a topic that no operator has enabled (documented by HPE).
const UNSUBSCRIBED: Refusal = (StatusCode::BAD_REQUEST, "Unsubscribed Topic");

impl Central {
    pub(super) fn new(options: Options) -> Self {
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
            feeds: TaskTracker::new(),
            connected: Mutex::default(),
        }
    }

    pub(super) fn drop_connections(&self) {
        let mut connected = self.connected.lock().expect("no code panics with the lock");
        std::mem::take(&mut *connected).cancel();
    }

    /// From now on nothing is sent; connections stay open.
    pub(super) fn be_quiet(&self) {
        self.quiet.store(true, Relaxed);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet.load(Relaxed)
    }

    /// Ends every key and token that there is.
    pub(super) fn expire_credentials(&self) {
        self.keys.expire(Instant::now());
        self.tokens.expire();
    }

    /// Whether a fault keeps a handshake for a stream from being checked at all.
    fn suffer(&self, stream: &str) -> Result<(), Refusal> {
        match self.faults.at_handshake(stream) {
            Some(Kind::Refuse(status)) => {
                Err((status, status.canonical_reason().unwrap_or_default()))
            }
            Some(Kind::UnsubscribedTopic) => Err(UNSUBSCRIBED),
            Some(Kind::ExpiredKey) => {
                self.expire_credentials();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Checks a handshake of Classic Central in its order: who is it, then what does it want.
    pub(super) fn admit_classic(&self, headers: &HeaderMap) -> Result<Admitted, Refusal> {
        let topic = text(headers, "topic").filter(|topic| !topic.contains('/'));
        self.suffer(topic.unwrap_or_default())?;
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
    pub(super) fn admit_new(
        &self,
        headers: &HeaderMap,
        path: &str,
        query: &str,
    ) -> Result<Admitted, Refusal> {
        self.suffer(path)?;
        let token = text(headers, AUTHORIZATION.as_str())
            .and_then(|header| header.strip_prefix("Bearer "))
            .and_then(|token| self.tokens.verify(token));
        let token = token.ok_or(UNAUTHORIZED)?;
        let known = self.rings.get_key_value(path);
        let (path, ring) = known.ok_or((StatusCode::NOT_FOUND, "Not Found"))?;
        let (filter, ring) = filtered(query, ring)?;
        let subscriber = text(headers, SUBSCRIBER_ID);
        if subscriber.is_some_and(|id| !is_uuid(id)) {
            let said = "Subscriber-Id must be a UUID of version 4";
            return Err((StatusCode::BAD_REQUEST, said));
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

    /// Serves a connection until it ends.
    pub(super) async fn feed(self: Arc<Self>, admitted: Admitted, upgrade: OnUpgrade) {
        let cut = self
            .connected
            .lock()
            .expect("no code panics with the lock")
            .clone();
        let Ok(upgraded) = upgrade.await else { return };
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let Some(ledger) = self.ledger.topic(&admitted.stream) else {
            return;
        };
        let stream = admitted.stream;
        let source = Source {
            stream: &stream,
            ledger,
            ring: admitted.ring,
            supply: admitted.supply,
            expiry: admitted.expiry,
            cut,
        };
        let feed = Feed::new(&self, source, socket);
        tracing::debug!(%stream, "a client is connected");
        feed.run().await;
        tracing::debug!(%stream, "a client is gone");
    }
}

/// The wanted kinds as they were given, and what is left of a ring for them.
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
