//! An operator: files and environment variables in, a config or its mistakes out.

use std::fs;
use std::path::PathBuf;

use central_forwarder::config::{
    self, Access, Account, ClassicAccess, Config, ConfigErrors, Loaded,
};
use tempfile::TempDir;

/// A config without a mistake: a line each, so that a test can put another in a line's place.
pub(crate) const GOOD: &str = r#"state_dir = "/tmp/state"

[accounts.acme]
generation = "classic"
endpoint = "wss://central.example/streaming/api"
key = { env = "ACME_KEY" }
topics = ["monitoring", "security"]

[sinks.lake]
type = "kafka"
brokers = ["kafka-1:9092"]

[[routes]]
topics = ["monitoring", "security"]
sink = "lake"
destination = "central.{topic}"
"#;

/// A folder with files, and the variables of a process.
pub(crate) struct Operator {
    pub(crate) folder: TempDir,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) env: Vec<(String, String)>,
}

impl Operator {
    pub(crate) fn new() -> Self {
        let key = ("ACME_KEY".to_owned(), "hunter2".to_owned());
        Self {
            folder: tempfile::tempdir().unwrap(),
            files: Vec::new(),
            env: vec![key],
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        fs::write(self.path(name), text).unwrap();
        self.files.push(self.path(name));
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn load_paths(&self, paths: &[PathBuf]) -> Result<Loaded, ConfigErrors> {
        config::load(paths, self.env.iter().cloned(), |name, _| match name {
            "no.such" => Err("no such property (see librdkafka)".to_owned()),
            _ => Ok(()),
        })
    }

    pub(crate) fn load(&self) -> Result<Loaded, ConfigErrors> {
        self.load_paths(&self.files)
    }

    pub(crate) fn config(&self) -> Config {
        self.load()
            .unwrap_or_else(|mistakes| panic!("{mistakes}"))
            .config
    }

    /// The mistakes, a line each, without the folder's name.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        self.lines(&self.load().unwrap_err().to_string())
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let loaded = self.load().unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let warnings = loaded.warnings.iter();
        warnings
            .flat_map(|warning| self.lines(&warning.to_string()))
            .collect()
    }

    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        text.lines().map(|line| line.replace(&folder, "")).collect()
    }
}

pub(crate) fn classic(account: &Account) -> &ClassicAccess {
    match &account.access {
        Access::Classic(access) => access,
        Access::New(_) => panic!("{account:?}"),
    }
}

pub(crate) fn topics(account: &Account) -> Vec<&str> {
    account.topics.iter().map(config::Topic::name).collect()
}

/// The good config with another text in place of one of its parts.
pub(crate) fn with(part: &str, other: &str) -> Operator {
    assert!(GOOD.contains(part), "{part}");
    Operator::new().file("c.toml", &GOOD.replace(part, other))
}

#[track_caller]
pub(crate) fn assert_mistakes<S: AsRef<str>, const N: usize>(
    operator: &Operator,
    expected: &[S; N],
) {
    let expected = expected.each_ref().map(S::as_ref);
    assert_eq!(operator.mistakes(), expected);
}
