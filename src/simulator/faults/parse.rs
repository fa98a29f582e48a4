//! Faults as text: `close=1012,topic=audit,after=100,times=3`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::http::StatusCode;

use super::{Fault, FaultKind};

/// Why a text is not a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFault {
    #[error(
        "there is no fault {0:?}; there are {names}",
        names = NAMES.map(|(name, _)| name).join(", ")
    )]
    Name(String),
    #[error("{name} needs a value: {name}={hint}")]
    Missing {
        name: &'static str,
        hint: &'static str,
    },
    #[error("{0} takes no value")]
    Surplus(&'static str),
    #[error("{value:?} is no value of {name}: {name}={hint}")]
    Value {
        name: &'static str,
        hint: &'static str,
        value: String,
    },
    #[error("{0:?} is none of topic=T, after=N, times=N and times=always")]
    Condition(String),
}

/// The name of every fault, and of its value; empty if it takes none.
const NAMES: [(&str, &str); 15] = [
    ("refuse", "STATUS"),
    ("unsubscribed-topic", ""),
    ("refuse-renewal", "STATUS"),
    ("expired-key", ""),
    ("drop", ""),
    ("close", "CODE"),
    ("half-open", ""),
    ("slow", "MILLISECONDS"),
    ("truncated-frame", ""),
    ("text-frame", ""),
    ("garbage-frame", ""),
    ("oversized-frame", "BYTES"),
    ("unknown-frame", ""),
    ("duplicate", "TIMES"),
    ("burst", "FRAMES"),
];

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let mut parts = text.trim().split(',');
        let what = parts.next().unwrap_or_default();
        let mut fault = Self {
            kind: kind(what)?,
            topic: None,
            after: 0,
            times: Some(1),
        };
        for condition in parts {
            fault
                .restrict(condition)
                .ok_or_else(|| InvalidFault::Condition(condition.to_owned()))?;
        }
        Ok(fault)
    }
}

impl Fault {
    fn restrict(&mut self, condition: &str) -> Option<()> {
        match condition.trim().split_once('=')? {
            ("topic", topic) if !topic.is_empty() => self.topic = Some(topic.to_owned()),
            ("after", frames) => self.after = frames.parse().ok()?,
            ("times", "always") => self.times = None,
            ("times", times) => self.times = Some(times.parse().ok()?),
            _ => return None,
        }
        Some(())
    }
}

fn kind(text: &str) -> Result<FaultKind, InvalidFault> {
    let (given, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let known = NAMES.into_iter().find(|(name, _)| *name == given);
    let (name, hint) = known.ok_or_else(|| InvalidFault::Name(given.to_owned()))?;
    let Some(value) = value else {
        return without_value(name).ok_or(InvalidFault::Missing { name, hint });
    };
    if hint.is_empty() {
        return Err(InvalidFault::Surplus(name));
    }
    with_value(name, value).ok_or_else(|| InvalidFault::Value {
        name,
        hint,
        value: value.to_owned(),
    })
}

fn without_value(name: &str) -> Option<FaultKind> {
    Some(match name {
        "unsubscribed-topic" => FaultKind::UnsubscribedTopic,
        "expired-key" => FaultKind::ExpiredKey,
        "drop" => FaultKind::Drop,
        "half-open" => FaultKind::HalfOpen,
        "truncated-frame" => FaultKind::TruncatedFrame,
        "text-frame" => FaultKind::TextFrame,
        "garbage-frame" => FaultKind::GarbageFrame,
        "unknown-frame" => FaultKind::UnknownFrame,
        _ => return None,
    })
}

fn with_value(name: &str, value: &str) -> Option<FaultKind> {
    let status = || {
        let status = StatusCode::from_bytes(value.as_bytes()).ok();
        status.filter(|status| status.is_client_error() || status.is_server_error())
    };
    Some(match name {
        "refuse" => FaultKind::Refuse(status()?),
        "refuse-renewal" => FaultKind::RefuseRenewal(status()?),
        "close" => FaultKind::Close(value.parse().ok()?),
        "slow" => FaultKind::Slow(Duration::from_millis(value.parse().ok()?)),
        "oversized-frame" => FaultKind::OversizedFrame(value.parse().ok()?),
        "duplicate" => FaultKind::Duplicate(value.parse().ok()?),
        "burst" => FaultKind::Burst(value.parse().ok()?),
        _ => return None,
    })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(topic) = &self.topic {
            write!(f, ",topic={topic}")?;
        }
        if self.after > 0 {
            write!(f, ",after={}", self.after)?;
        }
        match self.times {
            Some(1) => Ok(()),
            Some(times) => write!(f, ",times={times}"),
            None => f.write_str(",times=always"),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse(status) => write!(f, "refuse={}", status.as_u16()),
            Self::UnsubscribedTopic => f.write_str("unsubscribed-topic"),
            Self::RefuseRenewal(status) => write!(f, "refuse-renewal={}", status.as_u16()),
            Self::ExpiredKey => f.write_str("expired-key"),
            Self::Drop => f.write_str("drop"),
            Self::Close(code) => write!(f, "close={code}"),
            Self::HalfOpen => f.write_str("half-open"),
            Self::Slow(pause) => write!(f, "slow={}", pause.as_millis()),
            Self::TruncatedFrame => f.write_str("truncated-frame"),
            Self::TextFrame => f.write_str("text-frame"),
            Self::GarbageFrame => f.write_str("garbage-frame"),
            Self::OversizedFrame(bytes) => write!(f, "oversized-frame={bytes}"),
            Self::UnknownFrame => f.write_str("unknown-frame"),
            Self::Duplicate(times) => write!(f, "duplicate={times}"),
            Self::Burst(frames) => write!(f, "burst={frames}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_reads_back() {
        for (name, hint) in NAMES {
            let value = if hint.is_empty() { "" } else { "=503" };
            for conditions in ["", ",topic=audit,after=7,times=3", ",times=always"] {
                let text = format!("{name}{value}{conditions}");
                let fault: Fault = text.parse().unwrap();
                assert_eq!(fault.to_string(), text);
            }
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, said) in [
            ("fire", "there is no fault \"fire\"; there are refuse, "),
            ("close", "close needs a value: close=CODE"),
            ("drop=1", "drop takes no value"),
            ("refuse=200", "\"200\" is no value of refuse: refuse=STATUS"),
            ("slow=-1", "\"-1\" is no value of slow: slow=MILLISECONDS"),
            ("drop,when=now", "\"when=now\" is none of topic=T, "),
            ("drop,topic=", "\"topic=\" is none of topic=T, "),
            ("drop,times=often", "\"times=often\" is none of"),
        ] {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
