//! From the daemon's handles to a [`Status`].

use std::collections::BTreeMap;

use super::status::{
    Config, Connection, DeadLetters, Journal, Reload, Sink, State, Status, Subscription, Time,
    Totals,
};
use crate::central::subscription;
use crate::daemon::{self, LastReload, View};
use crate::frame::Timestamp;
use crate::journal::{CursorStats, Stats};
use crate::sink::kafka;

/// All that is known at this moment. Takes short locks, and no disk work.
pub(super) fn look(daemon: &daemon::Handle) -> Status {
    let view = daemon.view();
    let now = Time(Timestamp::now());
    let stats = view.journal.stats();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        now,
        started_at: Time(view.started_at),
        draining: daemon.is_draining(),
        config: Config {
            generation: view.generation,
            last_reload: view.last_reload.as_ref().map(reload),
        },
        subscriptions: subscriptions(&view),
        sinks: sinks(&view, &stats),
        journal: journal(&view, stats),
        dead_letters: dead_letters(&view),
        last_day: Totals::default(),
    }
}

fn reload(last: &LastReload) -> Reload {
    let (succeeded, remarks) = match &last.outcome {
        Ok(reloaded) => (true, reloaded.after_restart.clone()),
        Err(mistakes) => (false, mistakes.clone()),
    };
    Reload {
        at: Time(last.at),
        succeeded,
        remarks,
    }
}

fn subscriptions(view: &View) -> Vec<Subscription> {
    let mut times = BTreeMap::new();
    for handle in &view.subscriptions {
        let id = handle.id();
        *times.entry((id.account(), id.topic())).or_insert(0) += 1;
    }
    let mut all: Vec<_> = view
        .subscriptions
        .iter()
        .map(|handle| {
            let id = handle.id();
            // Two versions of one event have the same topic: then the whole name tells them apart.
            let topic = match times.get(&(id.account(), id.topic())) {
                Some(1) => id.topic().to_owned(),
                _ => id.stream().to_string(),
            };
            subscription(handle, topic)
        })
        .collect();
    all.sort_by(|a, b| (&a.account, &a.topic).cmp(&(&b.account, &b.topic)));
    all
}

fn subscription(handle: &subscription::Handle, topic: String) -> Subscription {
    let counts = handle.counts();
    let causes = counts.failures.into_iter();
    Subscription {
        account: handle.id().account().to_owned(),
        topic,
        connection: connection(&handle.state().borrow()),
        frames: counts.frames,
        bytes: counts.bytes,
        text_frames: counts.text_frames,
        abandoned: counts.abandoned,
        last_frame: counts.last_frame.map(Time),
        failures: causes
            .map(|(cause, count)| (cause.as_str(), count))
            .collect(),
        gaps: 0,
    }
}

fn connection(state: &subscription::State) -> Connection {
    let plain = |state| Connection {
        state,
        since: None,
        retry_at: None,
        reason: None,
    };
    match state {
        subscription::State::Connecting => plain(State::Connecting),
        subscription::State::Stopped => plain(State::Stopped),
        subscription::State::Connected { since } => Connection {
            since: Some(Time(*since)),
            ..plain(State::Connected)
        },
        subscription::State::BackingOff { until, why } => Connection {
            retry_at: Some(Time(*until)),
            reason: Some(why.to_string()),
            ..plain(match state.refusal() {
                Some(_) => State::Refused,
                None => State::BackingOff,
            })
        },
    }
}

fn sinks(view: &View, stats: &Stats) -> Vec<Sink> {
    let none = CursorStats::default();
    view.deliveries
        .iter()
        .map(|handle| {
            let name = handle.sink();
            let cursor = stats.cursors.iter().find(|cursor| cursor.name == name);
            let cursor = cursor.unwrap_or(&none);
            Sink {
                name: name.to_owned(),
                connection: Connection {
                    state: State::Connecting,
                    since: None,
                    retry_at: None,
                    reason: None,
                },
                reached: true,
                last_error: None,
                last_confirmed: None,
                in_flight_records: 0,
                in_flight_bytes: 0,
                sent: 0,
                confirmed: 0,
                resent: 0,
                undecodable: 0,
                retried: BTreeMap::new(),
                refused: BTreeMap::new(),
                lag_frames: cursor.lag,
                lag_bytes: 0,
                lag_seconds: 0.0,
                skipped: cursor.skipped,
                damaged: cursor.damaged,
                panics: handle.panics(),
                kafka: view.kafka.get(name).map(kafka::Target::statistics),
                latency: super::status::Latency::default(),
            }
        })
        .collect()
}

fn journal(view: &View, stats: Stats) -> Journal {
    let in_memory = view.config.state_dir.is_none();
    let limits = &view.config.journal;
    let max_bytes = if in_memory {
        Some(limits.memory_bytes)
    } else {
        limits.max_bytes
    };
    Journal {
        in_memory,
        bytes: stats.bytes,
        max_bytes,
        segments: stats.segments as u64,
        oldest: stats.oldest.map(Time),
        appended_frames: stats.appended_records,
        appended_bytes: stats.appended_bytes,
        unsynced_frames: stats.end.saturating_sub(stats.synced),
        queued_bytes: stats.queued_bytes,
        append_wait_seconds: stats.append_wait.as_secs_f64(),
        syncs: stats.syncs,
        last_sync_seconds: stats.last_sync.as_secs_f64(),
        dropped_segments: stats.dropped_segments,
        trouble: stats.trouble,
    }
}

fn dead_letters(view: &View) -> DeadLetters {
    let stats = view.dead_letters.stats();
    DeadLetters {
        bytes: stats.bytes,
        max_bytes: view.config.journal.dead_letter_bytes,
    }
}
