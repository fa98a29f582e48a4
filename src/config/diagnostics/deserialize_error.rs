//! What serde says when a value is not what its reader wants, in the words of TOML.

use std::fmt;

use serde::de::{self, Unexpected};

use crate::config::diagnostics::{Place, Remark};
use crate::config::hint;
use crate::config::source::layers::join;
use crate::config::source::tree::Node;

/// A value that its reader did not want. The text never shows a value of a wrong type: it may be a
/// secret.
#[derive(Debug)]
pub(crate) struct Misfit {
    text: String,
    /// The unknown key of the table at which the misfit is found.
    unknown: Option<String>,
    meant: Option<&'static str>,
    spot: Option<Box<Spot>>,
}

#[derive(Debug)]
struct Spot {
    remark: Remark,
    culprit: String,
    meant: Option<String>,
}

impl Misfit {
    fn new(text: String) -> Self {
        Self {
            text,
            unknown: None,
            meant: None,
            spot: None,
        }
    }

    /// Notes where it was found; the innermost place wins.
    pub(crate) fn at(mut self, node: &Node) -> Self {
        if self.spot.is_none() {
            let key = match &self.unknown {
                Some(unknown) => join(&node.path, unknown),
                None => node.path.clone(),
            };
            self.spot = Some(Box::new(Spot {
                culprit: key.clone(),
                meant: self.meant.map(|meant| join(&node.path, meant)),
                remark: Remark {
                    place: node.find(&key).unwrap_or(node).place.clone(),
                    key,
                    text: std::mem::take(&mut self.text),
                },
            }));
        }
        self
    }

    /// What has to go is the whole of this node, since its parts are not in the tree.
    pub(crate) fn because_of(self, node: &Node) -> Self {
        let mut misfit = self.at(node);
        if let Some(spot) = &mut misfit.spot {
            spot.culprit.clone_from(&node.path);
        }
        misfit
    }

    /// The path of what has to go so that the rest can be read.
    pub(crate) fn culprit(&self) -> &str {
        self.spot.as_ref().map_or("", |spot| &spot.culprit)
    }

    /// The path of the key that was probably meant by an unknown one.
    pub(crate) fn meant(&self) -> Option<&str> {
        self.spot.as_ref()?.meant.as_deref()
    }

    /// What to say; `origin` stands in for a place that is not known.
    pub(crate) fn into_remark(self, origin: &Place) -> Remark {
        self.spot.map_or_else(
            || Remark {
                place: origin.clone(),
                key: String::new(),
                text: self.text,
            },
            |spot| spot.remark,
        )
    }
}

impl de::Error for Misfit {
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
        let advice = hint::advice(key, known.iter().copied(), || {
            format!("known here: {}", known.join(", "))
        });
        Self {
            unknown: Some(key.to_owned()),
            meant: hint::nearest(key, known.iter().copied()),
            ..Self::new(format!("unknown key ({advice})"))
        }
    }

    fn unknown_variant(value: &str, known: &'static [&'static str]) -> Self {
        let advice = hint::advice(value, known.iter().copied(), || {
            format!("write one of {}", known.join(", "))
        });
        Self::new(format!("unknown value `{value}` ({advice})"))
    }
}

impl std::error::Error for Misfit {}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remark = self.spot.as_ref().map(|spot| &spot.remark.text);
        f.write_str(remark.unwrap_or(&self.text))
    }
}
