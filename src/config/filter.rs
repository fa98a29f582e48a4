//! What a route takes of a payload: which payloads, and which parts of them.

use super::diagnostics::spans::SourceSpans;

/// What a route takes of the payloads of its topics. That fields are there, and can be what they
/// are compared with, is checked against the schema: see `route::Routes::compile`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pick {
    /// A record for each element of the payload's repeated messages.
    pub split: bool,
    /// The repeated messages that are wanted; empty: all.
    pub elements: Vec<String>,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// Where the route stands.
    pub spans: SourceSpans,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The names of the fields that lead to the value; never empty.
    pub path: Vec<String>,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Equals(Literal),
    NotEquals(Literal),
    OneOf(Vec<Literal>),
    Exists(bool),
}

/// A value as TOML has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
}

impl Pick {
    /// Whether the repeated message of this name is wanted.
    #[must_use]
    pub fn wants(&self, element: &str) -> bool {
        self.elements.is_empty() || self.elements.iter().any(|name| name == element)
    }
}

impl Test {
    /// Its key in the config.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Equals(_) => "equals",
            Self::NotEquals(_) => "not_equals",
            Self::OneOf(_) => "one_of",
            Self::Exists(_) => "exists",
        }
    }
}
