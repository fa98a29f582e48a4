//! `run`: the daemon.

use std::io;

use super::{ConfigArgs, logging};
use crate::config::Mistakes;
use crate::daemon;
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
    let mut signals = Listener::new().map_err(Error::Signals)?;
    daemon::run(loaded.config, end(&mut signals)).await?;
    Ok(())
}

async fn end(signals: &mut Listener) {
    while signals.next().await == Signal::Reload {
        tracing::warn!("this version does not reload its config: restart it instead");
    }
}
