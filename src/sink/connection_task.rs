//! The task that drives one connection to a broker.

use std::future::Future;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{ConnectionError, Failure, Outcomes};
use crate::supervise::catch;

/// Handle of such a task, which sends what is put into its queue. However the task ends, by a panic too,
/// the delivery hears of it at once, so that it connects again even when it has nothing to send.
#[derive(Debug)]
pub(super) struct ConnectionTask<M> {
    queue: mpsc::Sender<M>,
    /// Why the task has ended.
    end: watch::Receiver<Option<Failure>>,
    /// Stops the task when this handle is dropped.
    _stop: DropGuard,
}

impl<M> ConnectionTask<M> {
    /// Starts the task, which has the other end of the queue. It returns an error when the connection can
    /// no longer be used, and otherwise once the token that it gets is cancelled. `protocol` is the first
    /// word of the report of a panic.
    pub(super) fn spawn<F>(
        protocol: &'static str,
        queue: mpsc::Sender<M>,
        outcomes: Outcomes,
        run: impl FnOnce(CancellationToken) -> F,
    ) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let work = run(stop.clone());
        let (ended, end) = watch::channel(None);
        tokio::spawn(async move {
            let failure = match catch(work).await {
                Ok(Ok(())) => return,
                Ok(Err(failure)) => failure,
                Err(panic) => format!("{protocol}: {panic}").into(),
            };
            outcomes.connection_failed(failure.clone());
            ended.send_replace(Some(failure));
        });
        Self {
            queue,
            end,
            _stop: stop.drop_guard(),
        }
    }

    /// Waits for room in the queue.
    ///
    /// # Errors
    /// The task has ended; says why.
    pub(super) async fn send(&mut self, message: M) -> Result<(), ConnectionError> {
        match self.queue.send(message).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ended().await),
        }
    }

    /// Waits until the task has ended, and says why.
    pub(super) async fn ended(&mut self) -> ConnectionError {
        let failure = match self.end.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone(),
            Err(_) => None,
        };
        ConnectionError(failure.unwrap_or_else(|| "the connection was closed".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{DeliveryId, Outcome};

    #[tokio::test]
    async fn a_panic_is_reported_at_once_and_to_whoever_sends_later() {
        let (outcomes, mut reported) = Outcomes::channel();
        let (queue, messages) = mpsc::channel(1);
        let mut task = ConnectionTask::spawn("mqtt", queue, outcomes, |_| async move {
            let _messages = messages;
            panic!("a fault");
        });
        let (id, outcome) = reported.recv().await.expect("a report");
        assert_eq!(id, DeliveryId::CONNECTION);
        let Outcome::Retry(failure) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(failure.why.starts_with("mqtt: a bug"), "{failure}");
        assert!(failure.why.contains("a fault"), "{failure}");
        for _ in 0..2 {
            assert_eq!(task.send(()).await.unwrap_err().0, failure);
        }
    }

    #[tokio::test]
    async fn a_task_that_is_stopped_reports_nothing() {
        let (outcomes, mut reported) = Outcomes::channel();
        let (queue, _messages) = mpsc::channel::<()>(1);
        let task = ConnectionTask::spawn("mqtt", queue, outcomes, |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        drop(task);
        assert_eq!(reported.recv().await, None);
    }
}
