//! The handshakes that were answered.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::time::Instant;

/// The most handshakes that are kept. Beyond that the oldest are removed.
const MAX_HANDSHAKES: usize = 100_000;

/// A handshake that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    pub at: Instant,
    /// The topic or path that was asked for.
    pub stream: String,
    /// 101: the client was admitted.
    pub status: u16,
    /// The tenant whose access token the client had, if it was a tenant's.
    pub tenant: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Handshakes(Mutex<VecDeque<Handshake>>);

impl Handshakes {
    pub(crate) fn add(&self, stream: &str, status: u16, tenant: Option<String>) {
        let mut all = self.0.lock().expect("no code panics with the lock");
        if all.len() == MAX_HANDSHAKES {
            all.pop_front();
        }
        all.push_back(Handshake {
            at: Instant::now(),
            stream: stream.to_owned(),
            status,
            tenant,
        });
    }

    pub(crate) fn all(&self) -> Vec<Handshake> {
        let all = self.0.lock().expect("no code panics with the lock");
        all.iter().cloned().collect()
    }
}
