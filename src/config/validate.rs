//! From [`Raw`] to [`Config`]: what each value must be, and what all of them must be together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::layers::join;
use super::raw::{self, Names, Raw, SecretSource, Setting, SinkType, Size, Span};
use super::report::Report;
use super::secret::{Origin, Secret};
use super::{Account, CLASSIC_TOPICS, Config, File, Journal, Kafka, Log, Sink, Tls, hint};
use super::{OptionCheck, routes};

const DEFAULT_FILTER: &str = "info";
const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_SYNC_INTERVAL: Duration = Duration::from_millis(100);
const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;
const DEFAULT_MEMORY_BYTES: u64 = 256 << 20;

/// Segments smaller than this would cost a file for a few frames each.
const MIN_SEGMENT_BYTES: u64 = 64 << 10;
/// Room for a few large frames at least.
const MIN_MEMORY_BYTES: u64 = 1 << 20;
/// A loss of power should cost seconds at most.
const MAX_SYNC_INTERVAL: Duration = Duration::from_secs(60);
/// Names become file names.
const MAX_NAME_BYTES: usize = 64;

/// Builds the config. What is wrong is in `report`; `None` only if something is.
pub(super) fn config(
    raw: Raw,
    report: &mut Report,
    env: &BTreeMap<String, String>,
    kafka_option: OptionCheck,
) -> Option<Config> {
    let kinds = sink_types(&raw.sinks);
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
    };
    let accounts = tables.accounts(raw.accounts);
    let sinks = tables.sinks(raw.sinks);
    let routes = routes::routes(raw.routes, &kinds, report);
    Some(Config {
        state_dir,
        log,
        journal,
        shutdown_timeout: raw
            .shutdown_timeout
            .map_or(DEFAULT_SHUTDOWN_TIMEOUT, |span| span.0),
        accounts: accounts?,
        sinks: sinks?,
        routes: routes?,
    })
}

fn sink_types(sinks: &BTreeMap<String, raw::Sink>) -> BTreeMap<String, SinkType> {
    let named = |(name, sink): (&String, &raw::Sink)| Some((name.clone(), sink.kind?));
    sinks.iter().filter_map(named).collect()
}

fn log(raw: raw::Log, report: &mut Report) -> Log {
    let filter = raw.filter.unwrap_or_else(|| DEFAULT_FILTER.to_owned());
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
    let sync_interval = raw
        .sync_interval
        .as_ref()
        .map_or(DEFAULT_SYNC_INTERVAL, |span| span.0);
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
    Journal {
        sync_interval,
        segment_bytes: size(
            "segment_bytes",
            &raw.segment_bytes,
            DEFAULT_SEGMENT_BYTES,
            MIN_SEGMENT_BYTES,
        ),
        memory_bytes: size(
            "memory_bytes",
            &raw.memory_bytes,
            DEFAULT_MEMORY_BYTES,
            MIN_MEMORY_BYTES,
        ),
    }
}

/// The tables that have names of the operator's.
struct Tables<'a> {
    report: &'a mut Report,
    env: &'a BTreeMap<String, String>,
    kafka_option: OptionCheck,
}

impl Tables<'_> {
    fn accounts(
        &mut self,
        raw: BTreeMap<String, raw::Account>,
    ) -> Option<BTreeMap<String, Account>> {
        if raw.is_empty() {
            self.report
                .missing("", "accounts", "there is none (add [accounts.NAME])");
        }
        let mut accounts = Some(BTreeMap::new());
        for (name, raw) in raw {
            let path = join("accounts", &name);
            self.name(&path, &name);
            collect(&mut accounts, name, self.account(&path, raw));
        }
        accounts
    }

    fn account(&mut self, path: &str, raw: raw::Account) -> Option<Account> {
        let report = &mut *self.report;
        report.require(
            path,
            "generation",
            raw.generation,
            "write generation = \"classic\"",
        );
        let endpoint = report.require(
            path,
            "endpoint",
            raw.endpoint,
            "write endpoint = \"wss://HOST/streaming/api\"",
        );
        let key = report.require(path, "key", raw.key, "write key = { file = \"PATH\" }");
        let topics = report.require(
            path,
            "topics",
            raw.topics,
            "write topics = [\"monitoring\"]",
        );
        let topics = topics.map(|topics| self.topics(&join(path, "topics"), topics));
        let key = key.and_then(|key| self.header_secret(&join(path, "key"), key));
        if raw
            .username
            .as_deref()
            .is_some_and(|name| !fits_a_header(name))
        {
            self.report.mistake(
                &join(path, "username"),
                "is empty or holds characters that no HTTP header can carry (write an e-mail address)",
            );
        }
        let tls = self.tls(&join(path, "tls"), raw.tls);
        let idle_timeout = raw.idle_timeout.map(|Span(span)| span);
        if idle_timeout.is_some_and(|span| span < Duration::from_secs(1)) {
            self.report.mistake(
                &join(path, "idle_timeout"),
                "is out of range (write at least 1s)",
            );
        }
        Some(Account {
            endpoint: endpoint?.0,
            key: key?,
            username: raw.username,
            topics: topics?,
            tls,
            idle_timeout,
        })
    }

    fn topics(&mut self, path: &str, names: Names) -> BTreeSet<String> {
        if names.0.is_empty() {
            self.report
                .missing(path, path, "is empty (name at least one topic)");
        }
        let mut topics = BTreeSet::new();
        for (index, topic) in names.0.into_iter().enumerate() {
            let at = self.report.element(path, index);
            if !CLASSIC_TOPICS.contains(&topic.as_str()) {
                self.report.mistake(&at, unknown_topic(&topic));
            }
            if topics.contains(&topic) {
                self.report
                    .mistake(&at, format!("`{topic}` stands here twice (leave one out)"));
            }
            topics.insert(topic);
        }
        topics
    }

    fn tls(&mut self, path: &str, raw: raw::Tls) -> Tls {
        if let Some(file) = &raw.ca_file
            && let Err(why) = check_certificates(file)
        {
            self.report.mistake(&join(path, "ca_file"), why);
        }
        Tls {
            ca_file: raw.ca_file,
            insecure: raw.verify == Some(false),
        }
    }

    fn sinks(&mut self, raw: BTreeMap<String, raw::Sink>) -> Option<BTreeMap<String, Sink>> {
        if raw.is_empty() {
            self.report
                .missing("", "sinks", "there is none (add [sinks.NAME])");
        }
        let mut sinks = Some(BTreeMap::new());
        let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
        for (name, raw) in raw {
            let path = join("sinks", &name);
            self.name(&path, &name);
            let sink = self.sink(&path, raw);
            if let Some(Sink::File(file)) = &sink
                && let Some(other) = files.insert(file.path.clone(), path.clone())
            {
                let text = format!("is the same file as of {other} (name another)");
                self.report.mistake(&join(&path, "path"), text);
            }
            collect(&mut sinks, name, sink);
        }
        sinks
    }

    fn sink(&mut self, path: &str, raw: raw::Sink) -> Option<Sink> {
        let advice = "write type = \"kafka\", \"stdout\" or \"file\"";
        let kind = self.report.require(path, "type", raw.kind, advice)?;
        let own = [
            ("brokers", raw.brokers.is_some(), SinkType::Kafka),
            ("options", raw.options.is_some(), SinkType::Kafka),
            ("path", raw.path.is_some(), SinkType::File),
        ];
        for (key, given, owner) in own {
            if given && owner != kind {
                let text =
                    format!("is for sinks of type {owner}, and this one is {kind} (leave it out)");
                self.report.mistake(&join(path, key), text);
            }
        }
        match kind {
            SinkType::Stdout => Some(Sink::Stdout),
            SinkType::File => {
                let advice = "write path = \"/var/log/central.ndjson\"";
                let path = self.report.require(path, "path", raw.path, advice)?;
                Some(Sink::File(File { path }))
            }
            SinkType::Kafka => {
                let advice = "write brokers = [\"kafka-1:9092\"]";
                let brokers = self.report.require(path, "brokers", raw.brokers, advice);
                let brokers = brokers.map(|brokers| self.brokers(&join(path, "brokers"), brokers));
                let options = self.options(&join(path, "options"), raw.options.unwrap_or_default());
                Some(Sink::Kafka(Kafka {
                    brokers: brokers?,
                    options: options?,
                }))
            }
        }
    }

    fn brokers(&mut self, path: &str, names: Names) -> Vec<String> {
        if names.0.is_empty() {
            self.report
                .missing(path, path, "is empty (name at least one broker)");
        }
        for (index, broker) in names.0.iter().enumerate() {
            if !is_address(broker) {
                let at = self.report.element(path, index);
                self.report.mistake(
                    &at,
                    format!("`{broker}` is not HOST:PORT (write \"kafka-1:9092\")"),
                );
            }
        }
        names.0
    }

    fn options(
        &mut self,
        path: &str,
        raw: BTreeMap<String, Setting>,
    ) -> Option<BTreeMap<String, Secret>> {
        let mut options = Some(BTreeMap::new());
        for (name, Setting(source)) in raw {
            let at = join(path, &name);
            let value = self.secret(&at, source);
            if let Some(value) = &value
                && let Err(why) = (self.kafka_option)(&name, value.expose())
            {
                self.report.mistake(&at, why);
            }
            collect(&mut options, name, value);
        }
        options
    }

    fn header_secret(&mut self, path: &str, source: SecretSource) -> Option<Secret> {
        let secret = self.secret(path, source)?;
        if fits_a_header(secret.expose()) {
            return Some(secret);
        }
        let from = match secret.origin() {
            Origin::Literal => String::new(),
            origin => format!(" {origin}"),
        };
        self.report.mistake(
            path,
            format!("the key{from} is empty or holds characters that no HTTP header can carry (copy it anew)"),
        );
        None
    }

    fn secret(&mut self, path: &str, source: SecretSource) -> Option<Secret> {
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

    fn name(&mut self, path: &str, name: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(plain) {
            let text =
                format!("not a name (use letters, digits, - and _, {MAX_NAME_BYTES} at most)");
            self.report.mistake(path, text);
        }
    }
}

pub(super) fn unknown_topic(topic: &str) -> String {
    let advice = hint::advice(topic, CLASSIC_TOPICS, || {
        format!("Classic Central has {}", CLASSIC_TOPICS.join(", "))
    });
    format!("unknown topic `{topic}` ({advice})")
}

/// Adds an entry, as long as none failed.
fn collect<T>(all: &mut Option<BTreeMap<String, T>>, name: String, entry: Option<T>) {
    match entry {
        Some(entry) => {
            if let Some(all) = all {
                all.insert(name, entry);
            }
        }
        None => *all = None,
    }
}

fn fits_a_header(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// `HOST:PORT` or `[IPv6]:PORT`; librdkafka allows a protocol before it.
fn is_address(broker: &str) -> bool {
    let address = broker
        .split_once("://")
        .map_or(broker, |(_, address)| address);
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let host_fits = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', ',', '/', ' ', '[', ']']),
    };
    host_fits && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn check_certificates(file: &Path) -> Result<(), String> {
    let text = fs::read(file).map_err(|error| {
        format!(
            "cannot read the file {}: {error} (correct the path or the permissions)",
            file.display()
        )
    })?;
    let begin = b"-----BEGIN CERTIFICATE-----";
    if text.windows(begin.len()).any(|window| window == begin) {
        Ok(())
    } else {
        Err(format!(
            "the file {} holds no certificate (convert it to PEM)",
            file.display()
        ))
    }
}
