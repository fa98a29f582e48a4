//! `[sinks.NAME]`: what all kinds have in common, and which keys belong to which kind.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::validator::{Validator, collect};
use crate::config::diagnostics::suggestion;
use crate::config::raw;
use crate::config::sinks::destination::RouteRules;
use crate::config::sinks::{KINDS, KindEntry, Sink};
use crate::config::source::field_names::field_names;
use crate::config::source::key_path::join;
use crate::config::{Backlog, SinkStart};

/// What the sinks' tables become.
#[derive(Debug)]
pub(super) struct Sinks {
    /// `None` if one of them has a mistake.
    pub(super) valid: Option<BTreeMap<String, Sink>>,
    pub(super) backlogs: BTreeMap<String, Backlog>,
    pub(super) starts: BTreeMap<String, SinkStart>,
    /// What routes may say, and the value of `type`, by the names of all sinks of a known kind.
    pub(super) routes: BTreeMap<String, (&'static str, RouteRules)>,
}

impl Validator<'_> {
    /// `min_backlog`: bytes that a sink must be allowed to lag behind.
    pub(super) fn sinks(&mut self, raw: BTreeMap<String, raw::Sink>, min_backlog: u64) -> Sinks {
        if raw.is_empty() {
            self.report
                .missing("", "sinks", "there is none (add [sinks.NAME])");
        }
        let mut checked = Sinks {
            valid: Some(BTreeMap::new()),
            backlogs: BTreeMap::new(),
            starts: BTreeMap::new(),
            routes: BTreeMap::new(),
        };
        let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
        for (name, raw) in raw {
            let path = join("sinks", &name);
            self.name(&path, &name);
            let backlog = self.backlog(&path, &raw, min_backlog);
            checked.backlogs.insert(name.clone(), backlog);
            let start = raw.start.unwrap_or_default();
            checked.starts.insert(name.clone(), start);
            let kind = raw.kind.as_deref().and_then(KindEntry::named);
            self.refuse_other_keys(&path, kind);
            if kind.is_none() {
                self.unknown_kind(&path, raw.kind);
            }
            let sink = kind.and_then(|kind| {
                let (rules, sink) = (kind.check)(self, &path, &name);
                checked.routes.insert(name.clone(), (kind.name, rules));
                sink
            });
            if let Some(file) = sink.as_ref().and_then(Sink::output_file)
                && let Some(other) = files.insert(file.to_owned(), path.clone())
            {
                let text = format!("is the same file as of {other} (name another)");
                self.report.error(&join(&path, "path"), text);
            }
            collect(&mut checked.valid, name, sink);
        }
        checked
    }

    fn backlog(&mut self, path: &str, raw: &raw::Sink, least: u64) -> Backlog {
        let given = raw.max_backlog.as_ref().map(|size| size.0);
        if given.is_some_and(|bytes| bytes < least) {
            let text = format!(
                "is less than two segments of the journal (write at least {} KiB, or a smaller \
                 journal.segment_bytes)",
                least.div_ceil(1 << 10)
            );
            self.report.error(&join(path, "max_backlog"), text);
        }
        Backlog {
            max_bytes: given.unwrap_or(Backlog::default().max_bytes),
            on_full: raw.on_full.unwrap_or_default(),
        }
    }

    fn unknown_kind(&mut self, path: &str, name: Option<String>) {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        let advice = match names.split_last() {
            Some((last, others)) => {
                format!("write type = \"{}\" or \"{last}\"", others.join("\", \""))
            }
            None => String::new(),
        };
        let Some(name) = self.report.require(path, "type", name, &advice) else {
            return;
        };
        let advice = suggestion::advice(&name, names.iter().copied(), || {
            format!("write one of {}", names.join(", "))
        });
        let text = format!("unknown value `{name}` ({advice})");
        self.report.error(&join(path, "type"), text);
    }

    /// Refuses the keys of other kinds, and those of none. Without a kind, every kind's keys may stand.
    fn refuse_other_keys(&mut self, path: &str, kind: Option<&'static KindEntry>) {
        let common = field_names::<raw::Sink>();
        let is_right = |key: &str| {
            let mut kinds = KINDS.iter();
            common.contains(&key)
                || kind.map_or_else(|| kinds.any(|it| it.has_key(key)), |kind| kind.has_key(key))
        };
        for key in self.report.keys(path) {
            if is_right(&key) {
                continue;
            }
            let owners: Vec<&str> = KINDS
                .iter()
                .filter(|kind| kind.has_key(&key))
                .map(|kind| kind.name)
                .collect();
            if let Some(kind) = kind
                && !owners.is_empty()
            {
                let text = format!(
                    "is for sinks of type {}, and this one is {} (leave it out)",
                    owners.join(" or "),
                    kind.name
                );
                self.report.error(&join(path, &key), text);
                continue;
            }
            let own = KINDS
                .iter()
                .filter(|it| kind.is_none_or(|kind| kind.name == it.name));
            let own = own.flat_map(|kind| (kind.keys)()).copied();
            let known: Vec<&str> = common.iter().copied().chain(own).collect();
            self.report.unknown_key(path, &key, &known);
        }
    }
}
