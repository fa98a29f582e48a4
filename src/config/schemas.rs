//! The operator's own schemas.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use super::layers::{element, join};
use super::raw::{self, Names};
use super::remark::Place;
use super::report::Report;
use super::written::Written;

/// Descriptors that are put over those that are built in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schemas {
    /// Files, folders and patterns, relative to the folder of the config file that names them.
    pub paths: Vec<PathBuf>,
    /// A topic, or SERVICE/VERSION/EVENT, to the full name of its payload's message.
    pub messages: BTreeMap<String, String>,
    pub written: Written,
}

impl Schemas {
    /// Paths that were given on the command line.
    #[must_use]
    pub fn of_argument(argument: &str, paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            messages: BTreeMap::new(),
            written: Written::argument(argument),
        }
    }

    /// A topic of an account names its message, at a key path of the config; what the table says
    /// wins.
    pub(super) fn name(&mut self, stream: String, message: String, at: &str, report: &Report) {
        if let Entry::Vacant(entry) = self.messages.entry(stream) {
            let place = report.place(at).clone();
            self.written.elsewhere("messages", entry.key(), at, place);
            entry.insert(message);
        }
    }
}

pub(super) fn schemas(raw: raw::Schemas, report: &mut Report) -> Schemas {
    let Names(paths) = raw.paths.unwrap_or_default();
    let list = join("schemas", "paths");
    let paths = paths.iter().enumerate().map(|(index, path)| {
        let at = element(&list, index);
        if path.is_empty() {
            report.mistake(&at, "is empty (name a file, a folder or a pattern)");
        }
        folder_of(report.place(&at)).join(path)
    });
    Schemas {
        paths: paths.collect(),
        messages: raw.messages,
        written: Written::of(report, "schemas"),
    }
}

/// What stands in an environment variable is relative to where the program was started.
fn folder_of(place: &Place) -> &Path {
    match place {
        Place::Spot { file, .. } => file.parent().unwrap_or(Path::new("")),
        Place::Path(_) | Place::Variable(_) | Place::Argument(_) => Path::new(""),
    }
}
