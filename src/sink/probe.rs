//! Whether a sink could deliver now, for `check --connect`.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;

use super::{Sink, Visitor, visit};
use crate::config;

/// How long one sink may take to answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// Calls [`Sink::probe`] with a time limit.
///
/// # Errors
/// What failed, with the broker's own message.
pub async fn probe(
    name: &str,
    sink: &config::Sink,
    destinations: &BTreeSet<String>,
) -> Result<String, String> {
    let answer = visit(name, sink, Probe { destinations });
    match timeout(DEADLINE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

struct Probe<'a> {
    destinations: &'a BTreeSet<String>,
}

impl<'a> Visitor for Probe<'a> {
    type Output = Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>>;

    fn visit<S: Sink>(self, config: S::Config) -> Self::Output {
        Box::pin(async move { S::probe(&config, self.destinations).await })
    }
}
