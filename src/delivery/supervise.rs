//! Keeps one sink's delivery going: a panic costs records that are sent again, not the sink.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::context::SinkContext;
use super::handle::{Handle, Summary, stopped};
use super::prepare::Preparer;
use super::task::{BACKOFF, Delivery};

use crate::backoff::Backoff;
use crate::sink::Sink;
use crate::supervise::catch;

/// Starts the task that delivers to one sink.
pub fn spawn<S: Sink>(
    sink: String,
    config: S::Config,
    preparer: Preparer,
    context: SinkContext,
) -> (Handle, JoinHandle<Summary>) {
    let handle = Handle::new(sink, context.committer.clone());
    let supervisor = Supervisor::<S> {
        handle: handle.clone(),
        config,
        preparer: Arc::new(preparer),
        context,
    };
    (handle, tokio::spawn(supervisor.run()))
}

struct Supervisor<S: Sink> {
    handle: Handle,
    config: S::Config,
    preparer: Arc<Preparer>,
    context: SinkContext,
}

impl<S: Sink> Supervisor<S> {
    /// Runs until a delivery ends as it was asked to. After a panic, a new one starts at the cursor.
    async fn run(self) -> Summary {
        let mut backoff = Backoff::new(BACKOFF);
        loop {
            let began = Instant::now();
            let panic = match catch(self.delivery().run()).await {
                Ok(summary) => return summary,
                Err(panic) => panic,
            };
            self.handle.counters.panicked();
            backoff.worked(began.elapsed());
            let pause = backoff.pause(None, &mut rand::rng());
            tracing::error!(
                sink = self.handle.sink,
                "the delivery failed: {panic}; it starts again at its cursor in {pause:.1?}"
            );
            let mut mode = self.handle.mode.subscribe();
            tokio::select! {
                () = sleep(pause) => {}
                () = stopped(&mut mode) => {
                    let resolved_to = self.context.committer.committed();
                    return Summary::of(&self.handle.counters, resolved_to);
                }
            }
        }
    }

    fn delivery(&self) -> Delivery<S> {
        Delivery::new(
            self.handle.sink.clone(),
            self.config.clone(),
            Arc::clone(&self.preparer),
            self.context.clone(),
            &self.handle,
        )
    }
}
