//! Connects to every account and every sink, side by side.

use std::io::{self, Write as _};

use tokio::task::JoinHandle;

use crate::central;
use crate::config::Config;
use crate::route::static_destinations;
use crate::sink::probe::probe;
use crate::supervise::Panic;

/// What answered, or what failed.
type ProbeResult = Result<String, String>;

/// Why `check --connect` fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{failed} of {tried} did not answer as they should")]
    Failed { failed: usize, tried: usize },
    #[error("cannot print: {0}")]
    Output(#[from] io::Error),
}

/// Prints a line for each account and each sink, in the order of their names.
///
/// # Errors
/// One of them failed.
pub(super) async fn try_all(config: &Config) -> Result<(), Error> {
    let begun = begin(config);
    let (mut failed, tried) = (0, begun.len());
    for (name, answer) in begun {
        let answer = answer
            .await
            .unwrap_or_else(|error| Err(Panic::from(error).to_string()));
        let line = match answer {
            Ok(answer) => format!("{name}: ok: {answer}"),
            Err(why) => {
                failed += 1;
                format!("{name}: failed: {why}")
            }
        };
        writeln!(io::stdout(), "{line}")?;
    }
    match failed {
        0 => Ok(()),
        _ => Err(Error::Failed { failed, tried }),
    }
}

/// Begins all of them.
fn begin(config: &Config) -> Vec<(String, JoinHandle<ProbeResult>)> {
    let sinks = config.sinks.iter().map(|(name, sink)| {
        let (own_name, sink) = (name.clone(), sink.clone());
        let destinations = static_destinations(config, name);
        let answer = tokio::spawn(async move { probe(&own_name, &sink, &destinations).await });
        (format!("sink {name}"), answer)
    });
    let accounts = config.accounts.iter().map(|(name, account)| {
        let (own_name, account, state) = (name.clone(), account.clone(), config.state_dir.clone());
        let answer =
            tokio::spawn(
                async move { central::probe(&own_name, &account, state.as_deref()).await },
            );
        (format!("account {name}"), answer)
    });
    accounts.chain(sinks).collect()
}
