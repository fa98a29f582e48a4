//! Environment variables over the files: `CENTRAL_FORWARDER__SINKS__LAKE__TYPE`.

use std::collections::BTreeMap;

use ::config::{Map, Value, ValueKind};

use crate::config::diagnostics::{Diagnostic, Position};
use crate::config::source::key_path::{element, join};
use crate::config::source::layers::Layers;

const PREFIX: &str = "CENTRAL_FORWARDER__";
const SEPARATOR: &str = "__";

/// Deeper than any key; what is deeper still would only cost stack.
const MAX_LEVELS: usize = 16;

impl Layers {
    /// Puts the variables that begin with `CENTRAL_FORWARDER__` over the files.
    pub(crate) fn apply(&mut self, env: &BTreeMap<String, String>) {
        for (name, text) in env {
            let Some(keys) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let position = Position::Variable(name.clone());
            match find(&mut self.root, keys) {
                Ok((mut paths, value)) => {
                    value.kind = ValueKind::String(text.clone());
                    self.positions
                        .extend(paths.pop().map(|path| (path, position.clone())));
                    for path in paths {
                        self.positions
                            .entry(path)
                            .or_insert_with(|| position.clone());
                    }
                }
                Err(text) => self.errors.push(Diagnostic {
                    position,
                    key: String::new(),
                    text,
                }),
            }
        }
    }
}

/// The value that a variable is about, made if need be, and the paths on the way to it.
fn find<'a>(root: &'a mut Value, keys: &str) -> Result<(Vec<String>, &'a mut Value), String> {
    let levels = keys.split(SEPARATOR);
    if levels.clone().any(str::is_empty) || levels.count() > MAX_LEVELS {
        return Err(format!(
            "names no key (write {PREFIX}KEY or {PREFIX}KEY{SEPARATOR}KEY)"
        ));
    }
    let mut paths = Vec::new();
    let mut path = String::new();
    let mut at = root;
    for key in keys.split(SEPARATOR) {
        if !matches!(at.kind, ValueKind::Table(_) | ValueKind::Array(_)) {
            at.kind = ValueKind::Table(Map::new());
        }
        at = match &mut at.kind {
            ValueKind::Table(table) => {
                let key = existing(table, key).unwrap_or_else(|| invented(&path, key));
                path = join(&path, &key);
                table.entry(key).or_default()
            }
            ValueKind::Array(items) => {
                let index = index_of(&path, items.len(), key)?;
                path = element(&path, index);
                &mut items[index]
            }
            _ => unreachable!("made a table just above"),
        };
        paths.push(path.clone());
    }
    Ok((paths, at))
}

fn index_of(path: &str, len: usize, key: &str) -> Result<usize, String> {
    key.parse()
        .ok()
        .filter(|index| *index < len)
        .ok_or_else(|| {
            format!(
                "`{path}` has no entry `{key}` (they are counted from 0 to {})",
                len.saturating_sub(1)
            )
        })
}

/// Variables have no case, and in many shells no dots and dashes.
fn existing(table: &Map<String, Value>, key: &str) -> Option<String> {
    let plain = |key: &str| key.to_lowercase().replace(['.', '-'], "_");
    let mut alike: Vec<&String> = table
        .keys()
        .filter(|known| plain(known) == plain(key))
        .collect();
    alike.sort_by_key(|known| {
        (
            known.as_str() != key,
            known.to_lowercase() != key.to_lowercase(),
        )
    });
    alike.first().map(|known| (*known).clone())
}

fn invented(path: &str, key: &str) -> String {
    let key = key.to_lowercase();
    let is_kafka_option = path.starts_with("sinks.") && path.ends_with(".options");
    if is_kafka_option {
        // librdkafka's properties are words with dots between them.
        key.replace('_', ".")
    } else {
        key
    }
}
