//! From files and environment to a [`Config`], or to all that is wrong with them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::diagnostics::report::Report;
use crate::config::diagnostics::{Mistakes, Remark};
use crate::config::source::layers::{self, Layers};
use crate::config::source::tree::Node;
use crate::config::validate::{self, warnings};
use crate::config::{Config, raw::Raw};

/// A config that holds, and what an operator should know about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Remark>,
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
) -> Result<Loaded, Mistakes> {
    let env: BTreeMap<String, String> = env.collect();
    let mut layers = layers::read(paths);
    layers.apply(&env);
    let Layers {
        root,
        places,
        origin,
        mistakes,
        torn,
    } = layers;
    let tree = Node::root(root, &places, &origin);
    let mut report = Report::new(tree, origin, mistakes, torn);
    let raw = read(&mut report);
    match validate::config(raw, &mut report, &env, kafka_option) {
        Some(config) if report.mistakes.is_empty() => {
            warnings::warn(&config, &mut report);
            let mut warnings = report.warnings;
            warnings.sort();
            Ok(Loaded { config, warnings })
        }
        _ => Err(Mistakes::new(report.mistakes)),
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

fn read(report: &mut Report) -> Raw {
    let (raw, misfits) = report.tree.read();
    for misfit in misfits {
        // A table that does not fit because of an entry that was taken out of it says nothing new.
        let is_new = !report.is_gone(misfit.culprit());
        report.gone.push(misfit.culprit().to_owned());
        report.gone.extend(misfit.meant().map(str::to_owned));
        if is_new {
            report.mistakes.push(misfit.into_remark(&report.origin));
        }
    }
    raw
}
