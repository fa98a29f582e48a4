//! What a route takes of a payload: which payloads, and which parts of them.

use crate::config::diagnostics::report::Report;
use crate::config::diagnostics::spans::Written;
use crate::config::raw;
use crate::config::source::layers::join;

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
    pub written: Written,
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

/// Checks what can be checked without a schema.
pub(crate) fn pick(
    path: &str,
    split: Option<bool>,
    elements: Option<raw::Names>,
    conditions: Vec<raw::Condition>,
    report: &mut Report,
) -> Option<Pick> {
    let elements = elements.map(|raw::Names(names)| {
        let path = join(path, "elements");
        if names.is_empty() {
            report.missing(
                &path,
                &path,
                "is empty, so that nothing would be left (leave it out for all)",
            );
        }
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                let at = report.element(&path, index);
                report.mistake(&at, format!("`{name}` stands here twice (leave one out)"));
            }
        }
        names
    });
    let list = join(path, "where");
    let conditions: Vec<_> = conditions
        .into_iter()
        .enumerate()
        .map(|(index, raw)| condition(&report.element(&list, index), raw, report))
        .collect();
    Some(Pick {
        split: split.unwrap_or_default(),
        elements: elements.unwrap_or_default(),
        conditions: conditions.into_iter().collect::<Option<_>>()?,
        written: Written::of(report, path),
    })
}

fn condition(at: &str, raw: raw::Condition, report: &mut Report) -> Option<Condition> {
    let advice = "write path = \"data.FIELD\"";
    let path = report.require(at, "path", raw.path, advice);
    let path = path.and_then(|path| {
        let names: Vec<String> = path.split('.').map(str::to_owned).collect();
        match names.split_first() {
            Some((first, rest))
                if first == "data" && !rest.is_empty() && names.iter().all(|n| !n.is_empty()) =>
            {
                Some(rest.to_vec())
            }
            _ => {
                let text = format!("`{path}` does not name a field ({advice})");
                report.mistake(&join(at, "path"), text);
                None
            }
        }
    });
    let tests = [
        raw.equals.map(Test::Equals),
        raw.not_equals.map(Test::NotEquals),
        raw.one_of.map(Test::OneOf),
        raw.exists.map(Test::Exists),
    ];
    let mut tests: Vec<Test> = tests.into_iter().flatten().collect();
    if tests.len() > 1 {
        let text = "is a second test of one condition (write a condition for each)";
        report.mistake(&join(at, tests[1].key()), text);
    }
    let test = if tests.is_empty() {
        let text = "there is no test (add equals, not_equals, one_of or exists)";
        if !report.is_gone(at) {
            report.mistake(at, text);
        }
        None
    } else {
        Some(tests.swap_remove(0))
    };
    if let Some(Test::OneOf(values)) = &test
        && values.is_empty()
    {
        report.mistake(
            &join(at, "one_of"),
            "is empty, so that nothing matches (name the values)",
        );
    }
    Some(Condition {
        path: path?,
        test: test?,
    })
}
