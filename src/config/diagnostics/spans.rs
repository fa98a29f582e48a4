//! Where a table of the config stands, for what can be checked only where the config meets
//! something else.

use std::collections::HashMap;
use std::path::Path;

use super::report::Report;
use super::{Diagnostic, Position};

use crate::config::source::key_path::join;
use crate::config::source::tree::Node;

/// The key paths and positions of a table and of all that is in it. Says nothing about the table's
/// values, so that any two are equal.
#[derive(Clone, Debug, Default)]
pub struct SourceSpans {
    table: String,
    positions: HashMap<String, Position>,
    /// What stands under another key than that of the table.
    elsewhere: HashMap<String, (String, Position)>,
}

impl PartialEq for SourceSpans {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SourceSpans {}

impl SourceSpans {
    /// Stands on the command line.
    #[must_use]
    pub fn argument(name: &str) -> Self {
        Self {
            table: String::new(),
            positions: HashMap::from([(String::new(), Position::Argument(name.to_owned()))]),
            elsewhere: HashMap::new(),
        }
    }

    pub(crate) fn of(report: &Report, table: &str) -> Self {
        let mut positions = HashMap::from([(table.to_owned(), report.position(table).clone())]);
        if let Some(node) = report.tree.find(table) {
            note(node, &mut positions);
        }
        Self {
            table: table.to_owned(),
            positions,
            elsewhere: HashMap::new(),
        }
    }

    /// A diagnostic about an entry of the table, such as `destination`.
    #[must_use]
    pub fn about(&self, entry: &str, text: String) -> Diagnostic {
        self.diagnostic(join(&self.table, entry), text)
    }

    /// A diagnostic about an element of a list in the table, or about an entry of that element.
    #[must_use]
    pub fn about_element(&self, list: &str, index: usize, entry: &str, text: String) -> Diagnostic {
        let element = format!("{}[{index}]", join(&self.table, list));
        self.diagnostic(
            if entry.is_empty() {
                element
            } else {
                join(&element, entry)
            },
            text,
        )
    }

    /// A diagnostic about an entry of a table in the table.
    #[must_use]
    pub fn about_in(&self, table: &str, entry: &str, text: String) -> Diagnostic {
        self.diagnostic(join(&join(&self.table, table), entry), text)
    }

    /// An entry of a table in the table is written under the key `at`.
    pub(crate) fn elsewhere(&mut self, table: &str, entry: &str, at: &str, position: Position) {
        let key = join(&join(&self.table, table), entry);
        self.elsewhere.insert(key, (at.to_owned(), position));
    }

    fn diagnostic(&self, key: String, text: String) -> Diagnostic {
        if let Some((at, position)) = self.elsewhere.get(&key) {
            return Diagnostic {
                position: position.clone(),
                key: at.clone(),
                text,
            };
        }
        let written = [&key, key.split('[').next().unwrap_or_default(), &self.table];
        let position = written.iter().find_map(|key| self.positions.get(*key));
        Diagnostic {
            position: position.map_or_else(
                || Position::File(Path::new("config").into()),
                Position::clone,
            ),
            key,
            text,
        }
    }
}

fn note(node: &Node, positions: &mut HashMap<String, Position>) {
    for child in node.children() {
        positions.insert(child.path.clone(), child.position.clone());
        note(child, positions);
    }
}
