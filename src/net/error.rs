//! Why there is no connection.

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    /// No address, no route, nobody listening, no answer, or a proxy that cannot connect us now.
    #[error("{0}")]
    Unreachable(String),
    /// The TLS handshake failed for another reason than the certificate.
    #[error("{0}")]
    Tls(String),
    /// An operator must act: the certificate is not trusted, or a proxy refuses us.
    #[error("{0}")]
    Refused(String),
}
