//! Every metric: its name, help and unit, and how it is read from a [`Status`]. `docs/metrics.md` is
//! this table.
//!
//! Labels are few and their values bounded: accounts, topics and sinks are the config's, causes are
//! enums.

use super::status::{Latency, Sink, State, Status, Subscription};
use crate::sink::kafka::Statistics;

/// What all names begin with.
pub const PREFIX: &str = "central_forwarder";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number: frames, records, yes or no.
    Number,
    Seconds,
    Bytes,
}

/// How the samples of a family are read from a [`Status`].
#[derive(Clone, Copy, Debug)]
pub enum Read {
    Counter(fn(&Status, &mut Samples<f64>)),
    Gauge(fn(&Status, &mut Samples<f64>)),
    Histogram(fn(&Status, &mut Samples<Latency>)),
}

/// A metric with all its labels.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Without prefix, unit and `_total`.
    pub name: &'static str,
    pub unit: Unit,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    pub read: Read,
}

impl Family {
    /// The name as Prometheus knows it.
    #[must_use]
    pub fn full_name(&self) -> String {
        let unit = match self.unit {
            Unit::Number => "",
            Unit::Seconds => "_seconds",
            Unit::Bytes => "_bytes",
        };
        let total = match self.read {
            Read::Counter(_) => "_total",
            Read::Gauge(_) | Read::Histogram(_) => "",
        };
        format!("{PREFIX}_{}{unit}{total}", self.name)
    }
}

/// Values with the values of their labels.
#[derive(Debug)]
pub struct Samples<T>(pub Vec<(Vec<String>, T)>);

impl<T> Samples<T> {
    fn add(&mut self, labels: &[&str], value: T) {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        self.0.push((labels, value));
    }
}

const NONE: &[&str] = &[];
const SUBSCRIPTION: &[&str] = &["account", "topic"];
const SINK: &[&str] = &["sink"];
const ACCOUNT: &[&str] = &["account"];

const fn family(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
    read: Read,
) -> Family {
    Family {
        name,
        unit,
        labels,
        help,
        read,
    }
}

use Read::{Counter, Gauge, Histogram};
use Unit::{Bytes, Number, Seconds};

/// All families, in the order in which data passes.
#[rustfmt::skip]
pub const FAMILIES: &[Family] = &[
    family("build_info", Number, &["version"],
        "Always 1; the version that runs.",
        Gauge(|status, out| out.add(&[status.version], 1.0))),
    family("start_time", Seconds, NONE,
        "When the process started, since the Unix epoch.",
        Gauge(|status, out| out.add(NONE, status.started_at.unix()))),
    family("ready", Number, NONE,
        "1 if the daemon is ready, as /readyz says: every subscription is connected, and every sink has been.",
        Gauge(|status, out| out.add(NONE, yes(status.not_ready().is_empty())))),
    family("config_generation", Number, NONE,
        "1 for the config at the start, one more for each reload that took effect.",
        Gauge(|status, out| out.add(NONE, number(status.config.generation)))),
    family("config_last_reload_success", Number, NONE,
        "1 if the last reload took effect, 0 if the config had mistakes and the old one stayed; no sample before the first reload.",
        Gauge(|status, out| if let Some(reload) = &status.config.last_reload { out.add(NONE, yes(reload.succeeded)); })),
    family("config_last_reload_timestamp", Seconds, NONE,
        "When the last reload was asked for, since the Unix epoch; no sample before the first.",
        Gauge(|status, out| if let Some(reload) = &status.config.last_reload { out.add(NONE, reload.at.unix()); })),

    family("subscription_connected", Number, SUBSCRIPTION,
        "1 while Central's stream is connected.",
        Gauge(|status, out| each_subscription(status, out, |it| yes(it.connection.state == State::Connected)))),
    family("subscription_refused", Number, SUBSCRIPTION,
        "1 while Central refuses the subscription, so that an operator must act.",
        Gauge(|status, out| each_subscription(status, out, |it| yes(it.connection.state == State::Refused)))),
    family("subscription_frames", Number, SUBSCRIPTION,
        "Frames that were received and appended to the journal.",
        Counter(|status, out| each_subscription(status, out, |it| number(it.frames)))),
    family("subscription_received", Bytes, SUBSCRIPTION,
        "Bytes of these frames.",
        Counter(|status, out| each_subscription(status, out, |it| number(it.bytes)))),
    family("subscription_text_frames", Number, SUBSCRIPTION,
        "Text frames, which carry no event and are ignored.",
        Counter(|status, out| each_subscription(status, out, |it| number(it.text_frames)))),
    family("subscription_abandoned_frames", Number, SUBSCRIPTION,
        "Frames that were read from the socket and lost: larger than the journal accepts, or the daemon had to end while the journal was full.",
        Counter(|status, out| each_subscription(status, out, |it| number(it.abandoned)))),
    family("subscription_last_frame_age", Seconds, SUBSCRIPTION,
        "Time since the last frame; no sample before the first.",
        Gauge(|status, out| for it in &status.subscriptions {
            if let Some(last) = it.last_frame { out.add(&[&it.account, &it.topic], last.age(status.now)); }
        })),
    family("subscription_failures", Number, &["account", "topic", "cause"],
        "Connections that ended or could not be made, by cause.",
        Counter(|status, out| for it in &status.subscriptions {
            for (cause, count) in &it.failures { out.add(&[&it.account, &it.topic, cause], number(*count)); }
        })),

    family("subscription_duplicate_frames", Number, SUBSCRIPTION,
        "Frames that came twice and were stored once: over two connections during a handover, or with the id of an earlier event.",
        Counter(|status, out| each_subscription(status, out, |it| number(it.duplicates)))),

    family("subscription_gaps", Number, SUBSCRIPTION,
        "Gaps that are over: times without a connection, in which Central may have sent frames.",
        Counter(|status, out| each_subscription(status, out, |it| number(it.gaps)))),
    family("subscription_gap", Seconds, SUBSCRIPTION,
        "Total length of these gaps.",
        Counter(|status, out| each_subscription(status, out, |it| it.gap_seconds))),

    family("credential_age", Seconds, ACCOUNT,
        "Age of the account's key or token; no sample if it is not known.",
        Gauge(|status, out| for it in &status.accounts {
            if let Some(issued) = it.issued_at { out.add(&[&it.name], issued.age(status.now)); }
        })),
    family("credential_expires_in", Seconds, ACCOUNT,
        "Time to the end of the account's key or token, negative once it has passed; no sample if it is not known.",
        Gauge(|status, out| for it in &status.accounts {
            if let Some(expires) = it.expires_at { out.add(&[&it.name], expires.from_now(status.now)); }
        })),
    family("credential_renewal_failed", Number, ACCOUNT,
        "1 if the last renewal of the account's key or token failed.",
        Gauge(|status, out| for it in &status.accounts { out.add(&[&it.name], yes(it.renewal_failed.is_some())); })),

    family("journal", Bytes, NONE,
        "Bytes of frames in the journal.",
        Gauge(|status, out| out.add(NONE, number(status.journal.bytes)))),
    family("journal_max", Bytes, NONE,
        "Beyond so many bytes the oldest frames are dropped; no sample if there is no such limit.",
        Gauge(|status, out| if let Some(max) = status.journal.max_bytes { out.add(NONE, number(max)); })),
    family("journal_segments", Number, NONE,
        "Files that the journal consists of.",
        Gauge(|status, out| out.add(NONE, number(status.journal.segments)))),
    family("journal_oldest_frame_age", Seconds, NONE,
        "Time since the oldest frame in the journal was received; no sample if it is empty.",
        Gauge(|status, out| if let Some(oldest) = status.journal.oldest { out.add(NONE, oldest.age(status.now)); })),
    family("journal_appended_frames", Number, NONE,
        "Frames that were written to the journal.",
        Counter(|status, out| out.add(NONE, number(status.journal.appended_frames)))),
    family("journal_appended", Bytes, NONE,
        "Bytes that were written to the journal.",
        Counter(|status, out| out.add(NONE, number(status.journal.appended_bytes)))),
    family("journal_unsynced_frames", Number, NONE,
        "Frames that a power failure would lose: written, and not yet synced.",
        Gauge(|status, out| out.add(NONE, number(status.journal.unsynced_frames)))),
    family("journal_queued", Bytes, NONE,
        "Bytes that wait to be written.",
        Gauge(|status, out| out.add(NONE, number(status.journal.queued_bytes)))),
    family("journal_append_wait", Seconds, NONE,
        "Total time that subscriptions have waited for room in the journal.",
        Counter(|status, out| out.add(NONE, status.journal.append_wait_seconds))),
    family("journal_sync", Seconds, NONE,
        "Duration of the journal's syncs to the disk.",
        Histogram(|status, out| out.add(NONE, status.journal.sync.clone()))),
    family("journal_dropped_segments", Number, NONE,
        "Files that were dropped unread because the journal or the disk was full.",
        Counter(|status, out| out.add(NONE, number(status.journal.dropped_segments)))),
    family("journal_writable", Number, NONE,
        "0 while the journal cannot be written, so that nothing is read from Central.",
        Gauge(|status, out| out.add(NONE, yes(status.journal.trouble.is_none())))),

    family("sink_connected", Number, SINK,
        "1 while the sink's broker is connected.",
        Gauge(|status, out| each_sink(status, out, |it| yes(it.connection.state == State::Connected)))),
    family("sink_lag_frames", Number, SINK,
        "Frames in the journal that the sink's broker has not confirmed yet, and that are no dead letters.",
        Gauge(|status, out| each_sink(status, out, |it| number(it.lag_frames)))),
    family("sink_lag", Bytes, SINK,
        "Bytes of these frames.",
        Gauge(|status, out| each_sink(status, out, |it| number(it.lag_bytes)))),
    family("sink_lag", Seconds, SINK,
        "Age of the oldest of these frames; 0 if there is none.",
        Gauge(|status, out| each_sink(status, out, |it| it.lag_seconds))),
    family("sink_max_backlog", Bytes, SINK,
        "Beyond so many bytes the sink skips its oldest frames, or nothing more is read from Central: its `max_backlog`.",
        Gauge(|status, out| each_sink(status, out, |it| number(it.max_backlog_bytes)))),
    family("sink_in_flight_records", Number, SINK,
        "Records that were sent and are not confirmed.",
        Gauge(|status, out| each_sink(status, out, |it| number(it.in_flight_records)))),
    family("sink_in_flight", Bytes, SINK,
        "Payload bytes of these records.",
        Gauge(|status, out| each_sink(status, out, |it| number(it.in_flight_bytes)))),
    family("sink_sent_records", Number, SINK,
        "Records that were handed to the broker's client, those sent again included.",
        Counter(|status, out| each_sink(status, out, |it| number(it.sent)))),
    family("sink_confirmed_records", Number, SINK,
        "Records that the broker has confirmed.",
        Counter(|status, out| each_sink(status, out, |it| number(it.confirmed)))),
    family("sink_resent_records", Number, SINK,
        "Records that were sent again after a failure: the upper bound of duplicates.",
        Counter(|status, out| each_sink(status, out, |it| number(it.resent)))),
    family("sink_retries", Number, &["sink", "cause"],
        "Connections or sends that failed and were tried again, by cause.",
        Counter(|status, out| for it in &status.sinks {
            for (cause, count) in &it.retried { out.add(&[&it.name, cause], number(*count)); }
        })),
    family("sink_refused_records", Number, &["sink", "cause"],
        "Dead letters by cause: `undecodable` for frames that could not be decoded, the others for records that the broker refused for good.",
        Counter(|status, out| for it in &status.sinks {
            for (cause, count) in &it.refused { out.add(&[&it.name, cause], number(*count)); }
        })),
    family("sink_dead_letters", Number, SINK,
        "Dead letters, whatever the cause.",
        Counter(|status, out| each_sink(status, out, |it| number(it.dead_letters())))),
    family("sink_skipped_frames", Number, SINK,
        "Frames that the sink skipped because it lagged further behind than `max_backlog`.",
        Counter(|status, out| each_sink(status, out, |it| number(it.skipped)))),
    family("sink_damaged_frames", Number, SINK,
        "Frames that could not be read back from the journal.",
        Counter(|status, out| each_sink(status, out, |it| number(it.damaged)))),
    family("sink_panics", Number, SINK,
        "Panics (bugs) in the sink's task, which then started again at its cursor.",
        Counter(|status, out| each_sink(status, out, |it| number(it.panics)))),
    family("sink_kafka_queued_records", Number, SINK,
        "Records in librdkafka's queues, in flight or waiting.",
        Gauge(|status, out| each_kafka(status, out, |it| number(it.queued_records)))),
    family("sink_kafka_queued", Bytes, SINK,
        "Bytes of these records.",
        Gauge(|status, out| each_kafka(status, out, |it| number(it.queued_bytes)))),
    family("sink_kafka_brokers", Number, SINK,
        "Brokers that librdkafka knows of.",
        Gauge(|status, out| each_kafka(status, out, |it| number(it.brokers)))),
    family("sink_kafka_brokers_up", Number, SINK,
        "Brokers that librdkafka is connected to; those that lead no partition that is written to need not be.",
        Gauge(|status, out| each_kafka(status, out, |it| number(it.brokers_up)))),
    family("sink_kafka_round_trip_p99", Seconds, SINK,
        "From a request to the answer: the 99th percentile of the slowest broker.",
        Gauge(|status, out| each_kafka(status, out, |it| it.round_trip_p99_seconds))),
    family("sink_kafka_retried_requests", Number, SINK,
        "Requests that librdkafka sent again.",
        Counter(|status, out| each_kafka(status, out, |it| number(it.retries)))),
    family("sink_kafka_request_timeouts", Number, SINK,
        "Requests that were not answered in time.",
        Counter(|status, out| each_kafka(status, out, |it| number(it.timeouts)))),
    family("sink_kafka_disconnects", Number, SINK,
        "Connections to brokers that were lost.",
        Counter(|status, out| each_kafka(status, out, |it| number(it.disconnects)))),
    family("sink_last_confirmed_age", Seconds, SINK,
        "Time since the broker last confirmed a record; no sample before the first.",
        Gauge(|status, out| for it in &status.sinks {
            if let Some(last) = it.last_confirmed { out.add(&[&it.name], last.age(status.now)); }
        })),
    family("sink_delivery", Seconds, SINK,
        "From the socket to the broker's confirmation.",
        Histogram(|status, out| for it in &status.sinks { out.add(&[&it.name], it.latency.clone()); })),

    family("dead_letters", Bytes, NONE,
        "Bytes of dead letters.",
        Gauge(|status, out| out.add(NONE, number(status.dead_letters.bytes)))),
];

fn each_subscription(
    status: &Status,
    out: &mut Samples<f64>,
    value: impl Fn(&Subscription) -> f64,
) {
    for it in &status.subscriptions {
        out.add(&[&it.account, &it.topic], value(it));
    }
}

fn each_sink(status: &Status, out: &mut Samples<f64>, value: impl Fn(&Sink) -> f64) {
    for it in &status.sinks {
        out.add(&[&it.name], value(it));
    }
}

fn each_kafka(status: &Status, out: &mut Samples<f64>, value: impl Fn(&Statistics) -> f64) {
    for it in &status.sinks {
        if let Some(kafka) = &it.kafka {
            out.add(&[&it.name], value(kafka));
        }
    }
}

fn yes(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus knows only 64-bit floats"
)]
fn number(count: u64) -> f64 {
    count as f64
}
