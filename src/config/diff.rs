//! What differs between the config that runs and a new one.

use std::collections::BTreeMap;

use super::layers::join;
use super::{Backlog, Config, Sink};

/// The key paths of what takes effect only after a restart: all but routes and schemas.
#[must_use]
pub fn needs_restart(running: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, differs) in [
        ("state_dir", running.state_dir != new.state_dir),
        ("log", running.log != new.log),
        ("journal", running.journal != new.journal),
        (
            "shutdown_timeout",
            running.shutdown_timeout != new.shutdown_timeout,
        ),
    ] {
        if differs {
            keys.push(key.to_owned());
        }
    }
    compare("accounts", &running.accounts, &new.accounts, &mut keys);
    compare("sinks", &limited(running), &limited(new), &mut keys);
    keys
}

/// Each sink with how far it may lag behind.
fn limited(config: &Config) -> BTreeMap<String, (&Sink, Option<&Backlog>)> {
    let sinks = config.sinks.iter();
    sinks
        .map(|(name, sink)| (name.clone(), (sink, config.backlogs.get(name))))
        .collect()
}

fn compare<T: PartialEq>(
    table: &str,
    running: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    keys: &mut Vec<String>,
) {
    let mut note = |name: &str, what: &str| keys.push(format!("{} ({what})", join(table, name)));
    for (name, entry) in new {
        match running.get(name) {
            None => note(name, "new"),
            Some(other) if other != entry => note(name, "changed"),
            Some(_) => {}
        }
    }
    for name in running.keys().filter(|name| !new.contains_key(*name)) {
        note(name, "removed");
    }
}
