//! What is said about a config, and the position that it is about.
//!
//! - `report`: collects what is said while a config is checked
//! - `spans`: where a table stands, for checks that come later
//! - `deserialize_error`: what serde says, in the words of TOML
//! - `suggestion`: the known word that is nearest to an unknown one

pub(crate) mod deserialize_error;
pub(crate) mod report;
pub(crate) mod spans;
pub(crate) mod suggestion;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where something of the config was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Position {
    /// A file or folder as a whole.
    File(Arc<Path>),
    /// Line and column are counted from 1; the column in characters.
    InFile {
        file: Arc<Path>,
        line: usize,
        column: usize,
    },
    /// An environment variable that overrides the files.
    Variable(String),
    /// An option of the command line.
    Argument(String),
}

/// One mistake or warning: `FILE:LINE:COL: KEY.PATH: what is wrong (what to do)`.
///
/// They sort by file and line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    pub position: Position,
    /// The key's path, such as `accounts.acme.topics[1]`; empty if it is about a whole file.
    pub key: String,
    /// What is wrong, and in brackets what to do.
    pub text: String,
}

/// Everything that is wrong with a config: a line each, sorted by file and line.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Diagnostic>);

impl ConfigErrors {
    pub(crate) fn new(mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort();
        Self(diagnostics)
    }

    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.position)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::InFile { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::Variable(name) | Self::Argument(name) => f.write_str(name),
        }
    }
}
