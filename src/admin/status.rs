//! What is known of the daemon at one moment: `/api/status` shows it, and the page, `/metrics` and
//! `/readyz` are made from it. It holds no secret.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::frame::Timestamp;
use crate::sink::kafka;

/// An instant; as text in RFC 3339, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl Time {
    /// Seconds from then to `now`; 0 if it is in the future.
    #[must_use]
    pub fn age(self, now: Self) -> f64 {
        seconds(now.0.0.saturating_sub(self.0.0).max(0))
    }

    /// Seconds from `now` to then; negative once it has passed.
    #[must_use]
    pub fn from_now(self, now: Self) -> f64 {
        seconds(self.0.0.saturating_sub(now.0.0))
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn unix(self) -> f64 {
        seconds(self.0.0)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact for 285 years around the epoch"
)]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.rfc3339() {
            Some(text) => serializer.serialize_str(&text),
            None => serializer.serialize_none(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub now: Time,
    pub started_at: Time,
    /// The daemon was asked to end, and delivers what it still can.
    pub draining: bool,
    pub config: Config,
    /// In the order of their names.
    pub accounts: Vec<Account>,
    /// In the order of account and topic.
    pub subscriptions: Vec<Subscription>,
    /// In the order of their names.
    pub sinks: Vec<Sink>,
    pub journal: Journal,
    pub dead_letters: DeadLetters,
    pub last_day: Totals,
    /// The last one of each subscription, if it ended in the last day; the newest first.
    pub gaps: Vec<Gap>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// 1 for the config that the daemon started with; one more for each reload that took effect.
    pub generation: u64,
    pub last_reload: Option<Reload>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Reload {
    pub at: Time,
    pub succeeded: bool,
    /// If it failed, what is wrong with the config; otherwise what takes effect after a restart only.
    pub remarks: Vec<String>,
}

/// A time in which a subscription was not connected.
#[derive(Clone, Debug, Serialize)]
pub struct Gap {
    /// `ACCOUNT/TOPIC`
    pub what: String,
    pub from: Time,
    pub until: Time,
    pub why: String,
}

/// The state of a connection, to Central or to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Connecting,
    Connected,
    /// It waits for the next try.
    BackingOff,
    /// Likewise, and an operator must act: Central refuses the subscription.
    Refused,
    Stopped,
}

#[derive(Clone, Debug, Serialize)]
pub struct Connection {
    pub state: State,
    /// Since when it is up.
    pub since: Option<Time>,
    /// When it is tried again.
    pub retry_at: Option<Time>,
    /// Why it is not up.
    pub reason: Option<String>,
}

/// What the subscriptions of an account have in common: its key or token.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    pub name: String,
    /// `None` if it is not known.
    pub issued_at: Option<Time>,
    /// `None` if it is not known.
    pub expires_at: Option<Time>,
    /// Why the last renewal failed.
    pub renewal_failed: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Subscription {
    pub account: String,
    pub topic: String,
    #[serde(flatten)]
    pub connection: Connection,
    /// Frames that were appended to the journal.
    pub frames: u64,
    pub bytes: u64,
    pub text_frames: u64,
    /// Frames that were read and not stored.
    pub abandoned: u64,
    pub last_frame: Option<Time>,
    /// Frames that came twice and were stored once.
    pub duplicates: u64,
    /// Connections that ended or could not be made, by cause.
    pub failures: BTreeMap<&'static str, u64>,
    /// Times without a connection that are over.
    pub gaps: u64,
    pub gap_seconds: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Sink {
    pub name: String,
    #[serde(flatten)]
    pub connection: Connection,
    /// It has been connected since the daemon started.
    pub reached: bool,
    pub last_error: Option<String>,
    pub last_confirmed: Option<Time>,
    pub in_flight_records: u64,
    pub in_flight_bytes: u64,
    pub sent: u64,
    pub confirmed: u64,
    /// Of those sent, the ones that had been sent before.
    pub resent: u64,
    /// Connections or sends that failed, by cause.
    pub retried: BTreeMap<&'static str, u64>,
    /// Dead letters, by cause.
    pub refused: BTreeMap<&'static str, u64>,
    /// Frames in the journal that are not resolved.
    pub lag_frames: u64,
    pub lag_bytes: u64,
    /// The age of the oldest of them.
    pub lag_seconds: f64,
    /// If it lags further behind, it skips frames or stops all reading from Central.
    pub max_backlog_bytes: u64,
    /// Frames that were skipped because the sink lagged too far behind.
    pub skipped: u64,
    /// Frames that the disk did not return as they were written.
    pub damaged: u64,
    /// How often its task panicked, and started again.
    pub panics: u64,
    /// librdkafka's own statistics; only of a Kafka sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<kafka::Statistics>,
    /// From the socket to the confirmation.
    #[serde(skip)]
    pub latency: Latency,
}

/// A histogram in seconds.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    pub sum: f64,
    pub count: u64,
    /// Upper bounds, and how many lie between each and the one before.
    pub buckets: Vec<(f64, u64)>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Journal {
    /// Without a `state_dir`: it ends with the process.
    pub in_memory: bool,
    pub bytes: u64,
    /// `None`: there is no limit but those of the sinks.
    pub max_bytes: Option<u64>,
    pub segments: u64,
    pub oldest: Option<Time>,
    pub appended_frames: u64,
    pub appended_bytes: u64,
    /// Frames that a power failure would lose.
    pub unsynced_frames: u64,
    pub queued_bytes: u64,
    pub append_wait_seconds: f64,
    pub last_sync_seconds: f64,
    #[serde(skip)]
    pub sync: Latency,
    pub dropped_segments: u64,
    /// Why it cannot be written, while it cannot.
    pub trouble: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct DeadLetters {
    pub bytes: u64,
    pub max_bytes: u64,
}

/// What went wrong in the last 24 hours, or since the start if that is less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Times that a subscription was not connected.
    pub gaps: u64,
    pub dead_letters: u64,
    pub skipped_frames: u64,
}

impl Totals {
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            gaps: self.gaps - earlier.gaps,
            dead_letters: self.dead_letters - earlier.dead_letters,
            skipped_frames: self.skipped_frames - earlier.skipped_frames,
        }
    }
}

/// Something without which the daemon does not do all of its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotReady {
    pub what: &'static str,
    pub name: String,
    pub why: String,
}

impl Status {
    /// Everything that keeps the daemon from being ready; empty if it is.
    #[must_use]
    pub fn not_ready(&self) -> Vec<NotReady> {
        let mut found = Vec::new();
        if self.draining {
            found.push(NotReady {
                what: "daemon",
                name: "central-forwarder".to_owned(),
                why: "it is shutting down".to_owned(),
            });
        }
        let waiting = self.subscriptions.iter().filter_map(|subscription| {
            Some(NotReady {
                what: "subscription",
                name: format!("{}/{}", subscription.account, subscription.topic),
                why: subscription.connection.why_not()?,
            })
        });
        found.extend(waiting);
        let expiring = self.accounts.iter().filter_map(|account| {
            Some(NotReady {
                what: "account",
                name: account.name.clone(),
                why: format!(
                    "its key cannot be renewed: {}",
                    account.renewal_failed.as_ref()?
                ),
            })
        });
        found.extend(expiring);
        let unreached = self.sinks.iter().filter(|sink| !sink.reached);
        found.extend(unreached.map(|sink| {
            NotReady {
                what: "sink",
                name: sink.name.clone(),
                why: sink
                    .connection
                    .why_not()
                    .unwrap_or_else(|| "not reached yet".to_owned()),
            }
        }));
        if let Some(trouble) = &self.journal.trouble {
            found.push(NotReady {
                what: "journal",
                name: "journal".to_owned(),
                why: trouble.clone(),
            });
        }
        found
    }
}

impl Sink {
    /// Dead letters of all causes.
    #[must_use]
    pub fn dead_letters(&self) -> u64 {
        self.refused.values().sum()
    }
}

impl Connection {
    /// `None` while it is up.
    fn why_not(&self) -> Option<String> {
        let state = match self.state {
            State::Connected => return None,
            State::Connecting => "connecting",
            State::BackingOff => "waiting to retry",
            State::Refused => "refused",
            State::Stopped => "stopped",
        };
        Some(match &self.reason {
            Some(reason) => format!("{state}: {reason}"),
            None => state.to_owned(),
        })
    }
}
