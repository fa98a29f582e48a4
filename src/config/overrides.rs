//! Environment variables over the files: `CENTRAL_FORWARDER__SINKS__LAKE__TYPE`.

use std::collections::BTreeMap;

use ::config::{Map, Value, ValueKind};

use super::layers::{Layers, element, join};
use super::remark::{Place, Remark};

const PREFIX: &str = "CENTRAL_FORWARDER__";
const SEPARATOR: &str = "__";

impl Layers {
    /// Puts the variables that begin with `CENTRAL_FORWARDER__` over the files.
    pub(super) fn apply(&mut self, env: &BTreeMap<String, String>) {
        for (name, text) in env {
            let Some(keys) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let place = Place::Variable(name.clone());
            match find(&mut self.root, keys) {
                Ok((path, value)) => {
                    value.kind = ValueKind::String(text.clone());
                    self.places.insert(path, place);
                }
                Err(text) => self.mistakes.push(Remark {
                    place,
                    key: String::new(),
                    text,
                }),
            }
        }
    }
}

/// The value that a variable is about, made if need be, and its path.
fn find<'a>(root: &'a mut Value, keys: &str) -> Result<(String, &'a mut Value), String> {
    let mut path = String::new();
    let mut at = root;
    for key in keys.split(SEPARATOR) {
        if key.is_empty() {
            return Err(format!(
                "names no key (write {PREFIX}KEY or {PREFIX}KEY{SEPARATOR}KEY)"
            ));
        }
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
                let index = position(&path, items.len(), key)?;
                path = element(&path, index);
                &mut items[index]
            }
            _ => unreachable!("made a table just above"),
        };
    }
    Ok((path, at))
}

fn position(path: &str, len: usize, key: &str) -> Result<usize, String> {
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
