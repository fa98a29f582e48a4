//! Every config that is shipped is one that `check` has nothing against.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// Where systemd puts the secrets that the shipped configs name.
const CREDENTIALS: &str = "/run/credentials/central-forwarder.service/";

/// The reference shows a key where people are to put theirs: it must pass `check` where no secret is.
const PLACEHOLDER: &str = ":56:1: accounts.acme.key: stands in a file that every user can read";

fn shipped() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let folders = [root.clone(), root.join("examples")];
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut configs: Vec<_> = paths
        .filter(|path| path.extension() == Some(OsStr::new("toml")))
        .collect();
    configs.sort();
    configs
}

/// The names of all keys that a JSON Schema has, at every depth.
fn keys(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(entries) => {
            if let Some(Value::Object(properties)) = entries.get("properties") {
                found.extend(properties.keys().cloned());
            }
            entries.values().for_each(|entry| keys(entry, found));
        }
        Value::Array(entries) => entries.iter().for_each(|entry| keys(entry, found)),
        _ => {}
    }
}

#[test]
fn the_reference_has_every_key() {
    let printed = Command::new(support::program())
        .args(["config", "schema"])
        .output()
        .unwrap();
    let mut all = BTreeSet::new();
    keys(&serde_json::from_slice(&printed.stdout).unwrap(), &mut all);
    assert!(
        all.contains("state_dir") && all.contains("max_backlog"),
        "{all:?}"
    );
    let reference = include_str!("../../config/central-forwarder.toml");
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: BTreeSet<&str> = reference.split(|c| !is_word(c)).collect();
    let missing: Vec<_> = all
        .iter()
        .filter(|key| !words.contains(key.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// `check` on a copy whose secrets are files in a folder of the test's.
fn check(config: &str) -> Output {
    let folder = TempDir::new().unwrap();
    let here = format!("{}/", folder.path().display());
    for rest in config.split(CREDENTIALS).skip(1) {
        let name = rest.split('"').next().unwrap();
        fs::write(folder.path().join(name), "a secret\n").unwrap();
    }
    let path = folder.path().join("config.toml");
    fs::write(&path, config.replace(CREDENTIALS, &here)).unwrap();
    Command::new(support::program())
        .args(["check", "-c"])
        .arg(path)
        .output()
        .unwrap()
}

#[test]
fn check_has_nothing_against_any_of_them() {
    let configs = shipped();
    assert!(configs.len() > 5, "{configs:?}");
    let mut complaints = String::new();
    for path in configs {
        let config = fs::read_to_string(&path).unwrap();
        let checked = check(&config);
        let said = String::from_utf8_lossy(&checked.stderr);
        let warnings = said
            .lines()
            .filter(|line| line.starts_with("warning") && !line.contains(PLACEHOLDER));
        if !checked.status.success() || warnings.count() > 0 {
            writeln!(complaints, "{}:\n{said}", path.display()).unwrap();
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}
