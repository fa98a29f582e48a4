//! The files in their order, one over the other, and where each value stands.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::config::{ConfigError, Map, Source, Value, ValueKind};
use toml::de::{DeArray, DeTable, DeValue};

use super::key_path::{element, is_bare, join};
use crate::config::diagnostics::{Diagnostic, Position};

/// What all files say together.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) root: Value,
    /// By key path; what a later layer overrode has the later position.
    pub(crate) positions: HashMap<String, Position>,
    /// The position of what stands nowhere: the beginning of the first file.
    pub(crate) origin: Position,
    pub(crate) errors: Vec<Diagnostic>,
    /// Some text could not be read, so what seems to be missing may well be written there.
    pub(crate) incomplete: bool,
}

/// Reads all files, also when some of them are broken. A folder stands for its `*.toml` in the
/// order of their names.
pub(crate) fn read(paths: &[PathBuf]) -> Layers {
    let mut reader = Reader::default();
    let mut builder = ::config::Config::builder();
    for path in paths {
        match files(path) {
            Ok(files) if files.is_empty() => reader.refuse(path, "the folder has no *.toml"),
            Ok(files) => {
                for file in files {
                    builder = builder.add_source(reader.layer(&file));
                }
            }
            Err(error) => reader.refuse(path, &format!("cannot be read: {error}")),
        }
    }
    if !reader.routes.is_empty() {
        let routes = Layer(Map::from([(ROUTES.to_owned(), reader.routes.into())]));
        builder = builder.add_source(routes);
    }
    let merged = builder.build().expect("tables in memory always merge");
    let nowhere = || {
        Position::File(
            paths
                .first()
                .map_or(Path::new("config"), PathBuf::as_path)
                .into(),
        )
    };
    Layers {
        root: merged.cache,
        origin: reader.origin.unwrap_or_else(nowhere),
        positions: reader.positions,
        errors: reader.errors,
        incomplete: reader.incomplete,
    }
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// The list whose entries have no names: those of all files stand, one after the other, since a
/// file that silently replaced the routes of another would lose data.
const ROUTES: &str = "routes";

/// One file's values, as the `config` crate merges them.
#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

#[derive(Default)]
struct Reader {
    routes: Vec<Value>,
    positions: HashMap<String, Position>,
    origin: Option<Position>,
    errors: Vec<Diagnostic>,
    incomplete: bool,
}

impl Reader {
    fn refuse(&mut self, path: &Path, why: &str) {
        self.incomplete = true;
        self.errors.push(Diagnostic {
            position: Position::File(path.into()),
            key: String::new(),
            text: format!("{why} (give a TOML file or a folder of them)"),
        });
    }

    fn layer(&mut self, file: &Path) -> Layer {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                self.refuse(file, &format!("cannot be read: {error}"));
                return Layer(Map::new());
            }
        };
        let (table, errors) = DeTable::parse_recoverable(&text);
        let lines = Lines::new(file, &text);
        self.origin.get_or_insert(lines.position(0));
        let mut walk = Walk {
            lines,
            reader: self,
        };
        walk.syntax(&errors);
        let mut values = walk.root(table.into_inner());
        match values.remove(ROUTES) {
            Some(Value {
                kind: ValueKind::Array(mut routes),
                ..
            }) => self.routes.append(&mut routes),
            Some(other) => drop(values.insert(ROUTES.to_owned(), other)),
            None => {}
        }
        Layer(values)
    }
}

/// One file on its way into the `config` crate's values, while the positions are noted.
struct Walk<'a> {
    lines: Lines<'a>,
    reader: &'a mut Reader,
}

impl Walk<'_> {
    fn syntax(&mut self, errors: &[toml::de::Error]) {
        let mut last_line = None;
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            let (line, _) = self.lines.line_and_column(offset);
            // What follows on the same line is the parser finding its feet again.
            if last_line.replace(line) != Some(line) {
                self.error(offset, "", format!("not TOML: {}", error.message()));
            }
            self.reader.incomplete = true;
        }
    }

    /// The `config` crate takes a key of the top level for a path, so odd ones stop here.
    fn root(&mut self, table: DeTable<'_>) -> Map<String, Value> {
        let mut known = DeTable::new();
        for (key, value) in table {
            if is_bare(key.get_ref()) {
                known.insert(key, value);
            } else {
                let path = join("", key.get_ref());
                self.error(key.span().start, &path, "unknown key (leave it out)".into());
            }
        }
        self.table("", known)
    }

    fn table(&mut self, path: &str, table: DeTable<'_>) -> Map<String, Value> {
        let mut values = Map::new();
        for (key, value) in table {
            let path = join(path, key.get_ref());
            let position = self.lines.position(key.span().start);
            if value.get_ref().is_table() {
                self.reader
                    .positions
                    .entry(path.clone())
                    .or_insert(position);
            } else {
                self.reader.positions.insert(path.clone(), position);
            }
            if let Some(value) = self.value(&path, key.span().start, value.into_inner()) {
                values.insert(key.into_inner().into_owned(), value);
            }
        }
        values
    }

    fn value(&mut self, path: &str, offset: usize, value: DeValue<'_>) -> Option<Value> {
        let kind = match value {
            DeValue::String(text) => ValueKind::String(text.into_owned()),
            DeValue::Boolean(value) => ValueKind::Boolean(value),
            DeValue::Integer(value) => {
                let Ok(value) = i64::from_str_radix(value.as_str(), value.radix()) else {
                    self.error(offset, path, "the number is too large (64 bits)".into());
                    self.reader.incomplete = true;
                    return None;
                };
                ValueKind::I64(value)
            }
            DeValue::Float(value) => ValueKind::Float(value.as_str().parse().ok()?),
            DeValue::Datetime(value) => ValueKind::String(value.to_string()),
            DeValue::Array(array) => ValueKind::Array(self.array(path, array)),
            DeValue::Table(table) => ValueKind::Table(self.table(path, table)),
        };
        Some(Value::new(None, kind))
    }

    fn array(&mut self, path: &str, array: DeArray<'_>) -> Vec<Value> {
        let first = if path == ROUTES {
            self.reader.routes.len()
        } else {
            0
        };
        let mut values = Vec::new();
        for value in array {
            let path = element(path, first + values.len());
            let offset = value.span().start;
            self.reader
                .positions
                .insert(path.clone(), self.lines.position(offset));
            values.extend(self.value(&path, offset, value.into_inner()));
        }
        values
    }

    fn error(&mut self, offset: usize, key: &str, text: String) {
        self.reader.errors.push(Diagnostic {
            position: self.lines.position(offset),
            key: key.to_owned(),
            text,
        });
    }
}

/// From byte offsets to lines and columns.
struct Lines<'a> {
    file: Arc<Path>,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(file: &Path, text: &'a str) -> Self {
        let after_line_ends = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self {
            file: file.into(),
            text,
            starts: std::iter::once(0).chain(after_line_ends).collect(),
        }
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let before = self.text.get(self.starts[line - 1]..offset);
        (line, before.map_or(0, |text| text.chars().count()) + 1)
    }

    fn position(&self, offset: usize) -> Position {
        let (line, column) = self.line_and_column(offset);
        Position::InFile {
            file: self.file.clone(),
            line,
            column,
        }
    }
}
