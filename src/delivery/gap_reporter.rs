//! Reports the frames that a sink will never get: in the log, and as an event on `@gaps`.

use std::future::pending;

use crate::event::sink_gap;
use crate::frame::Frame;
use crate::journal::{Appender, Loss, LossCause, Losses};

#[derive(Debug)]
pub(super) struct GapReporter {
    sink: String,
    losses: Losses,
    journal: Appender,
    /// The event of a loss that is in the log, and not in the journal yet.
    event: Option<Frame>,
}

impl GapReporter {
    pub(super) fn new(sink: String, losses: Losses, journal: Appender) -> Self {
        Self {
            sink,
            losses,
            journal,
            event: None,
        }
    }

    /// Waits for the next loss, and reports it. Dropping the future before it is ready loses nothing.
    pub(super) async fn work(&mut self) {
        let event = match &mut self.event {
            Some(event) => event,
            none => {
                let loss = self.losses.next().await;
                log(&self.sink, &loss);
                none.insert(sink_gap(&self.sink, &loss))
            }
        };
        if let Err(error) = self.journal.append(event).await {
            tracing::warn!(
                sink = self.sink,
                "no event can be written for this gap: {error}"
            );
            // Nothing can be appended to a closed journal: there is nothing left to do.
            return pending().await;
        }
        self.event = None;
    }
}

fn log(sink: &str, loss: &Loss) {
    let Loss {
        records,
        first,
        end,
        ..
    } = *loss;
    match loss.cause {
        LossCause::Skipped => tracing::error!(
            sink,
            records,
            first,
            end,
            "frames were skipped: the sink was too far behind"
        ),
        LossCause::Damaged => tracing::error!(
            sink,
            records,
            first,
            end,
            "frames are damaged in the journal and are skipped"
        ),
    }
}
