//! Whether the value of a field is what a condition asks for.

use std::borrow::Cow;

use crate::config::suggestion;
use crate::config::{Literal, Test};
use crate::transcode::{DecodeError, FieldPath, FieldValue, PathKind, Tables, Value};

/// Whether the test holds for the values of the field at `path`. One of several is enough. `not_equals`
/// holds where `equals` does not, and so also where there is no value.
pub(super) fn holds(
    test: &Test,
    path: Option<&FieldPath>,
    tables: &Tables,
    bytes: &[u8],
) -> Result<bool, DecodeError> {
    let any = |matches: &dyn Fn(&FieldValue<'_>) -> bool| {
        let mut any = false;
        if let Some(path) = path {
            path.visit(tables, bytes, |found| {
                any = matches(&found);
                !any
            })?;
        }
        Ok(any)
    };
    match test {
        Test::Equals(wanted) => any(&|found| equals(&found.value, wanted)),
        Test::NotEquals(unwanted) => any(&|found| equals(&found.value, unwanted)).map(|any| !any),
        Test::OneOf(wanted) => {
            any(&|found| wanted.iter().any(|wanted| equals(&found.value, wanted)))
        }
        Test::Exists(wanted) => any(&|found| found.is_shown).map(|any| any == *wanted),
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "whoever writes a float compares as floats"
)]
fn equals(value: &Value<'_>, wanted: &Literal) -> bool {
    match (value, wanted) {
        (Value::Text(text), Literal::Text(wanted)) => text == wanted,
        (Value::Enum { name, .. }, Literal::Text(wanted)) => *name == Some(wanted),
        (Value::Enum { number, .. }, Literal::Integer(wanted)) => i64::from(*number) == *wanted,
        (Value::Integer(value), Literal::Integer(wanted)) => *value == i128::from(*wanted),
        (Value::Integer(value), Literal::Float(wanted)) => *value as f64 == *wanted,
        (Value::Float(value), Literal::Integer(wanted)) => *value == *wanted as f64,
        (Value::Float(value), Literal::Float(wanted)) => value == wanted,
        (Value::Bool(value), Literal::Bool(wanted)) => value == wanted,
        _ => false,
    }
}

/// Why a test can never hold for values of a kind, and what to write instead.
pub(super) fn why_it_never_holds(test: &Test, kind: &PathKind<'_>) -> Option<String> {
    let wanted = match test {
        Test::Exists(_) => return None,
        Test::Equals(wanted) | Test::NotEquals(wanted) => std::slice::from_ref(wanted),
        Test::OneOf(wanted) => wanted,
    };
    wanted.iter().find_map(|wanted| type_mismatch(wanted, kind))
}

fn type_mismatch(wanted: &Literal, kind: &PathKind<'_>) -> Option<String> {
    let (is, advice): (&str, Cow<'_, str>) = match (kind, wanted) {
        (PathKind::Any, _)
        | (PathKind::Text, Literal::Text(_))
        | (PathKind::Integer | PathKind::Float, Literal::Integer(_) | Literal::Float(_))
        | (PathKind::Bool, Literal::Bool(_))
        | (PathKind::Enum(_), Literal::Integer(_)) => return None,
        (PathKind::Enum(names), Literal::Text(name)) => {
            if names.contains(&name.as_str()) {
                return None;
            }
            let advice = suggestion::advice(name, names.iter().copied(), || {
                format!("it is one of {}", names.join(", "))
            });
            return Some(format!("`{name}` is no value of this enum ({advice})"));
        }
        (PathKind::Message, _) => ("a message", "use `exists`, or name a field of it".into()),
        (PathKind::Text, _) => ("a text", "write a string".into()),
        (PathKind::Integer, _) => ("an integer", "write a number".into()),
        (PathKind::Float, _) => ("a float", "write a number".into()),
        (PathKind::Bool, _) => ("a boolean", "write true or false".into()),
        (PathKind::Enum(names), _) => (
            "an enum",
            format!("write one of {}", names.join(", ")).into(),
        ),
    };
    Some(format!("can never match: the field is {is} ({advice})"))
}
