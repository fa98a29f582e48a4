//! Sinks of type `stdout`: JSON lines on standard output. They have no keys of their own.

use super::destination::{DestinationCharset, RouteRules};
use super::{Kind, RawKind, Sink};
use crate::config::validate::validator::Validator;

/// JSON lines on standard output.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct RawStdout {}

/// JSON lines on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stdout;

impl RawKind for RawStdout {
    const TYPE: &'static str = "stdout";

    fn route_rules(&self) -> RouteRules {
        RouteRules::ONE_DESTINATION
    }

    fn validate(self, _: &str, _: &str, _: &mut Validator<'_>) -> Option<Sink> {
        Some(Sink::Stdout(Stdout))
    }
}

impl Kind for Stdout {
    fn charset(&self) -> DestinationCharset {
        DestinationCharset::ANY
    }
}
