//! What a sink will never have: said in the log, and as an event of its own in the journal.

use std::future::pending;

use crate::event::sink_gap;
use crate::frame::Frame;
use crate::journal::{Appender, Loss, LossCause, Losses};

#[derive(Debug)]
pub(super) struct Gaps {
    sink: String,
    losses: Losses,
    journal: Appender,
    /// Said, and not appended yet.
    event: Option<Frame>,
}

impl Gaps {
    pub(super) fn new(sink: String, losses: Losses, journal: Appender) -> Self {
        Self {
            sink,
            losses,
            journal,
            event: None,
        }
    }

    /// Waits for the next loss, and tells of it. Dropping the future before it is ready loses nothing.
    pub(super) async fn work(&mut self) {
        let event = match &mut self.event {
            Some(event) => event,
            none => {
                let loss = self.losses.next().await;
                say(&self.sink, &loss);
                none.insert(sink_gap(&self.sink, &loss))
            }
        };
        if let Err(error) = self.journal.append(event).await {
            tracing::warn!(
                sink = self.sink,
                "the gap is told by no event of its own: {error}"
            );
            // Nothing is appended to a closed journal: there is nothing left to do.
            return pending().await;
        }
        self.event = None;
    }
}

fn say(sink: &str, loss: &Loss) {
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
            "frames are damaged in the journal and are passed over"
        ),
    }
}
