//! Waiting for what a cursor loses.

use std::sync::Arc;

use tokio::sync::watch;

use super::loss::{Loss, PendingLosses};
use super::state::CursorState;

/// Waits for the losses of one cursor, to report them.
#[derive(Debug)]
pub struct Losses {
    state: Arc<CursorState>,
    pending: watch::Receiver<PendingLosses>,
}

impl Losses {
    pub(super) fn of(state: Arc<CursorState>) -> Self {
        Self {
            pending: state.unreported_losses.subscribe(),
            state,
        }
    }

    /// Waits for the next loss; each lost record is in one of them. Dropping the future before it is
    /// ready loses nothing.
    pub async fn next(&mut self) -> Loss {
        loop {
            let some = |pending: &PendingLosses| pending.iter().any(Option::is_some);
            // Cannot fail: `state` holds the sender.
            let _ = self.pending.wait_for(some).await;
            if let Some(loss) = self.state.unreported_losses.take() {
                return loss;
            }
        }
    }
}
