//! What others may ask of the daemon.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::error::ReloadError;
use super::view::{Reloaded, View};

/// What others may ask of the daemon. Cheap to clone; dropping it does not stop the daemon.
#[derive(Clone, Debug)]
pub struct Handle {
    view: watch::Receiver<Arc<View>>,
    requests: mpsc::Sender<Request>,
    drain: CancellationToken,
    stop: CancellationToken,
}

/// What a [`Handle`] asks the daemon for.
#[derive(Debug)]
pub(super) enum Request {
    Reload(Option<oneshot::Sender<Result<Reloaded, ReloadError>>>),
}

impl Handle {
    pub(super) fn new(
        view: watch::Receiver<Arc<View>>,
        requests: mpsc::Sender<Request>,
        drain: CancellationToken,
        stop: CancellationToken,
    ) -> Self {
        Self {
            view,
            requests,
            drain,
            stop,
        }
    }

    /// What runs now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// What runs now, and each change of it by a reload.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Reads the config again and puts what differs into effect; waits until that is done.
    ///
    /// # Errors
    /// The config has mistakes, or the daemon is ending: nothing has changed.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let (reply, outcome) = oneshot::channel();
        let asked = self.requests.send(Request::Reload(Some(reply))).await;
        asked.map_err(|_| ReloadError::Ending)?;
        outcome.await.unwrap_or(Err(ReloadError::Ending))
    }

    /// The same without waiting. The log and the [`View`] say what came of it.
    pub fn ask_for_reload(&self) {
        // Without room, the reloads that wait already will read the same config.
        let _ = self.requests.try_send(Request::Reload(None));
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Asks for the end in good order: stop reading, deliver what is in the journal for as long as
    /// `shutdown_timeout`, say what is left.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Asks for the end without waiting for deliveries: what is not sent stays in the journal.
    pub fn stop(&self) {
        self.stop.cancel();
        self.drain.cancel();
    }
}
