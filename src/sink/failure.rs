//! Why a record was not delivered, or a broker cannot be used.

use std::fmt;

/// The reason, as an operator reads it, and its kind, as metrics count it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub cause: Cause,
    /// Without secrets.
    pub why: String,
}

/// The kinds of failures: few, and the same for every sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// No connection can be made.
    Unreachable,
    /// A connection broke, or the broker closed it.
    ConnectionLost,
    /// The login or a permission is refused.
    Unauthorized,
    /// The topic, exchange or queue does not exist, or nothing is bound to it.
    NoDestination,
    /// The broker limits the rate, or has no room.
    Overloaded,
    /// No answer in time.
    Timeout,
    TooLarge,
    /// The broker does not accept the record, or its destination's name.
    Invalid,
    /// The frame cannot be decoded: it has become no record.
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

    /// Whether an operator has to act. The delivery retries all the same.
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

    /// With this cause, if it has only [`Cause::Other`].
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
    fn the_order_of_causes_is_that_of_their_counters() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
    }
}
