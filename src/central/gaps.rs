//! The times in which a subscription was not connected: what Central sent then is lost.
//!
//! A small file says whether the subscription is up, or since when it is down, so that a gap over the
//! end of the process is known at the next start. After a crash the file still says that it was up;
//! the gap then begins with the newest frame in the journal.

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
enum SavedState {
    /// Microseconds since the epoch.
    Up {
        at: i64,
    },
    Down(Outage),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Outage {
    /// Microseconds since the epoch.
    from: i64,
    why: String,
}

/// The gaps of one subscription.
#[derive(Debug)]
pub(super) struct GapTracker {
    subscription: SubscriptionId,
    file: Option<PathBuf>,
    /// `None`: it is up, or was never up.
    down: Option<Outage>,
    /// Tries since it is down.
    attempts: u32,
    /// It was up once, in this run or an earlier one.
    was_up: bool,
}

impl GapTracker {
    /// Begins with what the last run has saved.
    pub(crate) fn load(subscription: SubscriptionId, central: &Central) -> Self {
        let name = format!("{}@{}", subscription.account(), subscription.stream());
        let name = name.replace('/', "+");
        let file = central
            .state_dir()
            .map(|folder| folder.join("subscriptions").join(name));
        let mut gaps = Self {
            subscription,
            file,
            down: None,
            attempts: 0,
            was_up: false,
        };
        let Some(saved) = gaps.read() else {
            return gaps;
        };
        gaps.was_up = true;
        gaps.down = Some(match saved {
            SavedState::Down(outage) => outage,
            SavedState::Up { at } => Outage {
                from: central.last_received().map_or(at, |last| last.0.max(at)),
                why: "central-forwarder ended without a shutdown (crash, kill or power failure)"
                    .to_owned(),
            },
        });
        gaps
    }

    /// It is connected. Returns the gap that ends now.
    pub(super) async fn connected(&mut self) -> Option<Gap> {
        self.attempts = self.attempts.saturating_add(1);
        let gap = self.gap(Timestamp::now());
        self.was_up = true;
        self.down = None;
        self.attempts = 0;
        self.save(SavedState::Up {
            at: Timestamp::now().0,
        })
        .await;
        gap
    }

    /// A connection has ended whose peer was last alive at `last_alive`; `None`: it could not be opened.
    pub(super) async fn failed(&mut self, why: &Error, last_alive: Option<Timestamp>) {
        let Some(from) = last_alive else {
            self.attempts = self.attempts.saturating_add(1);
            return;
        };
        self.went_down(from, why.to_string()).await;
    }

    /// The process ends. Returns the gap so far; the next run continues it.
    pub(super) async fn stopped(&mut self) -> Option<Gap> {
        let now = Timestamp::now();
        let gap = self.gap(now);
        if self.was_up {
            self.went_down(now, "central-forwarder was stopped".to_owned())
                .await;
        }
        gap
    }

    /// The subscription is no longer in the config.
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
        let outage = self.down.as_ref()?;
        let micros = until.0.saturating_sub(outage.from);
        let is_new = matches!(self.subscription.stream(), Stream::New { .. });
        if is_new && micros < i64::try_from(KEPT_BY_NEW_CENTRAL.as_micros()).unwrap_or(i64::MAX) {
            return None;
        }
        Some(Gap {
            subscription: self.subscription.clone(),
            from: Timestamp(outage.from),
            until,
            why: outage.why.clone(),
            attempts: self.attempts,
        })
    }

    async fn went_down(&mut self, from: Timestamp, why: String) {
        let outage = Outage { from: from.0, why };
        self.down = Some(outage.clone());
        self.attempts = 0;
        self.save(SavedState::Down(outage)).await;
    }

    fn read(&self) -> Option<SavedState> {
        let text = match state_files::read(self.file.as_ref()?) {
            Ok(text) => text?,
            Err(error) => {
                tracing::warn!(subscription = %self.subscription, %error, "cannot read whether the subscription was up");
                return None;
            }
        };
        serde_json::from_str(&text).ok()
    }

    async fn save(&self, state: SavedState) {
        if let Some(file) = self.file.clone() {
            self.on_disk(move || state_files::replace_soon(&file, &serde_json::to_vec(&state)?))
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
            "cannot save whether the subscription is up, so that a gap over the next start may not be reported: {failure}"
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
    async fn a_gap_is_reported_when_it_is_over_and_only_then() {
        let central = Central::new(None, None, Settings::default());
        let mut gaps = GapTracker::load(classic(), &central);
        gaps.failed(&lost(), None).await;
        assert_eq!(gaps.connected().await, None, "it had nothing to miss yet");
        gaps.failed(&lost(), Some(Timestamp(5))).await;
        gaps.failed(&Error::refused("no"), None).await;
        let gap = gaps.connected().await.unwrap();
        assert_eq!((gap.from, gap.attempts), (Timestamp(5), 2));
        assert_eq!(gap.why, "it broke");
        assert_eq!(gaps.connected().await, None);
    }

    #[tokio::test]
    async fn a_gap_goes_on_over_the_end_of_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |last: Option<i64>| {
            let last = last.map(Timestamp);
            let central = Central::new(Some(folder.path()), last, Settings::default());
            GapTracker::load(classic(), &central)
        };
        let mut first = begin(None);
        assert_eq!(first.connected().await, None);
        // A crash: the newest frame says until when it was there.
        let late = Timestamp::now().0 + 1_000_000;
        let gap = begin(Some(late)).connected().await.unwrap();
        assert_eq!(gap.from, Timestamp(late));
        assert!(gap.why.contains("without a shutdown"));
        // Down, and then stopped.
        let mut second = begin(None);
        second.connected().await;
        second.failed(&lost(), Some(Timestamp(7))).await;
        let gap = second.stopped().await.unwrap();
        assert_eq!((gap.from, gap.attempts), (Timestamp(7), 0));
        let gap = begin(None).connected().await.unwrap();
        assert!(gap.why.contains("was stopped") && gap.from > Timestamp(7));
        let mut third = begin(None);
        third.connected().await;
        third.forget().await;
        assert_eq!(begin(None).connected().await, None);
    }

    #[tokio::test]
    async fn new_central_keeps_its_events_for_a_while() {
        let central = Central::new(None, None, Settings::default());
        let stream = Stream::parse("new/a/v1/b").unwrap();
        let mut gaps = GapTracker::load(SubscriptionId::new("globex", stream), &central);
        gaps.connected().await;
        let minutes = |minutes: i64| Timestamp(Timestamp::now().0 - minutes * 60_000_000);
        gaps.failed(&lost(), Some(minutes(14))).await;
        assert_eq!(gaps.connected().await, None);
        gaps.failed(&lost(), Some(minutes(16))).await;
        assert!(gaps.connected().await.is_some());
    }
}
