//! The operator's own schemas.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::diagnostics::report::Report;
use crate::config::diagnostics::spans::SourceSpans;
use crate::config::diagnostics::{Diagnostic, Position};
use crate::config::raw::{self, Names};
use crate::config::source::key_path::{element, join};

/// What a folder stands for.
const ENDINGS: [&str; 2] = ["proto", "binpb"];

/// Descriptors that are put over those that are built in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schemas {
    /// Files, folders and patterns, relative to the folder of the config file that names them.
    pub paths: Vec<PathBuf>,
    /// A topic, or SERVICE/VERSION/EVENT, to the full name of its payload's message.
    pub messages: BTreeMap<String, String>,
    pub spans: SourceSpans,
}

/// What the paths stand for when they are looked at.
#[derive(Debug, Default)]
pub struct SchemaFiles {
    pub files: BTreeSet<PathBuf>,
    /// Paths that cannot be followed.
    pub errors: Vec<Diagnostic>,
    /// Folders and patterns without any file.
    pub warnings: Vec<Diagnostic>,
}

impl Schemas {
    /// Looks for the files.
    #[must_use]
    pub fn find(&self) -> SchemaFiles {
        let mut found = SchemaFiles::default();
        for (index, path) in self.paths.iter().enumerate() {
            let about = |text| self.spans.about_element("paths", index, "", text);
            match expand(path) {
                Ok(files) if files.is_empty() => found.warnings.push(about(format!(
                    "there is no schema at {} (drop .proto or .binpb files there and reload, or correct \
                     the path)",
                    path.display()
                ))),
                Ok(files) => found.files.extend(files),
                Err(why) => found.errors.push(about(why)),
            }
        }
        found
    }

    /// Paths that were given on the command line.
    #[must_use]
    pub fn of_argument(argument: &str, paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            messages: BTreeMap::new(),
            spans: SourceSpans::argument(argument),
        }
    }

    /// A topic of an account names its message, at a key path of the config; what the table says
    /// wins.
    pub(crate) fn name(&mut self, stream: String, message: String, at: &str, report: &Report) {
        if let Entry::Vacant(entry) = self.messages.entry(stream) {
            let position = report.position(at).clone();
            self.spans.elsewhere("messages", entry.key(), at, position);
            entry.insert(message);
        }
    }
}

pub(crate) fn schemas(raw: raw::Schemas, report: &mut Report) -> Schemas {
    let Names(paths) = raw.paths.unwrap_or_default();
    let list = join("schemas", "paths");
    let paths = paths.iter().enumerate().map(|(index, path)| {
        let at = element(&list, index);
        if path.is_empty() {
            report.error(&at, "is empty (name a file, a folder or a pattern)");
        }
        folder_of(report.position(&at)).join(path)
    });
    Schemas {
        paths: paths.collect(),
        messages: raw.messages,
        spans: SourceSpans::of(report, "schemas"),
    }
}

/// What stands in an environment variable is relative to where the program was started.
fn folder_of(position: &Position) -> &Path {
    match position {
        Position::InFile { file, .. } => file.parent().unwrap_or(Path::new("")),
        Position::File(_) | Position::Variable(_) | Position::Argument(_) => Path::new(""),
    }
}

/// The files that a path stands for.
fn expand(path: &Path) -> Result<Vec<PathBuf>, String> {
    let shown = path.to_string_lossy();
    if path.is_dir() {
        let files = files_of(path)
            .map_err(|error| format!("cannot read {shown}: {error} (correct the permissions)"))?;
        return Ok(files.into_iter().filter(|file| is_schema(file)).collect());
    }
    if path.exists() {
        return Ok(vec![path.to_owned()]);
    }
    if !shown.contains(['*', '?', '[']) {
        return Err(format!("there is no file {shown} (correct the path)"));
    }
    let found = glob::glob(&shown)
        .map_err(|error| format!("is not a pattern: {error} (write \"*.proto\")"))?;
    let files: Vec<PathBuf> = found
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot be followed: {error} (correct the permissions)"))?;
    Ok(files.into_iter().filter(|file| file.is_file()).collect())
}

fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn is_schema(file: &Path) -> bool {
    file.extension()
        .is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
}
