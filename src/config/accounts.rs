//! What each account must be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::layers::join;
use super::raw::{self, Names, SecretSource, Span};
use super::secret::{Origin, Secret};
use super::validate::{Tables, collect};
use super::{Account, CLASSIC_TOPICS, Tls, hint};

impl Tables<'_> {
    pub(super) fn accounts(
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
}

pub(super) fn unknown_topic(topic: &str) -> String {
    let advice = hint::advice(topic, CLASSIC_TOPICS, || {
        format!("Classic Central has {}", CLASSIC_TOPICS.join(", "))
    });
    format!("unknown topic `{topic}` ({advice})")
}

fn fits_a_header(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

pub(super) fn check_certificates(file: &Path) -> Result<(), String> {
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
