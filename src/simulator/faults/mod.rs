//! Faults that the simulator is asked to have.
//!
//! A fault is ordered at the start or while the simulator runs, and happens on the next connection that
//! it applies to, as often as it was ordered. No fault loses a frame by itself: if a frame is not written
//! whole, its number is sent again in a whole one, and where the client has to close the connection
//! nothing more is written.

mod parse;
mod raw;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::watch;

pub use self::parse::InvalidFault;
pub(crate) use self::raw::{RESERVED_OPCODE, begin_frame, whole_frame};

/// The most orders that are kept; a further one removes the oldest.
const MAX_ORDERS: usize = 1000;

/// A fault, and when it happens. Its text form is `NAME[=VALUE][,topic=T][,after=N][,times=N|always]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// Only on this topic, or path, or last part of a path; `None`: on any.
    pub topic: Option<String>,
    /// Only on a connection that has sent this many frames.
    pub after: u64,
    /// How often it happens; `None`: always.
    pub times: Option<u64>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The handshake is answered with this status.
    Refuse(StatusCode),
    /// The handshake is answered as for a topic that is not enabled.
    UnsubscribedTopic,
    /// The request for a token, or for the current key, is answered with this status.
    RefuseRenewal(StatusCode),
    /// Every key and token expires, and the connections that keys opened are closed.
    ExpiredKey,
    /// The connection ends without a close frame.
    Drop,
    /// It ends with a close frame of this code.
    Close(u16),
    /// It stays open, and nothing is sent or answered any more.
    HalfOpen,
    /// From now on bytes are sent in small pieces, with this time between them.
    Slow(Duration),
    /// The connection ends in the middle of a frame.
    TruncatedFrame,
    TextFrame,
    /// A binary frame that is no message of Central's.
    GarbageFrame,
    /// A binary frame of this many zero bytes.
    OversizedFrame(u64),
    /// A frame with an opcode that WebSocket reserves.
    UnknownFrame,
    /// The next frame is sent this many times more.
    Duplicate(u32),
    /// This many more frames are sent at once. Has no effect if frames are sent as fast as the client reads.
    Burst(u64),
}

impl FaultKind {
    /// Whether it happens before a connection is open.
    fn is_early(self) -> bool {
        matches!(
            self,
            Self::Refuse(_) | Self::UnsubscribedTopic | Self::RefuseRenewal(_)
        )
    }
}

/// A fault that was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultOrder {
    /// In its text form.
    pub fault: String,
    /// How often it has happened.
    pub happened: u64,
}

#[derive(Debug)]
pub(crate) struct Faults {
    orders: Mutex<Vec<(Fault, u64)>>,
    /// Whether any may still happen. While none may, nothing else is looked at.
    any_open: AtomicBool,
    changed: watch::Sender<()>,
}

/// When the next fault of a connection happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now(FaultKind),
    /// Not before it has sent this many more frames.
    After(u64),
}

impl Faults {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self {
            any_open: AtomicBool::new(!faults.is_empty()),
            orders: Mutex::new(faults.into_iter().map(|fault| (fault, 0)).collect()),
            changed: watch::Sender::new(()),
        }
    }

    pub(crate) fn order(&self, fault: Fault) {
        self.change(|orders| {
            if orders.len() >= MAX_ORDERS {
                orders.remove(0);
            }
            orders.push((fault, 0));
        });
    }

    pub(crate) fn clear(&self) {
        self.change(Vec::clear);
    }

    pub(crate) fn orders(&self) -> Vec<FaultOrder> {
        let orders = self.orders.lock().expect("no code panics with the lock");
        orders
            .iter()
            .map(|(fault, happened)| FaultOrder {
                fault: fault.to_string(),
                happened: *happened,
            })
            .collect()
    }

    /// Notifies of each change of the orders.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The fault that happens to a handshake for a stream.
    pub(crate) fn at_handshake(&self, stream: &str) -> Option<FaultKind> {
        self.take(|fault| {
            let kind = fault.kind;
            let early = kind.is_early() && !matches!(kind, FaultKind::RefuseRenewal(_));
            let at_once = kind == FaultKind::ExpiredKey && fault.after == 0;
            (early || at_once) && fault.applies_to(stream)
        })
    }

    /// The status that a request for a token or key is answered with instead.
    pub(crate) fn at_renewal(&self) -> Option<StatusCode> {
        let kind = self.take(|fault| matches!(fault.kind, FaultKind::RefuseRenewal(_)));
        match kind? {
            FaultKind::RefuseRenewal(status) => Some(status),
            _ => None,
        }
    }

    /// The fault of a connection of `stream` that has sent this many frames.
    pub(crate) fn on_connection(&self, stream: &str, sent: u64) -> Due {
        if !self.any_open.load(Relaxed) {
            return Due::After(u64::MAX);
        }
        let applies = |fault: &Fault| !fault.kind.is_early() && fault.applies_to(stream);
        if let Some(kind) = self.take(|fault| applies(fault) && sent >= fault.after) {
            return Due::Now(kind);
        }
        let orders = self.orders.lock().expect("no code panics with the lock");
        let next = orders
            .iter()
            .filter(|(fault, happened)| applies(fault) && fault.is_open(*happened))
            .map(|(fault, _)| fault.after - sent)
            .min();
        Due::After(next.unwrap_or(u64::MAX))
    }

    fn take(&self, wanted: impl Fn(&Fault) -> bool) -> Option<FaultKind> {
        if !self.any_open.load(Relaxed) {
            return None;
        }
        let mut orders = self.orders.lock().expect("no code panics with the lock");
        let (fault, happened) = orders
            .iter_mut()
            .find(|(fault, happened)| fault.is_open(*happened) && wanted(fault))?;
        *happened += 1;
        let kind = fault.kind;
        tracing::info!(%fault, happened = *happened, "a fault happens");
        self.update_any_open(&orders);
        Some(kind)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<(Fault, u64)>)) {
        let mut orders = self.orders.lock().expect("no code panics with the lock");
        change(&mut orders);
        self.update_any_open(&orders);
        drop(orders);
        self.changed.send_replace(());
    }

    fn update_any_open(&self, orders: &[(Fault, u64)]) {
        let any_open = orders
            .iter()
            .any(|(fault, happened)| fault.is_open(*happened));
        self.any_open.store(any_open, Relaxed);
    }
}

impl Fault {
    fn applies_to(&self, stream: &str) -> bool {
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
            Some(FaultKind::Refuse(
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
        assert_eq!(faults.on_connection("audit", 10), Due::Now(FaultKind::Drop));
        assert_eq!(faults.on_connection("audit", 10), Due::After(u64::MAX));
    }

    #[test]
    fn a_path_is_known_by_its_last_part() {
        let faults = faults(&["half-open,topic=ap-events,times=always"]);
        let due = faults.on_connection("network-monitoring/v1alpha1/ap-events", 0);
        assert_eq!(due, Due::Now(FaultKind::HalfOpen));
        faults.clear();
        assert_eq!(faults.orders(), []);
    }
}
