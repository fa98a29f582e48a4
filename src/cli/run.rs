//! `run`: the daemon.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::process;

use tokio_util::task::AbortOnDropHandle;

use super::{ConfigArgs, logging};
use crate::admin;
use crate::config::ConfigErrors;
use crate::daemon::{self, Daemon, Handle, Loader};
use crate::process::signals::{Listener, Signal};
use crate::supervise::Panic;

/// Run the daemon: subscribe, store, deliver; SIGTERM or SIGINT ends it in good order
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Why the daemon did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Daemon(#[from] daemon::Error),
    #[error(transparent)]
    Admin(#[from] admin::BindError),
}

impl Error {
    /// Whether it could not even start, and will not until an operator has changed something.
    pub(super) fn is_usage(&self) -> bool {
        match self {
            Self::Config(_) | Self::Admin(_) => true,
            Self::Signals(_) => false,
            Self::Daemon(error) => error.is_usage(),
        }
    }
}

/// Runs until a signal, then drains.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: Args) -> Result<(), Error> {
    let first = args.config.load()?;
    logging::install(&first.config.log);
    for warning in &first.warnings {
        tracing::warn!("{warning}");
    }
    let signals = Listener::new().map_err(Error::Signals)?;
    let loader = Loader::new(move || args.config.load());
    let endpoint = match &first.config.admin {
        Some(admin) => Some(admin::Bound::new(admin).await?),
        None => None,
    };
    let (daemon, handle) = Daemon::start(first.config, loader)?;
    tokio::select! {
        ended = daemon.run() => ended?,
        never = handle_signals(signals, &handle) => match never {},
        never = serve(endpoint, handle.clone()) => match never {},
    };
    Ok(())
}

/// Serves the admin endpoint on a task of its own, which ends with this future. Without it the daemon
/// goes on.
async fn serve(endpoint: Option<admin::Bound>, daemon: Handle) -> Infallible {
    if let Some(endpoint) = endpoint {
        let task = AbortOnDropHandle::new(tokio::spawn(endpoint.serve(daemon)));
        match task.await {
            Ok(never) => match never {},
            Err(error) => {
                let panic = Panic::from(error);
                tracing::error!("the admin endpoint has ended: {panic}");
            }
        }
    }
    pending().await
}

/// The first SIGTERM or SIGINT starts the drain, the second cuts it short, and the third ends the
/// process at once.
async fn handle_signals(mut signals: Listener, daemon: &Handle) -> Infallible {
    let mut ends = 0;
    loop {
        match signals.next().await {
            Signal::Reload => daemon.ask_for_reload(),
            Signal::End => {
                ends += 1;
                match ends {
                    1 => daemon.drain(),
                    2 => daemon.stop(),
                    _ => process::exit(1),
                }
            }
        }
    }
}
