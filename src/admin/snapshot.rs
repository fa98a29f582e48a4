//! Makes a [`Status`] from what the daemon's handles say.

use std::collections::BTreeMap;
use std::fmt;

use super::last_day::DAY;
use super::status::{
    Account, Config, Connection, DeadLetters, Gap, Journal, Latency, Reload, Sink, State, Status,
    Subscription, Time, Totals,
};
use crate::central::subscription;
use crate::connection::ConnectionState;
use crate::daemon::{self, LastReload, View};
use crate::frame::Timestamp;
use crate::histogram::{self, Durations};
use crate::journal::{CursorStats, Stats};
use crate::sink::{Cause, kafka};

/// Everything that is known at this moment. Takes short locks, and does no disk work.
pub(super) fn of(daemon: &daemon::Handle) -> Status {
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
        accounts: accounts(&view),
        subscriptions: subscriptions(&view),
        sinks: sinks(&view, &stats),
        journal: journal(&view, stats),
        dead_letters: dead_letters(&view),
        last_day: Totals::default(),
        gaps: gaps(&view, now),
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

fn accounts(view: &View) -> Vec<Account> {
    let handles = view.subscriptions.iter();
    let by_name: BTreeMap<_, _> = handles.map(|it| (it.id().account(), it)).collect();
    let accounts = by_name.into_iter().map(|(name, handle)| {
        let credential = handle.credential();
        Account {
            name: name.to_owned(),
            issued_at: credential.issued.map(Time),
            expires_at: credential.expires.map(Time),
            renewal_failed: credential.failure.map(|failure| failure.to_string()),
        }
    });
    accounts.collect()
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
            // Two versions of one event have the same topic: only the whole name is unique then.
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
        connection: connection_to_central(&handle.state().borrow()),
        frames: counts.frames,
        bytes: counts.bytes,
        text_frames: counts.text_frames,
        abandoned: counts.abandoned,
        last_frame: counts.last_frame.map(Time),
        duplicates: counts.duplicates,
        failures: causes
            .map(|(cause, count)| (cause.as_str(), count))
            .collect(),
        gaps: counts.gaps.count,
        gap_seconds: counts.gaps.time.as_secs_f64(),
    }
}

/// Gaps that a status lists at most.
const MAX_GAPS: usize = 100;

fn gaps(view: &View, now: Time) -> Vec<Gap> {
    let last = view.subscriptions.iter().filter_map(|handle| {
        let gap = handle.counts().gaps.last?;
        Some(Gap {
            what: handle.id().to_string(),
            from: Time(gap.from),
            until: Time(gap.until),
            why: gap.why,
        })
    });
    let mut gaps: Vec<_> = last.filter(|gap| gap.until.age(now) < DAY).collect();
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.until));
    gaps.truncate(MAX_GAPS);
    gaps
}

fn sinks(view: &View, stats: &Stats) -> Vec<Sink> {
    let none = CursorStats::default();
    view.deliveries
        .iter()
        .map(|handle| {
            let name = handle.sink();
            let cursor = stats.cursors.iter().find(|cursor| cursor.name == name);
            let cursor = cursor.unwrap_or(&none);
            let delivery = handle.status();
            Sink {
                name: name.to_owned(),
                connection: connection(&delivery.connection),
                reached: delivery.reached,
                last_error: delivery.last_error.map(|error| error.why),
                last_confirmed: delivery.last_confirmed.map(Time),
                in_flight_records: delivery.in_flight_records,
                in_flight_bytes: delivery.in_flight_bytes,
                sent: delivery.sent,
                confirmed: delivery.confirmed,
                resent: delivery.resent,
                retried: by_cause(delivery.retried),
                refused: by_cause(delivery.refused),
                lag_frames: delivery.lag.records,
                lag_bytes: delivery.lag.bytes,
                lag_seconds: delivery.lag.time.as_secs_f64(),
                max_backlog_bytes: view.config.backlog(name).max_bytes,
                skipped: cursor.skipped,
                damaged: cursor.damaged,
                panics: delivery.panics,
                kafka: view.kafka.get(name).map(kafka::Target::statistics),
                latency: latency(&delivery.latency),
            }
        })
        .collect()
}

fn connection<F: fmt::Display>(state: &ConnectionState<F>) -> Connection {
    let (state, since, retry_at, reason) = match state {
        ConnectionState::Connecting => (State::Connecting, None, None, None),
        ConnectionState::Connected { since } => (State::Connected, Some(*since), None, None),
        ConnectionState::BackingOff { until, why } => {
            (State::BackingOff, None, Some(*until), Some(why.to_string()))
        }
        ConnectionState::Stopped => (State::Stopped, None, None, None),
    };
    Connection {
        state,
        since: since.map(Time),
        retry_at: retry_at.map(Time),
        reason,
    }
}

/// Where Central refuses the subscription, that is its state.
fn connection_to_central(state: &subscription::State) -> Connection {
    let mut connection = connection(state);
    if state.refusal().is_some() {
        connection.state = State::Refused;
    }
    connection
}

fn by_cause(counts: BTreeMap<Cause, u64>) -> BTreeMap<&'static str, u64> {
    let counts = counts.into_iter();
    counts
        .map(|(cause, count)| (cause.as_str(), count))
        .collect()
}

fn latency(durations: &Durations) -> Latency {
    let counts = durations.counts.iter().copied();
    Latency {
        sum: durations.sum.as_secs_f64(),
        count: durations.count(),
        buckets: histogram::BOUNDS.into_iter().zip(counts).collect(),
    }
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
        last_sync_seconds: stats.last_sync.as_secs_f64(),
        sync: latency(&stats.sync_latency),
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
