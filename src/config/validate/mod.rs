//! From [`Raw`] to [`Config`]: what each value must be, and what all of them must be together.

pub(crate) mod accounts;
pub(crate) mod admin;
pub(crate) mod certificates;
pub(crate) mod credentials;
pub(crate) mod filter;
pub(crate) mod routes;
pub(crate) mod schemas;
pub(crate) mod topics;
pub(crate) mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::config::diagnostics::report::Report;
use crate::config::raw::{self, Raw, SecretSource, Size};
use crate::config::secret::Secret;
use crate::config::source::layers::join;
use crate::config::validate::routes::SinkKind;
use crate::config::{Backlog, Config, Journal, Log, OptionCheck};

const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Segments smaller than this would cost a file for a few frames each.
const MIN_SEGMENT_BYTES: u64 = 64 << 10;
/// Room for a few large frames at least.
const MIN_MEMORY_BYTES: u64 = 1 << 20;
/// Whole segments are skipped and dropped, and never the newest.
const SEGMENTS: u64 = 2;
/// A loss of power should cost seconds at most.
const MAX_SYNC_INTERVAL: Duration = Duration::from_secs(60);
/// Names become file names.
const MAX_NAME_BYTES: usize = 64;

/// Builds the config. What is wrong is in `report`; `None` only if something is.
pub(crate) fn config(
    raw: Raw,
    report: &mut Report,
    env: &BTreeMap<String, String>,
    kafka_option: OptionCheck,
) -> Option<Config> {
    let kinds = sink_kinds(&raw.sinks);
    let log = log(raw.log, report);
    let journal = journal(&raw.journal, report);
    let state_dir = raw.state_dir;
    if state_dir
        .as_ref()
        .is_some_and(|path| path.as_os_str().is_empty())
    {
        report.mistake(
            "state_dir",
            "is empty (name a folder, or leave it out to keep all in memory)",
        );
    }
    let mut tables = Tables {
        report,
        env,
        kafka_option,
        messages: BTreeMap::new(),
        events: BTreeSet::new(),
    };
    let admin = raw.admin.map(|admin| tables.admin(admin));
    let accounts = tables.accounts(raw.accounts);
    let backlogs = tables.backlogs(&raw.sinks, journal.segment_bytes);
    let starts = raw.sinks.iter();
    let starts = starts.map(|(name, sink)| (name.clone(), sink.start.unwrap_or_default()));
    let starts = starts.collect();
    let sinks = tables.sinks(raw.sinks);
    let (messages, events) = (tables.messages, tables.events);
    let routes = routes::routes(raw.routes, &kinds, &events, report);
    let mut schemas = schemas::schemas(raw.schemas, report);
    for (stream, (message, at)) in messages {
        schemas.name(stream, message, &at, report);
    }
    Some(Config {
        state_dir,
        log,
        journal,
        admin,
        shutdown_timeout: raw
            .shutdown_timeout
            .map_or(DEFAULT_SHUTDOWN_TIMEOUT, |span| span.0),
        accounts: accounts?,
        sinks: sinks?,
        backlogs,
        starts,
        routes: routes?,
        schemas,
    })
}

fn sink_kinds(sinks: &BTreeMap<String, raw::Sink>) -> BTreeMap<String, SinkKind> {
    let named = |(name, sink): (&String, &raw::Sink)| {
        let kind = SinkKind {
            kind: sink.kind?,
            has_registry: sink.schema_registry.is_some(),
        };
        Some((name.clone(), kind))
    };
    sinks.iter().filter_map(named).collect()
}

fn log(raw: raw::Log, report: &mut Report) -> Log {
    let filter = raw.filter.unwrap_or_else(|| Log::default().filter);
    if let Err(error) = EnvFilter::builder().parse(&filter) {
        report.mistake(
            "log.filter",
            format!("{error} (write a level, or TARGET=LEVEL with commas between)"),
        );
    }
    Log {
        format: raw.format.unwrap_or_default(),
        filter,
    }
}

fn journal(raw: &raw::Journal, report: &mut Report) -> Journal {
    let default = Journal::default();
    let sync_interval = raw
        .sync_interval
        .as_ref()
        .map_or(default.sync_interval, |span| span.0);
    if sync_interval.is_zero() || sync_interval > MAX_SYNC_INTERVAL {
        report.mistake("journal.sync_interval", "is out of range (write 1ms to 1m)");
    }
    let mut size = |key: &str, size: &Option<Size>, default: u64, min: u64| {
        let bytes = size.as_ref().map_or(default, |size| size.0);
        if bytes < min {
            let text = format!("is too small (write at least {} KiB)", min >> 10);
            report.mistake(&join("journal", key), text);
        }
        bytes
    };
    let segment_bytes = size(
        "segment_bytes",
        &raw.segment_bytes,
        default.segment_bytes,
        MIN_SEGMENT_BYTES,
    );
    let least = SEGMENTS.saturating_mul(segment_bytes);
    let max_bytes = raw.max_bytes.as_ref();
    let max_bytes = max_bytes.map(|_| size("max_bytes", &raw.max_bytes, least, least));
    Journal {
        sync_interval,
        segment_bytes,
        max_bytes,
        retain: raw.retain.as_ref().map_or(default.retain, |span| span.0),
        memory_bytes: size(
            "memory_bytes",
            &raw.memory_bytes,
            default.memory_bytes,
            MIN_MEMORY_BYTES,
        ),
        dead_letter_bytes: size(
            "dead_letter_bytes",
            &raw.dead_letter_bytes,
            default.dead_letter_bytes,
            MIN_MEMORY_BYTES,
        ),
    }
}

/// The tables that have names of the operator's.
pub(crate) struct Tables<'a> {
    pub(crate) report: &'a mut Report,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) kafka_option: OptionCheck,
    /// The types that topics name: SERVICE/VERSION/EVENT to the full name of a message, and the key
    /// path where it stands first.
    pub(crate) messages: BTreeMap<String, (String, String)>,
    /// The events that topics name with their service and version.
    pub(crate) events: BTreeSet<String>,
}

impl Tables<'_> {
    fn backlogs(
        &mut self,
        sinks: &BTreeMap<String, raw::Sink>,
        segment_bytes: u64,
    ) -> BTreeMap<String, Backlog> {
        let default = Backlog::default();
        let least = SEGMENTS.saturating_mul(segment_bytes);
        let mut backlogs = BTreeMap::new();
        for (name, raw) in sinks {
            let given = raw.max_backlog.as_ref().map(|size| size.0);
            if given.is_some_and(|bytes| bytes < least) {
                let text = format!(
                    "is less than two segments of the journal (write at least {} KiB, or a smaller \
                     journal.segment_bytes)",
                    least.div_ceil(1 << 10)
                );
                let path = join(&join("sinks", name), "max_backlog");
                self.report.mistake(&path, text);
            }
            let backlog = Backlog {
                max_bytes: given.unwrap_or(default.max_bytes),
                on_full: raw.on_full.unwrap_or_default(),
            };
            backlogs.insert(name.clone(), backlog);
        }
        backlogs
    }

    pub(crate) fn secret(&mut self, path: &str, source: SecretSource) -> Option<Secret> {
        let secret = match source {
            SecretSource::Literal(secret) => return Some(secret),
            SecretSource::File(file) => Secret::from_file(file),
            SecretSource::Env(name) => {
                Secret::from_env(&name, self.env.get(&name).map(String::as_str))
            }
        };
        match secret {
            Ok(secret) => Some(secret),
            Err(why) => {
                self.report
                    .mistake(path, format!("{why} ({})", why.advice()));
                None
            }
        }
    }

    pub(crate) fn name(&mut self, path: &str, name: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(plain) {
            let text =
                format!("not a name (use letters, digits, - and _, {MAX_NAME_BYTES} at most)");
            self.report.mistake(path, text);
        }
    }
}

/// Adds an entry, as long as none failed.
pub(crate) fn collect<T>(all: &mut Option<BTreeMap<String, T>>, name: String, entry: Option<T>) {
    match entry {
        Some(entry) => {
            if let Some(all) = all {
                all.insert(name, entry);
            }
        }
        None => *all = None,
    }
}
