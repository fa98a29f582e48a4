//! From files and environment to a [`Config`], or to all that is wrong with them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::diagnostics::report::Report;
use crate::config::diagnostics::{ConfigErrors, Diagnostic};
use crate::config::source::key_path::join;
use crate::config::source::layers::{self, Layers};
use crate::config::source::tree::Node;
use crate::config::validate::{self, warnings};
use crate::config::{Config, raw::Raw};

const SINKS: &str = "sinks";

/// A config that holds, and what an operator should know about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Diagnostic>,
}

/// Says what is wrong with a librdkafka property of this name and value, and what to do. The text
/// must not show the value of a secret.
pub type OptionCheck = fn(name: &str, value: &str) -> Result<(), String>;

/// Reads the files in their order, a folder as its `*.toml` in the order of their names, and puts
/// the variables that begin with `CENTRAL_FORWARDER__` over them. `env` also answers
/// `{ env = "NAME" }`.
///
/// A later file wins over an earlier one, key by key; the routes of all files stand together.
///
/// # Errors
/// Every mistake that can be seen at once.
pub fn load(
    paths: &[PathBuf],
    env: impl Iterator<Item = (String, String)>,
    kafka_option: OptionCheck,
) -> Result<Loaded, ConfigErrors> {
    let env: BTreeMap<String, String> = env.collect();
    let mut layers = layers::read(paths);
    layers.apply(&env);
    let Layers {
        root,
        positions,
        origin,
        errors,
        incomplete,
    } = layers;
    let mut tree = Node::root(root, &positions, &origin);
    expand_sinks(&mut tree);
    let mut report = Report::new(tree, origin, errors, incomplete);
    let raw: Raw = report.read();
    match validate::config(raw, &mut report, &env, kafka_option) {
        Some(config) if report.errors.is_empty() => {
            warnings::warn(&config, &mut report);
            let mut warnings = report.warnings;
            warnings.sort();
            Ok(Loaded { config, warnings })
        }
        _ => Err(ConfigErrors::new(report.errors)),
    }
}

/// For tests: a config of this text, without environment, its librdkafka options unchecked.
#[cfg(test)]
pub(crate) fn of_text(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    let loaded = load(&[file], std::iter::empty(), |_, _| Ok(()));
    loaded
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .config
}

/// A variable may hold a whole sink, or all of them. Their keys are read in two steps, so they must be
/// there one by one.
fn expand_sinks(tree: &mut Node) {
    tree.expand(SINKS);
    let names = tree.find(SINKS).into_iter().flat_map(Node::keys);
    let paths: Vec<String> = names.map(|name| join(SINKS, name)).collect();
    for path in paths {
        tree.expand(&path);
    }
}
