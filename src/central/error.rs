//! Why there is no connection, by what the subscription does about it.

use std::fmt;
use std::time::Duration;

use crate::net::error::DialError;
use crate::net::http::HttpError;
use crate::supervise::Panic;

/// Why a connection could not be opened, or ended. No message holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An operator must act. It is tried again all the same, slowly: a topic that was enabled in
    /// Central, or a new key in a file, is then found without a restart.
    #[error("{reason}")]
    Refused { reason: String },
    /// Central works, but does not accept the connection now.
    #[error("{reason}")]
    Later {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// It may work at the next try.
    #[error("{reason}")]
    Broken { cause: Cause, reason: String },
}

impl Error {
    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused {
            reason: reason.into(),
        }
    }

    pub(crate) fn broken(cause: Cause, reason: impl Into<String>) -> Self {
        Self::Broken {
            cause,
            reason: reason.into(),
        }
    }

    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Refused { .. } => Cause::Refused,
            Self::Later { .. } => Cause::Later,
            Self::Broken { cause, .. } => *cause,
        }
    }
}

impl From<Panic> for Error {
    fn from(panic: Panic) -> Self {
        Self::broken(Cause::Panicked, panic.to_string())
    }
}

impl From<DialError> for Error {
    fn from(why: DialError) -> Self {
        match why {
            DialError::Unreachable(reason) => Self::broken(Cause::Unreachable, reason),
            DialError::Tls(reason) => Self::broken(Cause::Tls, reason),
            DialError::Refused(reason) => Self::Refused { reason },
        }
    }
}

impl From<HttpError> for Error {
    fn from(why: HttpError) -> Self {
        match why {
            HttpError::Config(reason) => Self::Refused { reason },
            HttpError::Dial(why) => why.into(),
            HttpError::TimedOut { .. } | HttpError::Broken { .. } => {
                Self::broken(Cause::Handshake, why.to_string())
            }
        }
    }
}

/// What ended a connection or kept it from being opened. Reconnects are counted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// No address, no route, no listener, or no answer to the TCP handshake.
    Unreachable,
    /// The TLS handshake failed for another reason than the certificate.
    Tls,
    /// No answer to the WebSocket handshake, or an invalid one.
    Handshake,
    /// [`Error::Refused`].
    Refused,
    /// [`Error::Later`].
    Later,
    /// Central closed with a close frame.
    Closed,
    /// The connection ended without a close frame.
    Dropped,
    /// No data for longer than the topic's idle timeout.
    Silent,
    /// A ping was not answered on a connection that had answered one before.
    Unanswered,
    /// Invalid WebSocket data, or a frame that is too large.
    Protocol,
    /// A bug in this program, which ended the connection of this subscription alone.
    Panicked,
}

impl Cause {
    pub const ALL: [Self; 11] = [
        Self::Unreachable,
        Self::Tls,
        Self::Handshake,
        Self::Refused,
        Self::Later,
        Self::Closed,
        Self::Dropped,
        Self::Silent,
        Self::Unanswered,
        Self::Protocol,
        Self::Panicked,
    ];

    /// One lower-case word, for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Handshake => "handshake",
            Self::Refused => "refused",
            Self::Later => "later",
            Self::Closed => "closed",
            Self::Dropped => "dropped",
            Self::Silent => "silent",
            Self::Unanswered => "unanswered",
            Self::Protocol => "protocol",
            Self::Panicked => "panicked",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
