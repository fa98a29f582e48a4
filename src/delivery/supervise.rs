//! Keeps one sink's delivery going: a bug that ends it costs repeats, not the sink.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::{Delivery, Ends, Handle, PAUSES, Preparer, Summary, latencies, stopped};
use crate::backoff::Backoff;
use crate::sink::Sink;

/// Starts the task that delivers to one sink.
pub fn spawn<S: Sink>(
    sink: String,
    config: S::Config,
    preparer: Preparer,
    ends: Ends,
) -> (Handle, JoinHandle<Summary>) {
    let handle = Handle::new(sink, ends.committer.clone());
    let supervisor = Supervisor::<S> {
        handle: handle.clone(),
        config,
        preparer: Arc::new(preparer),
        ends,
    };
    (handle, tokio::spawn(supervisor.run()))
}

struct Supervisor<S: Sink> {
    handle: Handle,
    config: S::Config,
    preparer: Arc<Preparer>,
    ends: Ends,
}

impl<S: Sink> Supervisor<S> {
    /// Until a delivery ends as it was asked to. One that panicked is begun anew at its cursor.
    async fn run(self) -> Summary {
        let mut backoff = Backoff::new(PAUSES);
        loop {
            let began = Instant::now();
            let task = tokio::spawn(self.delivery().run());
            let panic = match AbortOnDropHandle::new(task).await {
                Ok(summary) => return summary,
                Err(panic) => panic,
            };
            self.handle.counters.panicked();
            backoff.worked(began.elapsed());
            let pause = backoff.pause(None, &mut rand::rng());
            tracing::error!(
                sink = self.handle.sink,
                "a bug: the delivery failed: {panic}; it begins again at its cursor in {pause:.1?}"
            );
            let mut mode = self.handle.mode.subscribe();
            tokio::select! {
                () = sleep(pause) => {}
                () = stopped(&mut mode) => {
                    let settled_to = self.ends.committer.committed();
                    return Summary::of(&self.handle.counters, latencies(), settled_to);
                }
            }
        }
    }

    fn delivery(&self) -> Delivery<S> {
        Delivery::new(
            self.handle.sink.clone(),
            self.config.clone(),
            Arc::clone(&self.preparer),
            self.ends.clone(),
            &self.handle,
        )
    }
}
