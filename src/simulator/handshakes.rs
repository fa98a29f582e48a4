//! Who knocked, and when.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::time::Instant;

/// Handshakes that are remembered; of more, the oldest are forgotten.
const REMEMBERED: usize = 100_000;

/// A handshake that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    pub at: Instant,
    /// The topic or path that was asked for.
    pub stream: String,
    /// 101: it was let in.
    pub status: u16,
    /// Whose access token it was let in with, where that was a tenant's.
    pub tenant: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<VecDeque<Handshake>>);

impl Handshakes {
    pub(super) fn add(&self, stream: &str, status: u16, tenant: Option<String>) {
        let mut all = self.0.lock().expect("no code panics with the lock");
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(Handshake {
            at: Instant::now(),
            stream: stream.to_owned(),
            status,
            tenant,
        });
    }

    pub(super) fn all(&self) -> Vec<Handshake> {
        let all = self.0.lock().expect("no code panics with the lock");
        all.iter().cloned().collect()
    }
}
