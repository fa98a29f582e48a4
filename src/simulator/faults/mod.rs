//! What the simulator does wrong when it is asked to.
//!
//! A fault is ordered at the start or while the simulator runs, and happens on the next connection
//! that it fits, as often as it was ordered. No fault loses a frame by itself: a frame that is
//! written is whole unless its number is sent again in a whole one, and where a client has to hang
//! up nothing more is written.

mod parse;
mod raw;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::watch;

pub use self::parse::Unreadable;
pub(super) use self::raw::{RESERVED_OPCODE, begin_frame, whole_frame};

/// Faults that are under orders at a time; further ones push out the oldest.
const ORDERS: usize = 1000;

/// A fault, and when it happens. Reads from and writes itself as
/// `NAME[=VALUE][,topic=T][,after=N][,times=N|always]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    /// Only on this topic, or path, or last part of a path; `None`: on any.
    pub topic: Option<String>,
    /// On a connection that has sent so many frames.
    pub after: u64,
    /// How often it happens; `None`: always.
    pub times: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The handshake is answered with this status.
    Refuse(StatusCode),
    /// The handshake is answered as for a topic that is not enabled.
    UnsubscribedTopic,
    /// The call for a token, or for the current key, is answered with this status.
    RefuseRenewal(StatusCode),
    /// Every key and token ends, and what a key opened is closed.
    ExpiredKey,
    /// The connection ends without a close frame.
    Drop,
    /// It ends with a close frame of this code.
    Close(u16),
    /// It stays open, and nothing is sent or answered any more.
    HalfOpen,
    /// From now on bytes come in small pieces, with this time between them.
    Slow(Duration),
    /// A frame that ends in its midst, as the connection does.
    TruncatedFrame,
    TextFrame,
    /// A binary frame that is no message of Central's.
    GarbageFrame,
    /// A binary frame of so many zeros.
    OversizedFrame(u64),
    /// A frame of a kind that WebSocket does not know.
    UnknownFrame,
    /// The next frame comes so many times more.
    Duplicate(u32),
    /// So many frames more come at once. Not where frames come as fast as the client reads.
    Burst(u64),
}

impl Kind {
    /// Whether it happens before there is a connection.
    fn is_early(self) -> bool {
        matches!(
            self,
            Self::Refuse(_) | Self::UnsubscribedTopic | Self::RefuseRenewal(_)
        )
    }
}

/// A fault that was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// In its text form.
    pub fault: String,
    /// How often it has happened.
    pub happened: u64,
}

#[derive(Debug)]
pub(super) struct Faults {
    orders: Mutex<Vec<(Fault, u64)>>,
    /// Whether there is any that may still happen: the one thing that is looked at while there is
    /// none.
    some: AtomicBool,
    changed: watch::Sender<()>,
}

/// What a connection has to expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Now(Kind),
    /// Nothing before it has sent so many frames more.
    After(u64),
}

impl Faults {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        Self {
            some: AtomicBool::new(!faults.is_empty()),
            orders: Mutex::new(faults.into_iter().map(|fault| (fault, 0)).collect()),
            changed: watch::Sender::new(()),
        }
    }

    pub(super) fn order(&self, fault: Fault) {
        self.change(|orders| {
            if orders.len() >= ORDERS {
                orders.remove(0);
            }
            orders.push((fault, 0));
        });
    }

    pub(super) fn clear(&self) {
        self.change(Vec::clear);
    }

    pub(super) fn orders(&self) -> Vec<Order> {
        let orders = self.orders.lock().expect("no code panics with the lock");
        orders
            .iter()
            .map(|(fault, happened)| Order {
                fault: fault.to_string(),
                happened: *happened,
            })
            .collect()
    }

    /// Says when orders change.
    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What happens to a handshake for a stream.
    pub(super) fn at_handshake(&self, stream: &str) -> Option<Kind> {
        self.take(|fault| {
            let kind = fault.kind;
            let early = kind.is_early() && !matches!(kind, Kind::RefuseRenewal(_));
            let at_once = kind == Kind::ExpiredKey && fault.after == 0;
            (early || at_once) && fault.fits(stream)
        })
    }

    /// What a call for a token or key is answered with.
    pub(super) fn at_renewal(&self) -> Option<StatusCode> {
        let kind = self.take(|fault| matches!(fault.kind, Kind::RefuseRenewal(_)));
        match kind? {
            Kind::RefuseRenewal(status) => Some(status),
            _ => None,
        }
    }

    /// What happens on a connection of a stream that has sent so many frames.
    pub(super) fn on_connection(&self, stream: &str, sent: u64) -> Due {
        if !self.some.load(Relaxed) {
            return Due::After(u64::MAX);
        }
        let fits = |fault: &Fault| !fault.kind.is_early() && fault.fits(stream);
        if let Some(kind) = self.take(|fault| fits(fault) && sent >= fault.after) {
            return Due::Now(kind);
        }
        let orders = self.orders.lock().expect("no code panics with the lock");
        let next = orders
            .iter()
            .filter(|(fault, happened)| fits(fault) && fault.is_open(*happened))
            .map(|(fault, _)| fault.after - sent)
            .min();
        Due::After(next.unwrap_or(u64::MAX))
    }

    fn take(&self, wanted: impl Fn(&Fault) -> bool) -> Option<Kind> {
        if !self.some.load(Relaxed) {
            return None;
        }
        let mut orders = self.orders.lock().expect("no code panics with the lock");
        let (fault, happened) = orders
            .iter_mut()
            .find(|(fault, happened)| fault.is_open(*happened) && wanted(fault))?;
        *happened += 1;
        let kind = fault.kind;
        tracing::info!(%fault, happened = *happened, "a fault happens");
        self.remember(&orders);
        Some(kind)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<(Fault, u64)>)) {
        let mut orders = self.orders.lock().expect("no code panics with the lock");
        change(&mut orders);
        self.remember(&orders);
        drop(orders);
        self.changed.send_replace(());
    }

    fn remember(&self, orders: &[(Fault, u64)]) {
        let some = orders
            .iter()
            .any(|(fault, happened)| fault.is_open(*happened));
        self.some.store(some, Relaxed);
    }
}

impl Fault {
    fn fits(&self, stream: &str) -> bool {
        self.topic
            .as_deref()
            .is_none_or(|topic| topic == stream || stream.rsplit('/').next() == Some(topic))
    }

    fn is_open(&self, happened: u64) -> bool {
        self.times.is_none_or(|times| happened < times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(faults: &[&str]) -> Faults {
        let faults = faults.iter().map(|text| text.parse().unwrap());
        Faults::new(faults.collect())
    }

    #[test]
    fn a_fault_happens_as_often_as_it_was_ordered() {
        let faults = faults(&["refuse=503,times=2", "refuse=429"]);
        let refused = [(); 4].map(|()| faults.at_handshake("audit"));
        let status = |status| {
            Some(Kind::Refuse(
                StatusCode::from_u16(status).expect("a status"),
            ))
        };
        assert_eq!(refused, [status(503), status(503), status(429), None]);
        let happened: Vec<_> = faults.orders().iter().map(|order| order.happened).collect();
        assert_eq!(happened, [2, 1]);
    }

    #[test]
    fn a_fault_waits_for_its_topic_and_its_frame() {
        let faults = faults(&["drop,topic=audit,after=10"]);
        assert_eq!(faults.at_handshake("audit"), None);
        assert_eq!(faults.on_connection("presence", 10), Due::After(u64::MAX));
        assert_eq!(faults.on_connection("audit", 4), Due::After(6));
        assert_eq!(faults.on_connection("audit", 10), Due::Now(Kind::Drop));
        assert_eq!(faults.on_connection("audit", 10), Due::After(u64::MAX));
    }

    #[test]
    fn a_path_is_known_by_its_last_part() {
        let faults = faults(&["half-open,topic=ap-events,times=always"]);
        let due = faults.on_connection("network-monitoring/v1alpha1/ap-events", 0);
        assert_eq!(due, Due::Now(Kind::HalfOpen));
        faults.clear();
        assert_eq!(faults.orders(), []);
    }
}
