//! Collects errors and warnings while a config is checked, each with its position.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::deserialize_error::DeserializeError;
use super::suggestion;
use super::{Diagnostic, Position};

use crate::config::source::key_path::join;
use crate::config::source::tree::{Kind, Node};

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) tree: Node,
    pub(crate) origin: Position,
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Key paths of what is already reported: it is not missing too.
    pub(crate) reported: Vec<String>,
    /// All names, also of those whose tables have mistakes.
    pub(crate) accounts: BTreeSet<String>,
    pub(crate) sinks: BTreeSet<String>,
    /// Parts of the files could not be read.
    pub(crate) incomplete: bool,
}

impl Report {
    pub(crate) fn new(
        tree: Node,
        origin: Position,
        errors: Vec<Diagnostic>,
        incomplete: bool,
    ) -> Self {
        let names = |table: &str| {
            let names = tree.find(table).into_iter().flat_map(Node::keys);
            names.map(str::to_owned).collect()
        };
        Self {
            accounts: names("accounts"),
            sinks: names("sinks"),
            tree,
            origin,
            errors,
            warnings: Vec::new(),
            reported: Vec::new(),
            incomplete,
        }
    }

    pub(crate) fn error(&mut self, path: &str, text: impl Into<String>) {
        let diagnostic = self.diagnostic(path, path, text.into());
        self.errors.push(diagnostic);
    }

    pub(crate) fn warn(&mut self, path: &str, text: impl Into<String>) {
        let diagnostic = self.diagnostic(path, path, text.into());
        self.warnings.push(diagnostic);
    }

    /// Gives the value back, or reports that the table lacks it.
    pub(crate) fn require<T>(
        &mut self,
        table: &str,
        key: &str,
        value: Option<T>,
        advice: &str,
    ) -> Option<T> {
        if value.is_none() {
            self.missing(table, &join(table, key), &format!("is missing ({advice})"));
        }
        value
    }

    /// Reports what is not there, unless it may be in a part that could not be read, or is reported
    /// already. `at` is the key path whose position is shown.
    pub(crate) fn missing(&mut self, at: &str, path: &str, text: &str) {
        if !self.incomplete && !self.is_reported(path) {
            let diagnostic = self.diagnostic(at, path, text.to_owned());
            self.errors.push(diagnostic);
        }
    }

    /// The path of a list's element as it was written, also when a wrong one before it was taken out.
    pub(crate) fn element(&self, list: &str, index: usize) -> String {
        match self.tree.find(list).map(|node| &node.kind) {
            Some(Kind::List(items)) if index < items.len() => items[index].path.clone(),
            _ => list.to_owned(),
        }
    }

    /// The position of a key path, or of the beginning of it all.
    pub(crate) fn position(&self, path: &str) -> &Position {
        let node = self.tree.find(path).filter(|node| !node.path.is_empty());
        node.map_or(&self.origin, |node| &node.position)
    }

    /// Whether this, or something in it, is already reported.
    pub(crate) fn is_reported(&self, path: &str) -> bool {
        self.reported.iter().any(|reported| {
            reported
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// The keys of the table at a key path, as they are written.
    pub(crate) fn keys(&self, path: &str) -> Vec<String> {
        let keys = self.tree.find(path).into_iter().flat_map(Node::keys);
        keys.map(str::to_owned).collect()
    }

    /// Reads the whole config, and reports what does not fit.
    pub(crate) fn read<T: DeserializeOwned + Default>(&mut self) -> T {
        let (value, errors) = self.tree.read();
        self.add(errors);
        value
    }

    /// Reads those keys of the table at a key path that are `wanted`, and reports what does not fit.
    pub(crate) fn read_keys<T: DeserializeOwned + Default>(
        &mut self,
        path: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> T {
        let Some(mut table) = self.tree.find(path).map(|table| table.with_keys(wanted)) else {
            return T::default();
        };
        let (value, errors) = table.read();
        for error in &errors {
            self.tree.remove(error.culprit());
        }
        self.add(errors);
        value
    }

    fn add(&mut self, errors: Vec<DeserializeError>) {
        for error in errors {
            // A table that does not fit because of an entry that was taken out of it is not reported too.
            let is_new = !self.is_reported(error.culprit());
            self.reported.push(error.culprit().to_owned());
            self.reported.extend(error.meant().map(str::to_owned));
            if is_new {
                self.errors.push(error.into_diagnostic(&self.origin));
            }
        }
    }

    /// A key that a table cannot have; the one that was probably meant is not missing too.
    pub(crate) fn unknown_key(&mut self, table: &str, key: &str, known: &[&str]) {
        let (text, meant) = suggestion::unknown_key(key, known);
        let path = join(table, key);
        self.error(&path, text);
        self.reported.push(path);
        self.reported.extend(meant.map(|meant| join(table, meant)));
    }

    fn diagnostic(&self, at: &str, path: &str, text: String) -> Diagnostic {
        Diagnostic {
            position: self.position(at).clone(),
            key: path.to_owned(),
            text,
        }
    }
}
