//! The status as a stream of server-sent events: first all of it, then each second what differs.
//!
//! It is made once for all who watch, and only while somebody does.

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

/// Who may watch at a time; the next is told to come back later.
const MAX_WATCHERS: usize = 16;

/// Between two looks.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two looks while nobody watches: the last day is to be known all the same.
const TICKS_ALONE: u32 = 60;

/// Ticks that a watcher may be behind; one that is slower gets all of the status anew.
const BEHIND: usize = 4;

/// Seconds after which a browser that could not watch tries again.
const COME_BACK: &str = "10";

#[derive(Debug)]
pub(super) struct Live {
    changes: broadcast::Sender<Arc<str>>,
    seats: Arc<Semaphore>,
}

impl Live {
    pub(super) fn new() -> Self {
        Self {
            changes: broadcast::Sender::new(BEHIND),
            seats: Arc::new(Semaphore::new(MAX_WATCHERS)),
        }
    }

    /// Tells the watchers what differs, for ever.
    pub(super) async fn run(&self, look: impl Fn() -> Status) -> Infallible {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known = Known::default();
        let mut alone: u32 = 0;
        loop {
            ticks.tick().await;
            if self.changes.receiver_count() > 0 {
                alone = 0;
                let text = known.changes(&whole(&look()));
                // An error means that the last watcher has just left.
                let _ = self.changes.send(text.to_string().into());
                continue;
            }
            known = Known::default();
            if alone.is_multiple_of(TICKS_ALONE) {
                look();
            }
            alone = alone.wrapping_add(1);
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
    let Ok(seat) = Arc::clone(&app.live.seats).try_acquire_owned() else {
        let why = json!({ "error": format!("{MAX_WATCHERS} are watching already") });
        let headers = [(RETRY_AFTER, COME_BACK)];
        return (StatusCode::SERVICE_UNAVAILABLE, headers, axum::Json(why)).into_response();
    };
    Sse::new(watch(app, seat))
        .keep_alive(KeepAlive::default())
        .into_response()
}

fn watch(
    app: App,
    seat: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    struct Watcher {
        app: App,
        changes: broadcast::Receiver<Arc<str>>,
        needs_all: bool,
        _seat: OwnedSemaphorePermit,
    }
    let watcher = Watcher {
        changes: app.live.changes.subscribe(),
        app,
        needs_all: true,
        _seat: seat,
    };
    stream::unfold(watcher, async |mut watcher| {
        loop {
            if watcher.needs_all {
                watcher.needs_all = false;
                let all = whole(&watcher.app.look()).to_string();
                return Some((Ok(Event::default().event("status").data(all)), watcher));
            }
            match watcher.changes.recv().await {
                Ok(text) => {
                    let event = Event::default().event("changes").data(&*text);
                    return Some((Ok(event), watcher));
                }
                Err(broadcast::error::RecvError::Lagged(_)) => watcher.needs_all = true,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}

/// The subscriptions as they were told last: there may be thousands, and most of them are silent.
/// All else is short, and told each time.
#[derive(Debug, Default)]
struct Known {
    subscriptions: BTreeMap<String, Value>,
}

impl Known {
    /// The status with those subscriptions alone that are not as they were, and the names of those
    /// that are gone.
    fn changes(&mut self, status: &Value) -> Value {
        let now: BTreeMap<_, _> = status["subscriptions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| (name(it), it.clone()))
            .collect();
        let before = std::mem::replace(&mut self.subscriptions, now);
        let differ = self.subscriptions.iter();
        let differ = differ.filter(|(name, it)| before.get(*name) != Some(it));
        let gone = before.keys();
        let gone = gone.filter(|name| !self.subscriptions.contains_key(*name));
        let mut changes = status.clone();
        changes["gone"] = gone.cloned().collect();
        changes["subscriptions"] = differ.map(|(_, it)| it.clone()).collect();
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
    fn only_what_differs_is_told() {
        let status = |names: &[(&str, u64)]| {
            let subscription = |(topic, frames): &(&str, u64)| json!({ "account": "a", "topic": topic, "frames": frames });
            json!({ "version": "1", "subscriptions": names.iter().map(subscription).collect::<Vec<_>>() })
        };
        let mut known = Known::default();
        let first = known.changes(&status(&[("x", 1), ("y", 1)]));
        assert_eq!(first["subscriptions"].as_array().unwrap().len(), 2);
        let second = known.changes(&status(&[("x", 1), ("z", 7)]));
        assert_eq!(
            second["subscriptions"],
            json!([{ "account": "a", "topic": "z", "frames": 7 }])
        );
        assert_eq!(second["gone"], json!(["a/y"]));
        assert_eq!(second["version"], "1");
        let third = known.changes(&status(&[("x", 1), ("z", 7)]));
        assert_eq!(third["subscriptions"], json!([]));
        assert_eq!(third["gone"], json!([]));
    }
}
