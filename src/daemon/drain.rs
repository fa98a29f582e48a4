//! The end in good order.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::deliveries::Running;
use super::{Daemon, Error, Report};
use crate::delivery::Summary;
use crate::notify;

impl Daemon {
    /// Stops reading, lets the sinks settle what is in the journal, and says what is left.
    pub(super) async fn end(mut self) -> Result<Report, Error> {
        let patience = self.config().shutdown_timeout;
        let deadline = Instant::now() + patience;
        let status =
            format!("stops reading, and delivers what is in the journal for up to {patience:.0?}");
        notify::stopping(&status);
        tracing::info!("ending: {status}");
        tokio::select! {
            biased;
            () = self.subscriptions.end() => {}
            () = self.stop.cancelled() => self.subscriptions.abort().await,
        }
        let end = self.journals.end();
        let deliveries = self.deliveries.take();
        for delivery in deliveries.values() {
            delivery.handle.drain_to(end);
        }
        let mut sinks = BTreeMap::new();
        for (name, delivery) in deliveries {
            if let Some(summary) = settle(delivery, deadline, &self.stop).await {
                log_summary(&name, &summary, end);
                sinks.insert(name, summary);
            }
        }
        let journal = self.journals.frames();
        self.journals.close().await?;
        let frames = journal.stats().appended_records;
        Ok(Report { frames, sinks })
    }
}

/// Waits for a delivery until the deadline, then stops it.
async fn settle(
    mut delivery: Running,
    deadline: Instant,
    stop: &CancellationToken,
) -> Option<Summary> {
    let too_late = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep_until(deadline) => {}
        }
    };
    let ended = tokio::select! {
        biased;
        ended = &mut delivery.task => ended,
        () = too_late => {
            delivery.handle.stop();
            delivery.task.await
        }
    };
    let sink = delivery.handle.sink();
    ended
        .inspect_err(|error| tracing::error!(sink, "a bug: the delivery failed: {error}"))
        .ok()
}

fn log_summary(sink: &str, summary: &Summary, end: u64) {
    let millis = |quantile| {
        let latency = Duration::from_micros(summary.latency.value_at_quantile(quantile));
        (latency.as_secs_f64() * 10_000.0).round() / 10.0
    };
    tracing::info!(
        sink,
        confirmed = summary.confirmed,
        refused = summary.refused,
        undecodable = summary.undecodable,
        resent = summary.resent,
        left_in_journal = end.saturating_sub(summary.settled_to),
        p50_ms = millis(0.5),
        p99_ms = millis(0.99),
        "drained"
    );
}
