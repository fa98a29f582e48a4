//! What serde says when a value is not what its reader wants, in the words of TOML.

use std::fmt;

use serde::de::{self, Unexpected};

use super::suggestion;
use super::{Diagnostic, Position};

use crate::config::source::key_path::join;

/// A value that its reader did not want. The text never shows a value of a wrong type: it may be a
/// secret.
#[derive(Debug)]
pub(crate) struct DeserializeError {
    text: String,
    /// The unknown key of the table at which the error is found.
    unknown: Option<String>,
    meant: Option<&'static str>,
    located: Option<Box<Located>>,
}

#[derive(Debug)]
struct Located {
    diagnostic: Diagnostic,
    culprit: String,
    meant: Option<String>,
}

impl DeserializeError {
    fn new(text: String) -> Self {
        Self {
            text,
            unknown: None,
            meant: None,
            located: None,
        }
    }

    /// Notes the table or value at which it was found; the innermost wins. `position_of` knows where an
    /// entry of that table stands.
    pub(crate) fn at(
        mut self,
        path: &str,
        position: &Position,
        position_of: impl Fn(&str) -> Option<Position>,
    ) -> Self {
        if self.located.is_none() {
            let unknown = self.unknown.as_deref();
            let key = unknown.map_or_else(|| path.to_owned(), |unknown| join(path, unknown));
            self.located = Some(Box::new(Located {
                culprit: key.clone(),
                meant: self.meant.map(|meant| join(path, meant)),
                diagnostic: Diagnostic {
                    position: unknown
                        .and_then(position_of)
                        .unwrap_or_else(|| position.clone()),
                    key,
                    text: std::mem::take(&mut self.text),
                },
            }));
        }
        self
    }

    /// What has to go is all at this key path, since its parts are not in the tree.
    pub(crate) fn because_of(mut self, path: &str) -> Self {
        if let Some(located) = &mut self.located {
            path.clone_into(&mut located.culprit);
        }
        self
    }

    /// The path of what has to go so that the rest can be read.
    pub(crate) fn culprit(&self) -> &str {
        self.located.as_ref().map_or("", |located| &located.culprit)
    }

    /// The path of the key that was probably meant by an unknown one.
    pub(crate) fn meant(&self) -> Option<&str> {
        self.located.as_ref()?.meant.as_deref()
    }

    /// What to say; `origin` stands in for a position that is not known.
    pub(crate) fn into_diagnostic(self, origin: &Position) -> Diagnostic {
        self.located.map_or_else(
            || Diagnostic {
                position: origin.clone(),
                key: String::new(),
                text: self.text,
            },
            |located| located.diagnostic,
        )
    }
}

impl de::Error for DeserializeError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(text.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn de::Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
            Unexpected::Float(_) => "a float",
            Unexpected::Seq => "an array",
            Unexpected::Map => "a table",
            _ => "a string",
        };
        let wanted = match wanted.to_string().as_str() {
            "a boolean" => "true or false".to_owned(),
            "a sequence" => "an array".to_owned(),
            "a map" => "a table".to_owned(),
            "path string" => "a path, as a string".to_owned(),
            wanted => wanted.to_owned(),
        };
        Self::new(format!("is {found} (write {wanted})"))
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        let (text, meant) = suggestion::unknown_key(key, known);
        Self {
            unknown: Some(key.to_owned()),
            meant,
            ..Self::new(text)
        }
    }

    fn unknown_variant(value: &str, known: &'static [&'static str]) -> Self {
        let advice = suggestion::advice(value, known.iter().copied(), || {
            format!("write one of {}", known.join(", "))
        });
        Self::new(format!("unknown value `{value}` ({advice})"))
    }
}

impl std::error::Error for DeserializeError {}

impl fmt::Display for DeserializeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let diagnostic = self
            .located
            .as_ref()
            .map(|located| &located.diagnostic.text);
        f.write_str(diagnostic.unwrap_or(&self.text))
    }
}
