//! The signals of an operator or service manager.

use std::io;

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: drain, then end.
    End,
    /// SIGHUP: read the config again.
    Reload,
}

/// Receives the process's signals from the moment on that it is made.
pub struct Listener(Signals);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

impl Listener {
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The operating system refuses the handlers.
    pub fn new() -> io::Result<Self> {
        Signals::new([SIGHUP, SIGINT, SIGTERM]).map(Self)
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Signal {
        match self.0.next().await {
            Some(SIGHUP) => Signal::Reload,
            _ => Signal::End,
        }
    }
}
