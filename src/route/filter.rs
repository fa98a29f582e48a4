//! Whether a value is what the operator asked for.

use std::borrow::Cow;

use crate::config::hint;
use crate::config::{Literal, Test};
use crate::transcode::{DecodeError, Found, Kind, Path, Tables, Value};

/// Whether the test holds for what stands at the end of the path. Of several values one is enough;
/// `not_equals` holds where `equals` does not, so also where there is no value.
pub(super) fn holds(
    test: &Test,
    path: Option<&Path>,
    tables: &Tables,
    bytes: &[u8],
) -> Result<bool, DecodeError> {
    let any = |matches: &dyn Fn(&Found<'_>) -> bool| {
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

/// Why a test can never hold for values of a kind, and what to do.
pub(super) fn misfit(test: &Test, kind: &Kind<'_>) -> Option<String> {
    let wanted = match test {
        Test::Exists(_) => return None,
        Test::Equals(wanted) | Test::NotEquals(wanted) => std::slice::from_ref(wanted),
        Test::OneOf(wanted) => wanted,
    };
    wanted.iter().find_map(|wanted| mismatch(wanted, kind))
}

fn mismatch(wanted: &Literal, kind: &Kind<'_>) -> Option<String> {
    let (is, advice): (&str, Cow<'_, str>) = match (kind, wanted) {
        (Kind::Any, _)
        | (Kind::Text, Literal::Text(_))
        | (Kind::Integer | Kind::Float, Literal::Integer(_) | Literal::Float(_))
        | (Kind::Bool, Literal::Bool(_))
        | (Kind::Enum(_), Literal::Integer(_)) => return None,
        (Kind::Enum(names), Literal::Text(name)) => {
            if names.contains(&name.as_str()) {
                return None;
            }
            let advice = hint::advice(name, names.iter().copied(), || {
                format!("it is one of {}", names.join(", "))
            });
            return Some(format!("`{name}` is no value of this enum ({advice})"));
        }
        (Kind::Message, _) => ("a message", "use `exists`, or name a field of it".into()),
        (Kind::Text, _) => ("a text", "write a string".into()),
        (Kind::Integer, _) => ("an integer", "write a number".into()),
        (Kind::Float, _) => ("a float", "write a number".into()),
        (Kind::Bool, _) => ("a boolean", "write true or false".into()),
        (Kind::Enum(names), _) => (
            "an enum",
            format!("write one of {}", names.join(", ")).into(),
        ),
    };
    Some(format!("can never match: the field is {is} ({advice})"))
}
