//! `run`: the daemon.

use std::io;

use super::{ConfigArgs, logging};
use crate::config::Mistakes;
use crate::daemon;
use crate::reload::Reload;
use crate::signals::{Listener, Signal};

/// The daemon: subscribe, journal, deliver; SIGTERM or SIGINT ends it in good order
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Why the daemon did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Config(#[from] Mistakes),
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Daemon(#[from] daemon::Error),
}

/// Runs until a signal, then drains.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: Args) -> Result<(), Error> {
    let loaded = args.config.load()?;
    logging::install(&loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let (reload, plans) = Reload::start(&loaded.config)?;
    let signals = Listener::new().map_err(Error::Signals)?;
    daemon::run(loaded.config, plans, end(signals, reload, args.config)).await?;
    Ok(())
}

/// Reloads as often as it is asked to, until it is asked to end.
async fn end(mut signals: Listener, mut reload: Reload, config: ConfigArgs) {
    while signals.next().await == Signal::Reload {
        // Reads files and compiles schemas, which takes a while.
        if let Err(mistakes) = tokio::task::block_in_place(|| apply(&mut reload, &config)) {
            for mistake in mistakes.remarks() {
                tracing::error!("{mistake}");
            }
            tracing::error!("not reloaded: the config has mistakes, and nothing has changed");
        }
    }
}

fn apply(reload: &mut Reload, config: &ConfigArgs) -> Result<(), Mistakes> {
    let loaded = config.load()?;
    let waiting = reload.apply(loaded.config)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for key in waiting {
        tracing::warn!("{key} takes effect after a restart only");
    }
    tracing::info!("reloaded: schemas and routes are in effect");
    Ok(())
}
