//! What differs between the config that runs and a new one: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::config::source::key_path::join;
use crate::config::{Account, Config};

/// All that differs, by what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    pub accounts: BTreeMap<String, AccountChange>,
    pub sinks: BTreeMap<String, Change>,
    /// Sinks that stay as they are, and may lag behind further or less far.
    pub backlogs: BTreeSet<String>,
    pub routes: bool,
    pub schemas: bool,
    pub shutdown_timeout: bool,
    /// The key paths of what takes effect after a restart only.
    pub after_restart: Vec<String>,
}

/// What became of an entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Changed,
    Removed,
}

/// What became of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountChange {
    Added,
    /// How it is reached or entered: all its connections are made anew.
    Changed,
    /// Its topics alone.
    Topics,
    Removed,
}

impl Diff {
    /// Compares what runs with what is wanted.
    #[must_use]
    pub fn between(running: &Config, new: &Config) -> Self {
        let sinks = compare(&running.sinks, &new.sinks);
        let kept = new.sinks.keys().filter(|sink| !sinks.contains_key(*sink));
        let backlogs = kept.filter(|sink| running.backlog(sink) != new.backlog(sink));
        Self {
            accounts: accounts(&running.accounts, &new.accounts),
            backlogs: backlogs.cloned().collect(),
            sinks,
            routes: running.routes != new.routes,
            schemas: running.schemas != new.schemas,
            shutdown_timeout: running.shutdown_timeout != new.shutdown_timeout,
            after_restart: after_restart(running, new),
        }
    }

    /// The key paths of what takes effect at once, and what became of each.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        let mut changes = Vec::new();
        for (name, change) in &self.accounts {
            changes.push(format!("{} ({change})", join("accounts", name)));
        }
        for (name, change) in &self.sinks {
            changes.push(format!("{} ({change})", join("sinks", name)));
        }
        for name in &self.backlogs {
            changes.push(format!("{} (backlog changed)", join("sinks", name)));
        }
        for (key, differs) in [
            ("routes", self.routes),
            ("schemas", self.schemas),
            ("shutdown_timeout", self.shutdown_timeout),
        ] {
            if differs {
                changes.push(format!("{key} (changed)"));
            }
        }
        changes
    }
}

fn accounts(
    running: &BTreeMap<String, Account>,
    new: &BTreeMap<String, Account>,
) -> BTreeMap<String, AccountChange> {
    let changes = compare(running, new).into_iter();
    let changes = changes.map(|(name, change)| {
        let change = match change {
            Change::Added => AccountChange::Added,
            Change::Removed => AccountChange::Removed,
            Change::Changed if same_but_for_topics(&running[&name], &new[&name]) => {
                AccountChange::Topics
            }
            Change::Changed => AccountChange::Changed,
        };
        (name, change)
    });
    changes.collect()
}

fn same_but_for_topics(one: &Account, other: &Account) -> bool {
    let with_its_topics = Account {
        topics: one.topics.clone(),
        ..other.clone()
    };
    *one == with_its_topics
}

fn after_restart(running: &Config, new: &Config) -> Vec<String> {
    [
        ("state_dir", running.state_dir != new.state_dir),
        ("log", running.log != new.log),
        ("journal", running.journal != new.journal),
        ("admin", running.admin != new.admin),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(key, _)| key.to_owned())
    .collect()
}

fn compare<T: PartialEq>(
    running: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
) -> BTreeMap<String, Change> {
    let mut changes = BTreeMap::new();
    for (name, entry) in new {
        match running.get(name) {
            None => changes.insert(name.clone(), Change::Added),
            Some(other) if other != entry => changes.insert(name.clone(), Change::Changed),
            Some(_) => None,
        };
    }
    for name in running.keys().filter(|name| !new.contains_key(*name)) {
        changes.insert(name.clone(), Change::Removed);
    }
    changes
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "new",
            Self::Changed => "changed",
            Self::Removed => "removed",
        })
    }
}

impl fmt::Display for AccountChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "new",
            Self::Changed => "changed",
            Self::Topics => "topics changed",
            Self::Removed => "removed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::of_text;

    const CONFIG: &str = r#"
        state_dir = "/tmp/state"
        shutdown_timeout = "10s"
        [accounts.acme]
        generation = "classic"
        endpoint = "ws://127.0.0.1:1/a"
        key = "k"
        topics = ["monitoring", "audit"]
        [accounts.other]
        generation = "classic"
        endpoint = "ws://127.0.0.1:1/o"
        key = "k"
        topics = ["monitoring"]
        [sinks.lake]
        type = "file"
        path = "/tmp/lake"
        max_backlog = "1 GiB"
        [sinks.iot]
        type = "file"
        path = "/tmp/iot"
        [[routes]]
        topics = "*"
        sink = "lake"
        [[routes]]
        topics = "*"
        sink = "iot"
    "#;

    /// What differs after these texts were replaced.
    fn diff(replaced: &[(&str, &str)]) -> Diff {
        let mut text = CONFIG.to_owned();
        for (from, to) in replaced {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        Diff::between(&of_text(CONFIG), &of_text(&text))
    }

    #[test]
    fn nothing_differs_in_the_same_config() {
        assert_eq!(
            diff(&[("[accounts.acme]", "\n\n[accounts.acme]")]),
            Diff::default()
        );
    }

    #[test]
    fn what_differs_is_named_and_nothing_else() {
        for (from, to, expected) in [
            ("/a", "/b", "accounts.acme (changed)"),
            (
                "\"audit\"",
                "\"security\"",
                "accounts.acme (topics changed)",
            ),
            ("/tmp/lake", "/tmp/pond", "sinks.lake (changed)"),
            ("1 GiB", "2 GiB", "sinks.lake (backlog changed)"),
            ("10s", "20s", "shutdown_timeout (changed)"),
            (
                "sink = \"iot\"",
                "sink = \"iot\"\njson = \"canonical\"",
                "routes (changed)",
            ),
        ] {
            let diff = diff(&[(from, to)]);
            assert_eq!(diff.changes(), [expected]);
            assert!(diff.after_restart.is_empty());
        }
    }

    #[test]
    fn what_is_in_a_certificate_file_is_part_of_the_config() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let write = |name: &str, content: &str| {
            let pem = format!("-----BEGIN CERTIFICATE-----\n{content}\n");
            std::fs::write(file(name), pem).unwrap();
        };
        let kafka = format!(
            "type = \"kafka\"\nbrokers = [\"a:1\"]\ntls = {{ ca_file = '{}', certificate_file = '{}', \
             key_file = '{}' }}\nsasl = {{ mechanism = \"OAUTHBEARER\", token_endpoint = \"https://a/b\", \
             client_id = \"c\", client_secret = \"s\", ca_file = '{}' }}",
            file("ca"),
            file("certificate"),
            file("key"),
            file("endpoints-ca"),
        );
        let text = CONFIG
            .replace(
                "\"audit\"]",
                &format!("\"audit\"]\ntls = {{ ca_file = '{}' }}", file("ca")),
            )
            .replace("type = \"file\"\n        path = \"/tmp/lake\"", &kafka)
            .replace("sink = \"lake\"", "sink = \"lake\"\ndestination = \"a\"");
        for name in ["ca", "certificate", "key", "endpoints-ca"] {
            write(name, "old");
        }
        let old = of_text(&text);
        assert_eq!(Diff::between(&old, &of_text(&text)), Diff::default());
        for (name, expected) in [
            (
                "ca",
                &["accounts.acme (changed)", "sinks.lake (changed)"][..],
            ),
            ("certificate", &["sinks.lake (changed)"]),
            ("key", &["sinks.lake (changed)"]),
            ("endpoints-ca", &["sinks.lake (changed)"]),
        ] {
            write(name, "new");
            assert_eq!(Diff::between(&old, &of_text(&text)).changes(), expected);
            write(name, "old");
        }
    }

    #[test]
    fn another_name_is_a_new_entry_and_one_that_is_gone() {
        let diff = diff(&[
            ("accounts.other", "accounts.third"),
            ("sinks.iot", "sinks.edge"),
            ("\"iot\"", "\"edge\""),
        ]);
        assert_eq!(
            diff.changes(),
            [
                "accounts.other (removed)",
                "accounts.third (new)",
                "sinks.edge (new)",
                "sinks.iot (removed)",
                "routes (changed)"
            ]
        );
    }

    #[test]
    fn what_waits_for_a_restart_is_said_apart() {
        let diff = diff(&[(
            "state_dir = \"/tmp/state\"",
            "state_dir = \"/tmp/other\"\nlog = { filter = \"debug\" }\njournal = { retain = \"1h\" }",
        )]);
        assert!(diff.changes().is_empty());
        assert_eq!(diff.after_restart, ["state_dir", "log", "journal"]);
    }
}
