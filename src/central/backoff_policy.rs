//! How long to wait after a failure towards Central, by what it was.

use std::time::Duration;

use super::error::Error;
use super::settings::Settings;
use crate::backoff::Backoff;

/// Refusals have a slower curve of their own.
#[derive(Debug)]
pub(crate) struct BackoffPolicy {
    ordinary: Backoff,
    refused: Backoff,
}

impl BackoffPolicy {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            ordinary: Backoff::new(settings.backoff),
            refused: Backoff::new(settings.refused_backoff),
        }
    }

    /// What is tried has worked for so long: see [`Backoff::worked`].
    pub(crate) fn worked(&mut self, held: Duration) {
        self.ordinary.worked(held);
        self.refused.worked(held);
    }

    /// What is tried has got something done: its failures are forgotten.
    pub(crate) fn got_on(&mut self) {
        self.ordinary.got_on();
        self.refused.got_on();
    }

    pub(crate) fn after(&mut self, why: &Error) -> Duration {
        let (backoff, asked) = match why {
            Error::Refused { .. } => (&mut self.refused, None),
            Error::Later { retry_after, .. } => (&mut self.ordinary, *retry_after),
            Error::Broken { .. } => (&mut self.ordinary, None),
        };
        backoff.pause(asked, &mut rand::rng())
    }
}
