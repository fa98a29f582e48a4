//! Where a table of the config stands, for what can be checked only where the config meets
//! something else.

use std::collections::HashMap;
use std::path::Path;

use crate::config::diagnostics::report::Report;
use crate::config::diagnostics::{Place, Remark};
use crate::config::source::layers::join;
use crate::config::source::tree::Node;

/// The key paths and places of a table and of all that is in it. Says nothing about the table's
/// values, so that any two are equal.
#[derive(Clone, Debug, Default)]
pub struct Written {
    table: String,
    places: HashMap<String, Place>,
    /// What stands under another key than that of the table.
    elsewhere: HashMap<String, (String, Place)>,
}

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

impl Written {
    /// Stands on the command line.
    #[must_use]
    pub fn argument(name: &str) -> Self {
        Self {
            table: String::new(),
            places: HashMap::from([(String::new(), Place::Argument(name.to_owned()))]),
            elsewhere: HashMap::new(),
        }
    }

    pub(crate) fn of(report: &Report, table: &str) -> Self {
        let mut places = HashMap::from([(table.to_owned(), report.place(table).clone())]);
        if let Some(node) = report.tree.find(table) {
            note(node, &mut places);
        }
        Self {
            table: table.to_owned(),
            places,
            elsewhere: HashMap::new(),
        }
    }

    /// A remark about an entry of the table, such as `destination`.
    #[must_use]
    pub fn about(&self, entry: &str, text: String) -> Remark {
        self.remark(join(&self.table, entry), text)
    }

    /// A remark about an element of a list in the table, or about an entry of that element.
    #[must_use]
    pub fn about_element(&self, list: &str, index: usize, entry: &str, text: String) -> Remark {
        let element = format!("{}[{index}]", join(&self.table, list));
        self.remark(
            if entry.is_empty() {
                element
            } else {
                join(&element, entry)
            },
            text,
        )
    }

    /// A remark about an entry of a table in the table.
    #[must_use]
    pub fn about_in(&self, table: &str, entry: &str, text: String) -> Remark {
        self.remark(join(&join(&self.table, table), entry), text)
    }

    /// An entry of a table in the table is written under the key `at`.
    pub(crate) fn elsewhere(&mut self, table: &str, entry: &str, at: &str, place: Place) {
        let key = join(&join(&self.table, table), entry);
        self.elsewhere.insert(key, (at.to_owned(), place));
    }

    fn remark(&self, key: String, text: String) -> Remark {
        if let Some((at, place)) = self.elsewhere.get(&key) {
            return Remark {
                place: place.clone(),
                key: at.clone(),
                text,
            };
        }
        let written = [&key, key.split('[').next().unwrap_or_default(), &self.table];
        let place = written.iter().find_map(|key| self.places.get(*key));
        Remark {
            place: place.map_or_else(|| Place::Path(Path::new("config").into()), Place::clone),
            key,
            text,
        }
    }
}

fn note(node: &Node, places: &mut HashMap<String, Place>) {
    for child in node.children() {
        places.insert(child.path.clone(), child.place.clone());
        note(child, places);
    }
}
