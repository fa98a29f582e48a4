//! Why a record was not taken, or a broker cannot be used.

use std::fmt;

/// The reason, in words for an operator, and its kind, for those who count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub cause: Cause,
    /// Without secrets.
    pub why: String,
}

/// What failures are counted by: few, and the same for every sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// No connection comes about.
    Unreachable,
    /// A connection broke, or the broker closed it.
    ConnectionLost,
    /// Login or permission.
    Unauthorized,
    /// The topic, exchange or queue is not there, or nothing is bound to it.
    NoDestination,
    /// The broker asks for less, or has no room.
    Overloaded,
    /// No answer in time.
    Timeout,
    TooLarge,
    /// The broker does not take what the record is made of, such as its topic's name.
    Invalid,
    /// The frame cannot be decoded: no record was made.
    Undecodable,
    Other,
}

impl Cause {
    pub const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::ConnectionLost,
        Self::Unauthorized,
        Self::NoDestination,
        Self::Overloaded,
        Self::Timeout,
        Self::TooLarge,
        Self::Invalid,
        Self::Undecodable,
        Self::Other,
    ];

    /// Whether only an operator can do something about it: a later try is made, and hardly helps.
    #[must_use]
    pub fn needs_operator(self) -> bool {
        matches!(
            self,
            Self::Unauthorized | Self::NoDestination | Self::Invalid
        )
    }

    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::ConnectionLost => "connection_lost",
            Self::Unauthorized => "unauthorized",
            Self::NoDestination => "no_destination",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
            Self::Undecodable => "undecodable",
            Self::Other => "other",
        }
    }
}

impl Failure {
    #[must_use]
    pub fn new(cause: Cause, why: impl Into<String>) -> Self {
        Self {
            cause,
            why: why.into(),
        }
    }

    /// With another cause, where it says none of its own.
    #[must_use]
    pub fn or(self, cause: Cause) -> Self {
        match self.cause {
            Cause::Other => Self { cause, ..self },
            _ => self,
        }
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::new(Cause::Other, why)
    }
}

impl From<&str> for Failure {
    fn from(why: &str) -> Self {
        Self::new(Cause::Other, why)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_stand_where_they_are_counted() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
    }
}
