//! Collects what is said about a config while it is checked, and finds the places.

use std::collections::BTreeSet;

use crate::config::diagnostics::{Place, Remark};
use crate::config::source::layers::join;
use crate::config::source::tree::{Kind, Node};

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) tree: Node,
    pub(crate) origin: Place,
    pub(crate) mistakes: Vec<Remark>,
    pub(crate) warnings: Vec<Remark>,
    /// Key paths of what is already reported: it is not missing too.
    pub(crate) gone: Vec<String>,
    /// All names, also of those whose tables have mistakes.
    pub(crate) accounts: BTreeSet<String>,
    pub(crate) sinks: BTreeSet<String>,
    /// Parts of the files could not be read.
    pub(crate) torn: bool,
}

impl Report {
    pub(crate) fn new(tree: Node, origin: Place, mistakes: Vec<Remark>, torn: bool) -> Self {
        let names = |table: &str| {
            let names = tree.find(table).into_iter().flat_map(Node::keys);
            names.map(str::to_owned).collect()
        };
        Self {
            accounts: names("accounts"),
            sinks: names("sinks"),
            tree,
            origin,
            mistakes,
            warnings: Vec::new(),
            gone: Vec::new(),
            torn,
        }
    }

    pub(crate) fn mistake(&mut self, path: &str, text: impl Into<String>) {
        let remark = self.remark(path, path, text.into());
        self.mistakes.push(remark);
    }

    pub(crate) fn warn(&mut self, path: &str, text: impl Into<String>) {
        let remark = self.remark(path, path, text.into());
        self.warnings.push(remark);
    }

    /// Gives the value back, or says that a table lacks it.
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

    /// A mistake about something that is not there: not said where it may be in a part that could
    /// not be read, or is already reported.
    pub(crate) fn missing(&mut self, place: &str, path: &str, text: &str) {
        if !self.torn && !self.is_gone(path) {
            let remark = self.remark(place, path, text.to_owned());
            self.mistakes.push(remark);
        }
    }

    /// The path of a list's element as it was written, also when a mistaken one before it is gone.
    pub(crate) fn element(&self, list: &str, index: usize) -> String {
        match self.tree.find(list).map(|node| &node.kind) {
            Some(Kind::List(items)) if index < items.len() => items[index].path.clone(),
            _ => list.to_owned(),
        }
    }

    /// The place of a key path, or of the beginning of it all.
    pub(crate) fn place(&self, path: &str) -> &Place {
        let node = self.tree.find(path).filter(|node| !node.path.is_empty());
        node.map_or(&self.origin, |node| &node.place)
    }

    /// Whether this, or something in it, is already reported.
    pub(crate) fn is_gone(&self, path: &str) -> bool {
        self.gone.iter().any(|gone| {
            gone.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    fn remark(&self, place: &str, path: &str, text: String) -> Remark {
        Remark {
            place: self.place(place).clone(),
            key: path.to_owned(),
            text,
        }
    }
}
