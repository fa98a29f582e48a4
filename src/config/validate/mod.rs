//! From [`Raw`] to [`Config`]: what each value must be, and what all of them must be together.
//!
//! - `validator`: where errors go, and the checks that several tables need
//! - `accounts`, `credentials`, `topics`, `certificates`: `[accounts.NAME]`
//! - `sinks`: what all kinds of sinks have in common; each kind's own checks are in `config::sinks`
//! - `routes`, `filters`: `[[routes]]`
//! - `admin`, `schemas`: the tables of these names
//! - `warnings`, `exposure`: what works, and is probably not what was meant

pub(crate) mod accounts;
pub(crate) mod admin;
pub(crate) mod certificates;
pub(crate) mod credentials;
pub(crate) mod exposure;
pub(crate) mod filters;
pub(crate) mod routes;
pub(crate) mod schemas;
pub(crate) mod sinks;
pub(crate) mod topics;
pub(crate) mod validator;
pub(crate) mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use self::validator::Validator;
use crate::config::diagnostics::report::Report;
use crate::config::raw::{self, Raw, Size};
use crate::config::source::key_path::join;
use crate::config::{Config, Journal, Log, OptionCheck};

const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Segments smaller than this would cost a file for a few frames each.
const MIN_SEGMENT_BYTES: u64 = 64 << 10;
/// Room for a few large frames at least.
const MIN_MEMORY_BYTES: u64 = 1 << 20;
/// Whole segments are skipped and dropped, and never the newest.
const SEGMENTS: u64 = 2;
/// A loss of power should cost seconds at most.
const MAX_SYNC_INTERVAL: Duration = Duration::from_secs(60);

/// Builds the config. What is wrong is in `report`; `None` only if something is.
pub(crate) fn config(
    raw: Raw,
    report: &mut Report,
    env: &BTreeMap<String, String>,
    kafka_option: OptionCheck,
) -> Option<Config> {
    let log = log(raw.log, report);
    let journal = journal(&raw.journal, report);
    let state_dir = raw.state_dir;
    if state_dir
        .as_ref()
        .is_some_and(|path| path.as_os_str().is_empty())
    {
        report.error(
            "state_dir",
            "is empty (name a folder, or leave it out to keep all in memory)",
        );
    }
    let mut validator = Validator {
        report,
        env,
        kafka_option,
        messages: BTreeMap::new(),
        events: BTreeSet::new(),
    };
    let admin = raw.admin.map(|admin| validator.admin(admin));
    let accounts = validator.accounts(raw.accounts);
    let min_backlog = SEGMENTS.saturating_mul(journal.segment_bytes);
    let sinks = validator.sinks(raw.sinks, min_backlog);
    let (messages, events) = (validator.messages, validator.events);
    let routes = routes::routes(raw.routes, &sinks.routes, &events, report);
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
        sinks: sinks.valid?,
        backlogs: sinks.backlogs,
        starts: sinks.starts,
        routes: routes?,
        schemas,
    })
}

fn log(raw: raw::Log, report: &mut Report) -> Log {
    let filter = raw.filter.unwrap_or_else(|| Log::default().filter);
    if let Err(error) = EnvFilter::builder().parse(&filter) {
        report.error(
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
        report.error("journal.sync_interval", "is out of range (write 1ms to 1m)");
    }
    let mut size = |key: &str, size: &Option<Size>, default: u64, min: u64| {
        let bytes = size.as_ref().map_or(default, |size| size.0);
        if bytes < min {
            let text = format!("is too small (write at least {} KiB)", min >> 10);
            report.error(&join("journal", key), text);
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
