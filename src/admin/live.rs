//! The status as a stream of server-sent events: first all of it, then each second what has changed.
//!
//! Each change is made once for all watchers, and only while there are any.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{MissedTickBehavior, interval};

use super::App;
use super::status::Status;

/// Watchers at a time; one more is asked to try again later.
const MAX_WATCHERS: usize = 16;

/// Between two events.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two snapshots while nobody watches: the totals of the last day need them.
const TICKS_UNWATCHED: u32 = 60;

/// Events that a watcher may be behind; one that is slower gets the whole status again.
const MAX_BEHIND: usize = 4;

/// Seconds after which a browser that could not watch tries again.
const RETRY_AFTER_SECONDS: &str = "10";

#[derive(Debug)]
pub(super) struct Live {
    changes: broadcast::Sender<Arc<str>>,
    permits: Arc<Semaphore>,
}

impl Live {
    pub(super) fn new() -> Self {
        Self {
            changes: broadcast::Sender::new(MAX_BEHIND),
            permits: Arc::new(Semaphore::new(MAX_WATCHERS)),
        }
    }

    /// Sends the watchers what has changed, for ever.
    pub(super) async fn run(&self, status: impl Fn() -> Status) -> Infallible {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent = Sent::default();
        let mut unwatched: u32 = 0;
        loop {
            ticks.tick().await;
            if self.changes.receiver_count() > 0 {
                unwatched = 0;
                let text = sent.changes(&whole(&status()));
                // An error means that the last watcher has just gone.
                let _ = self.changes.send(text.to_string().into());
                continue;
            }
            sent = Sent::default();
            if unwatched.is_multiple_of(TICKS_UNWATCHED) {
                status();
            }
            unwatched = unwatched.wrapping_add(1);
        }
    }
}

/// What the page needs: the status, and what is not ready.
pub(super) fn whole(status: &Status) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    value["not_ready"] = json!(status.not_ready());
    value
}

/// `GET /api/events`
pub(super) async fn events(State(app): State<App>) -> Response {
    let Ok(permit) = Arc::clone(&app.live.permits).try_acquire_owned() else {
        let why = json!({ "error": format!("{MAX_WATCHERS} are watching already") });
        let headers = [(RETRY_AFTER, RETRY_AFTER_SECONDS)];
        return (StatusCode::SERVICE_UNAVAILABLE, headers, axum::Json(why)).into_response();
    };
    Sse::new(watch(app, permit))
        .keep_alive(KeepAlive::default())
        .into_response()
}

fn watch(
    app: App,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    struct Watcher {
        app: App,
        changes: broadcast::Receiver<Arc<str>>,
        needs_whole: bool,
        _permit: OwnedSemaphorePermit,
    }
    let watcher = Watcher {
        changes: app.live.changes.subscribe(),
        app,
        needs_whole: true,
        _permit: permit,
    };
    stream::unfold(watcher, async |mut watcher| {
        loop {
            if watcher.needs_whole {
                watcher.needs_whole = false;
                let all = whole(&watcher.app.status()).to_string();
                return Some((Ok(Event::default().event("status").data(all)), watcher));
            }
            match watcher.changes.recv().await {
                Ok(text) => {
                    let event = Event::default().event("changes").data(&*text);
                    return Some((Ok(event), watcher));
                }
                Err(broadcast::error::RecvError::Lagged(_)) => watcher.needs_whole = true,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}

/// The subscriptions as they were sent last: there may be thousands, and most of them are silent.
/// Everything else is short, and is sent each time.
#[derive(Debug, Default)]
struct Sent {
    subscriptions: BTreeMap<String, Value>,
}

impl Sent {
    /// The status with only those subscriptions that have changed, and the names of those that were
    /// removed.
    fn changes(&mut self, status: &Value) -> Value {
        let now: BTreeMap<_, _> = status["subscriptions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| (name(it), it.clone()))
            .collect();
        let before = std::mem::replace(&mut self.subscriptions, now);
        let updated = self.subscriptions.iter();
        let updated = updated.filter(|(name, it)| before.get(*name) != Some(it));
        let removed = before.keys();
        let removed = removed.filter(|name| !self.subscriptions.contains_key(*name));
        let mut changes = status.clone();
        changes["gone"] = removed.cloned().collect();
        changes["subscriptions"] = updated.map(|(_, it)| it.clone()).collect();
        changes
    }
}

fn name(subscription: &Value) -> String {
    let part = |key: &str| subscription[key].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", part("account"), part("topic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_is_sent() {
        let status = |names: &[(&str, u64)]| {
            let subscription = |(topic, frames): &(&str, u64)| json!({ "account": "a", "topic": topic, "frames": frames });
            json!({ "version": "1", "subscriptions": names.iter().map(subscription).collect::<Vec<_>>() })
        };
        let mut sent = Sent::default();
        let first = sent.changes(&status(&[("x", 1), ("y", 1)]));
        assert_eq!(first["subscriptions"].as_array().unwrap().len(), 2);
        let second = sent.changes(&status(&[("x", 1), ("z", 7)]));
        assert_eq!(
            second["subscriptions"],
            json!([{ "account": "a", "topic": "z", "frames": 7 }])
        );
        assert_eq!(second["gone"], json!(["a/y"]));
        assert_eq!(second["version"], "1");
        let third = sent.changes(&status(&[("x", 1), ("z", 7)]));
        assert_eq!(third["subscriptions"], json!([]));
        assert_eq!(third["gone"], json!([]));
    }
}
