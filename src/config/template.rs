//! Texts with placeholders, such as `central.{topic}`.

use std::fmt;
use std::str::FromStr;

use crate::config::diagnostics::suggestion;

/// A parsed template. `{{` and `}}` stand for the braces themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Never empty, and never followed by another literal.
    Literal(String),
    Placeholder(Placeholder),
}

/// What a record can put into a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placeholder {
    Account,
    Topic,
    Subject,
    CustomerId,
    MspId,
    Type,
    Element,
    Id,
    /// A field of the payload, by the names on the way to it; never empty.
    Data(Vec<String>),
}

/// What is wrong with a template, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("the brace at character {at} is not closed (add `}}`, or write `{{{{` for a brace)")]
    Unclosed { at: usize },
    #[error("the brace at character {at} closes nothing (write `}}}}` for a brace)")]
    NotOpened { at: usize },
    #[error("unknown placeholder `{{{name}}}` ({advice})")]
    Unknown { name: String, advice: String },
    #[error("`{{{0}}}` does not name a field (write `{{data.FIELD}}` or `{{data.FIELD.FIELD}}`)")]
    NoField(String),
    #[error("begins with a placeholder (put text before it, such as `central.{{topic}}`)")]
    NoLiteralStart,
    #[error("is empty (write text, such as `central.{{topic}}`)")]
    Empty,
}

const PLAIN: [(&str, Placeholder); 8] = [
    ("account", Placeholder::Account),
    ("topic", Placeholder::Topic),
    ("subject", Placeholder::Subject),
    ("customer_id", Placeholder::CustomerId),
    ("msp_id", Placeholder::MspId),
    ("type", Placeholder::Type),
    ("element", Placeholder::Element),
    ("id", Placeholder::Id),
];

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Braces that do not match, or a placeholder that does not exist. An empty text is a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut template = Self::default();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(offset) = rest.find(['{', '}']) {
            literal.push_str(&rest[..offset]);
            let at = text[..text.len() - rest.len() + offset].chars().count() + 1;
            rest = &rest[offset..];
            if let Some(after) = rest.strip_prefix("{{").or(rest.strip_prefix("}}")) {
                literal.push_str(&rest[..1]);
                rest = after;
            } else if rest.starts_with('}') {
                return Err(TemplateError::NotOpened { at });
            } else {
                let (name, after) = rest[1..]
                    .split_once('}')
                    .filter(|(name, _)| !name.contains('{'))
                    .ok_or(TemplateError::Unclosed { at })?;
                template.push_literal(std::mem::take(&mut literal));
                template.segments.push(Segment::Placeholder(name.parse()?));
                rest = after;
            }
        }
        literal.push_str(rest);
        template.push_literal(literal);
        Ok(template)
    }

    /// Whether this can be a destination: no sender may choose a broker's topic alone, so a
    /// destination starts with text of the operator's.
    ///
    /// # Errors
    /// It is empty or begins with a placeholder.
    pub fn check_destination(&self) -> Result<(), TemplateError> {
        match self.segments.first() {
            Some(Segment::Literal(_)) => Ok(()),
            Some(Segment::Placeholder(_)) => Err(TemplateError::NoLiteralStart),
            None => Err(TemplateError::Empty),
        }
    }

    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    fn push_literal(&mut self, text: String) {
        if !text.is_empty() {
            self.segments.push(Segment::Literal(text));
        }
    }
}

impl FromStr for Placeholder {
    type Err = TemplateError;

    fn from_str(name: &str) -> Result<Self, TemplateError> {
        if let Some((_, placeholder)) = PLAIN.iter().find(|(known, _)| *known == name) {
            return Ok(placeholder.clone());
        }
        if name == "data" || name.starts_with("data.") {
            let path: Vec<String> = name.split('.').skip(1).map(str::to_owned).collect();
            if path.is_empty() || path.iter().any(String::is_empty) {
                return Err(TemplateError::NoField(name.to_owned()));
            }
            return Ok(Self::Data(path));
        }
        let known = || PLAIN.iter().map(|(known, _)| *known);
        Err(TemplateError::Unknown {
            name: name.to_owned(),
            advice: suggestion::advice(name, known(), || {
                let known: Vec<&str> = known().collect();
                format!("there are {} and data.FIELD", known.join(", "))
            }),
        })
    }
}

/// Gives back the text.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Segment::Placeholder(placeholder) => write!(f, "{{{placeholder}}}"),
        })
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "account",
            Self::Topic => "topic",
            Self::Subject => "subject",
            Self::CustomerId => "customer_id",
            Self::MspId => "msp_id",
            Self::Type => "type",
            Self::Element => "element",
            Self::Id => "id",
            Self::Data(path) => return write!(f, "data.{}", path.join(".")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.to_owned())
    }

    #[test]
    fn text_and_placeholders_become_segments() {
        let template = Template::parse("central.{topic}/{data.ap.name}").unwrap();
        let path = vec!["ap".to_owned(), "name".to_owned()];
        assert_eq!(
            template.segments(),
            [
                literal("central."),
                Segment::Placeholder(Placeholder::Topic),
                literal("/"),
                Segment::Placeholder(Placeholder::Data(path)),
            ]
        );
    }

    #[test]
    fn a_template_reads_back_from_its_text() {
        let texts = [
            "",
            "plain",
            "{account}{topic}{subject}{customer_id}{msp_id}{type}{element}{id}",
            "ä{{literal}} {data.x.y}é",
            "{{{topic}}}",
        ];
        for text in texts {
            assert_eq!(Template::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn doubled_braces_are_text() {
        let template = Template::parse("a{{b}}c").unwrap();
        assert_eq!(template.segments(), [literal("a{b}c")]);
    }

    #[test]
    fn each_mistake_says_what_to_do() {
        let mistakes = [
            (
                "é.{topic",
                "the brace at character 3 is not closed (add `}`, or write `{{` for a brace)",
            ),
            (
                "{to{topic}",
                "the brace at character 1 is not closed (add `}`, or write `{{` for a brace)",
            ),
            (
                "topic}",
                "the brace at character 6 closes nothing (write `}}` for a brace)",
            ),
            (
                "{tpoic}",
                "unknown placeholder `{tpoic}` (did you mean `topic`?)",
            ),
            (
                "{}",
                "unknown placeholder `{}` (there are account, topic, subject, customer_id, msp_id, \
                 type, element, id and data.FIELD)",
            ),
            (
                "{data}",
                "`{data}` does not name a field (write `{data.FIELD}` or `{data.FIELD.FIELD}`)",
            ),
            (
                "{data.a..b}",
                "`{data.a..b}` does not name a field (write `{data.FIELD}` or `{data.FIELD.FIELD}`)",
            ),
        ];
        for (text, message) in mistakes {
            assert_eq!(Template::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_destination_starts_with_text() {
        let check = |text| Template::parse(text).unwrap().check_destination();
        assert_eq!(check("central.{topic}"), Ok(()));
        assert_eq!(check("{topic}"), Err(TemplateError::NoLiteralStart));
        assert_eq!(check(""), Err(TemplateError::Empty));
    }
}
