//! Deadlines and limits of subscriptions.

use std::time::Duration;

use crate::backoff::Curve;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Deadlines and limits of a subscription. The daemon uses the defaults; tests shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For the name, and again for each of its addresses: 10 s.
    pub connect_timeout: Duration,
    /// 10 s.
    pub tls_timeout: Duration,
    /// From the request to the whole answer: 20 s.
    pub handshake_timeout: Duration,
    /// Between two pings that we send: 20 s, below the idle timeouts of common load balancers.
    pub ping_interval: Duration,
    /// From a ping to the next message, once the connection has answered a ping: 20 s.
    pub pong_timeout: Duration,
    /// A connection without data for so long is given up; `None`: the topic's default.
    pub idle_timeout: Option<Duration>,
    /// For the closing handshake, and for an append that waits for room in the journal at a stop: 3 s.
    pub close_timeout: Duration,
    /// The largest message that is accepted: 64 MiB. Central's limit is not known.
    pub max_frame_bytes: usize,
    /// How long a key of Classic Central is valid: 7 days (documented by HPE).
    pub key_lifetime: Duration,
    /// How long a connection is read on once its successor is up, so that no frame is lost between the
    /// two: 2 s.
    pub overlap: Duration,
    /// Handshakes with one host at a time, of all subscriptions: 64.
    pub handshakes: usize,
    /// The tries of all subscriptions are spread over so much for each of them: 5 ms. A thousand that
    /// lose their connections at once come back within 5 s and their backoff.
    pub spread: Duration,
    /// Between tries: 1 s, doubling up to 60 s, first again after a connection of 60 s.
    pub backoff: Curve,
    /// Between tries while Central refuses the subscription: 30 s, doubling up to 10 minutes.
    pub refused_backoff: Curve,
}

impl Default for Settings {
    fn default() -> Self {
        let stable_after = Duration::from_secs(60);
        Self {
            connect_timeout: Duration::from_secs(10),
            tls_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(20),
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(20),
            idle_timeout: None,
            close_timeout: Duration::from_secs(3),
            max_frame_bytes: 64 << 20,
            key_lifetime: 7 * 24 * HOUR,
            overlap: Duration::from_secs(2),
            handshakes: 64,
            spread: Duration::from_millis(5),
            backoff: Curve {
                first: Duration::from_secs(1),
                cap: Duration::from_secs(60),
                stable_after,
            },
            refused_backoff: Curve {
                first: Duration::from_secs(30),
                cap: Duration::from_secs(600),
                stable_after,
            },
        }
    }
}

/// How long a topic of Classic Central may be silent before its connection is given up.
///
/// Monitoring sends statistics about every 5 minutes, presence each device every 60 s, apprf the
/// sessions of the past 15 minutes (documented by HPE): a silence of three periods is no accident. The
/// others send when something happens, which on a quiet site may take days; there pings and TCP
/// keep-alive find a dead peer, and this is the last resort.
#[must_use]
pub(crate) fn idle_timeout(topic: &str) -> Duration {
    match topic {
        "monitoring" | "presence" => HOUR / 4,
        "apprf" => HOUR,
        "location" => 6 * HOUR,
        "audit" => 72 * HOUR,
        _ => 24 * HOUR,
    }
}
