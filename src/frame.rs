//! What travels from Central's sockets into the journal, and from there to the sinks.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::rfc3339::Rfc3339;

/// One WebSocket message of Central, byte for byte, and where and when it was received; or one of our own
/// events ([`crate::event`]), which are handled the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub subscription: SubscriptionId,
    pub received_at: Timestamp,
    pub payload: Bytes,
}

/// An account and the stream of Central that it subscribed to. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(Arc<(String, Stream)>);

impl SubscriptionId {
    #[must_use]
    pub fn new(account: impl Into<String>, stream: Stream) -> Self {
        Self(Arc::new((account.into(), stream)))
    }

    /// The account's name in the config.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.0.0
    }

    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.0.1
    }

    /// What operators call the topic: `monitoring`, `ap-events`.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.stream().topic()
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account(), self.topic())
    }
}

/// A stream of Central, or one of our own events. Its text form, `classic/TOPIC` or
/// `new/SERVICE/VERSION/EVENT`, is what the journal stores.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Classic Central: one topic, named in the handshake's `Topic` header.
    Classic { topic: String },
    /// New Central: the three parts of the URL's path. The payload's type follows from service and
    /// version too, since versions of one event are not compatible on the wire.
    New {
        service: String,
        version: String,
        event: String,
    },
    /// The forwarder's own events. Text form: `internal/TOPIC`.
    Internal(Internal),
}

/// The topics of the forwarder's own events. They begin with `@`, as no topic of Central does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Internal {
    /// Periods without a connection to Central, and records that a sink had to skip.
    Gaps,
    /// What a sink refused for good, and what cannot be decoded.
    DeadLetters,
}

impl Internal {
    pub const ALL: [Self; 2] = [Self::Gaps, Self::DeadLetters];

    #[must_use]
    pub fn topic(self) -> &'static str {
        match self {
            Self::Gaps => "@gaps",
            Self::DeadLetters => "@dead-letters",
        }
    }

    /// `None` if there is no such topic of our own.
    #[must_use]
    pub fn parse(topic: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.topic() == topic)
    }

    /// The `type` of the records of its events.
    #[must_use]
    pub fn event_type(self) -> &'static str {
        match self {
            Self::Gaps => "central-forwarder.gap",
            Self::DeadLetters => "central-forwarder.dead-letter",
        }
    }
}

impl Stream {
    /// The last part of the text form: the name that routes, templates and records use.
    #[must_use]
    pub fn topic(&self) -> &str {
        match self {
            Self::Classic { topic } => topic,
            Self::New { event, .. } => event,
            Self::Internal(internal) => internal.topic(),
        }
    }

    /// Reads the text form; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        match parts[..] {
            ["classic", topic] => Some(Self::Classic {
                topic: topic.to_owned(),
            }),
            ["new", service, version, event] => Some(Self::New {
                service: service.to_owned(),
                version: version.to_owned(),
                event: event.to_owned(),
            }),
            ["internal", topic] => Internal::parse(topic).map(Self::Internal),
            _ => None,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classic { topic } => write!(f, "classic/{topic}"),
            Self::New {
                service,
                version,
                event,
            } => write!(f, "new/{service}/{version}/{event}"),
            Self::Internal(internal) => write!(f, "internal/{}", internal.topic()),
        }
    }
}

/// Microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    #[must_use]
    pub fn now() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    /// In RFC 3339 with six digits after the seconds; `None` outside the years 1 to 9999.
    #[must_use]
    pub fn rfc3339(self) -> Option<Rfc3339> {
        let nanos = self.0.rem_euclid(1_000_000) * 1000;
        Rfc3339::new(self.0.div_euclid(1_000_000), u32::try_from(nanos).ok()?, 6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_reads_back_from_its_text_form() {
        for text in [
            "classic/monitoring",
            "new/network-services/v1/wids",
            "internal/@gaps",
            "internal/@dead-letters",
        ] {
            assert_eq!(Stream::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "classic",
            "classic/",
            "new/a/b",
            "old/x",
            "classic/a/b",
            "internal/gaps",
        ] {
            assert_eq!(Stream::parse(text), None, "{text:?}");
        }
    }
}
