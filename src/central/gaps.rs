//! The times in which a subscription was down: what Central sent then cannot be had any more.
//!
//! Whether a subscription is up or since when it is down is also kept in a small file, so that a gap
//! that the end of the process has part in is known at the next start. After a crash the file still
//! says that it was up; the newest frame in the journal then says until when.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::shared::Central;
use super::state_files;
use crate::event::Gap;
use crate::frame::{Stream, SubscriptionId, Timestamp};

/// New Central keeps events so long for a subscriber that comes back (documented by HPE).
const KEPT_BY_NEW_CENTRAL: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum Record {
    Up { at: i64 },
    Down(Down),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Down {
    from: i64,
    why: String,
}

/// Keeps account of one subscription's gaps.
#[derive(Debug)]
pub(super) struct Outages {
    subscription: SubscriptionId,
    file: Option<PathBuf>,
    down: Option<Down>,
    /// Tries since it is down.
    attempts: u32,
    /// It was up once, in this run or before.
    was_up: bool,
}

impl Outages {
    /// Begins with what the run before has left.
    pub(super) fn begin(subscription: SubscriptionId, central: &Central) -> Self {
        let name = format!("{}@{}", subscription.account(), subscription.stream());
        let name = name.replace('/', "+");
        let file = central
            .state_dir()
            .map(|folder| folder.join("subscriptions").join(name));
        let mut outages = Self {
            subscription,
            file,
            down: None,
            attempts: 0,
            was_up: false,
        };
        let Some(record) = outages.read() else {
            return outages;
        };
        outages.was_up = true;
        outages.down = Some(match record {
            Record::Down(down) => down,
            Record::Up { at } => Down {
                from: central.last_received().map_or(at, |last| last.0.max(at)),
                why: "central-forwarder ended without a goodbye (crash, kill or power)".to_owned(),
            },
        });
        outages
    }

    /// It is connected. Gives back the gap that ends with that.
    pub(super) async fn up(&mut self) -> Option<Gap> {
        self.attempts = self.attempts.saturating_add(1);
        let gap = self.gap(Timestamp::now());
        self.was_up = true;
        self.down = None;
        self.attempts = 0;
        self.keep(Record::Up {
            at: Timestamp::now().0,
        })
        .await;
        gap
    }

    /// A connection has ended, that was last known to work at `last_heard`; without that, it did not
    /// come about.
    pub(super) async fn failed(&mut self, why: &Error, last_heard: Option<Timestamp>) {
        let Some(from) = last_heard else {
            self.attempts = self.attempts.saturating_add(1);
            return;
        };
        self.went_down(from, why.to_string()).await;
    }

    /// We end, for now. Gives back the gap so far; the next start goes on from here.
    pub(super) async fn stopped(&mut self) -> Option<Gap> {
        let now = Timestamp::now();
        let gap = self.gap(now);
        if self.was_up {
            self.went_down(now, "central-forwarder was stopped".to_owned())
                .await;
        }
        gap
    }

    /// Nobody wants it any more.
    pub(super) async fn forget(&mut self) {
        if let Some(file) = self.file.take() {
            self.on_disk(move || match std::fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })
            .await;
        }
    }

    fn gap(&self, until: Timestamp) -> Option<Gap> {
        let down = self.down.as_ref()?;
        let seconds = until.0.saturating_sub(down.from);
        let is_new = matches!(self.subscription.stream(), Stream::New { .. });
        if is_new && seconds < i64::try_from(KEPT_BY_NEW_CENTRAL.as_micros()).unwrap_or(i64::MAX) {
            return None;
        }
        Some(Gap {
            subscription: self.subscription.clone(),
            from: Timestamp(down.from),
            until,
            why: down.why.clone(),
            attempts: self.attempts,
        })
    }

    async fn went_down(&mut self, from: Timestamp, why: String) {
        let down = Down { from: from.0, why };
        self.down = Some(down.clone());
        self.attempts = 0;
        self.keep(Record::Down(down)).await;
    }

    fn read(&self) -> Option<Record> {
        let text = match state_files::read(self.file.as_ref()?) {
            Ok(text) => text?,
            Err(error) => {
                tracing::warn!(subscription = %self.subscription, %error, "cannot read since when it was down");
                return None;
            }
        };
        serde_json::from_str(&text).ok()
    }

    async fn keep(&self, record: Record) {
        if let Some(file) = self.file.clone() {
            self.on_disk(move || state_files::replace_soon(&file, &serde_json::to_vec(&record)?))
                .await;
        }
    }

    async fn on_disk(&self, work: impl FnOnce() -> io::Result<()> + Send + 'static) {
        let done = tokio::task::spawn_blocking(work).await;
        let failure = match done {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(stopped) => stopped.to_string(),
        };
        tracing::warn!(
            subscription = %self.subscription,
            "cannot note whether it is up, so that a gap over the next start may not be told: {failure}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Cause;
    use super::super::settings::Settings;
    use super::*;

    fn classic() -> SubscriptionId {
        let topic = "audit".to_owned();
        SubscriptionId::new("acme", Stream::Classic { topic })
    }

    fn lost() -> Error {
        Error::broken(Cause::Dropped, "it broke")
    }

    #[tokio::test]
    async fn a_gap_is_told_when_it_is_over_and_only_then() {
        let central = Central::new(None, None, Settings::default());
        let mut outages = Outages::begin(classic(), &central);
        outages.failed(&lost(), None).await;
        assert_eq!(outages.up().await, None, "it had nothing to miss yet");
        outages.failed(&lost(), Some(Timestamp(5))).await;
        outages.failed(&Error::refused("no"), None).await;
        let gap = outages.up().await.unwrap();
        assert_eq!((gap.from, gap.attempts), (Timestamp(5), 2));
        assert_eq!(gap.why, "it broke");
        assert_eq!(outages.up().await, None);
    }

    #[tokio::test]
    async fn a_gap_goes_on_over_the_end_of_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |last: Option<i64>| {
            let last = last.map(Timestamp);
            let central = Central::new(Some(folder.path()), last, Settings::default());
            Outages::begin(classic(), &central)
        };
        let mut first = begin(None);
        assert_eq!(first.up().await, None);
        // A crash: the newest frame says until when it was there.
        let late = Timestamp::now().0 + 1_000_000;
        let gap = begin(Some(late)).up().await.unwrap();
        assert_eq!(gap.from, Timestamp(late));
        assert!(gap.why.contains("without a goodbye"));
        // Down, and then stopped.
        let mut second = begin(None);
        second.up().await;
        second.failed(&lost(), Some(Timestamp(7))).await;
        let gap = second.stopped().await.unwrap();
        assert_eq!((gap.from, gap.attempts), (Timestamp(7), 0));
        let gap = begin(None).up().await.unwrap();
        assert!(gap.why.contains("was stopped") && gap.from > Timestamp(7));
        let mut third = begin(None);
        third.up().await;
        third.forget().await;
        assert_eq!(begin(None).up().await, None);
    }

    #[tokio::test]
    async fn new_central_keeps_its_events_for_a_while() {
        let central = Central::new(None, None, Settings::default());
        let stream = Stream::parse("new/a/v1/b").unwrap();
        let mut outages = Outages::begin(SubscriptionId::new("globex", stream), &central);
        outages.up().await;
        let minutes = |minutes: i64| Timestamp(Timestamp::now().0 - minutes * 60_000_000);
        outages.failed(&lost(), Some(minutes(14))).await;
        assert_eq!(outages.up().await, None);
        outages.failed(&lost(), Some(minutes(16))).await;
        assert!(outages.up().await.is_some());
    }
}
