//! How long to wait before the next try towards Central: longer after a refusal, which an operator has
//! to mend.

use std::time::Duration;

use super::error::Error;
use super::settings::Settings;
use crate::backoff::Backoff;

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

    /// The connection was up for so long: see [`Backoff::worked`].
    pub(crate) fn worked_for(&mut self, held: Duration) {
        self.ordinary.worked(held);
        self.refused.worked(held);
    }

    /// It has succeeded: its failures are forgotten.
    pub(crate) fn succeeded(&mut self) {
        self.ordinary.made_progress();
        self.refused.made_progress();
    }

    /// The wait after one more failure.
    pub(crate) fn after(&mut self, why: &Error) -> Duration {
        let (backoff, asked) = match why {
            Error::Refused { .. } => (&mut self.refused, None),
            Error::Later { retry_after, .. } => (&mut self.ordinary, *retry_after),
            Error::Broken { .. } => (&mut self.ordinary, None),
        };
        backoff.pause(asked, &mut rand::rng())
    }
}
