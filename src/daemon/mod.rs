//! Starts, reloads and drains: owns every task, and looks at how each ended.
//!
//! A [`Daemon`] is the task, a [`Handle`] is what others may ask of it: a [`View`] of what runs, a
//! reload, the end.
//!
//! ```text
//! start      journals, then a delivery for each sink, then a subscription for each topic
//! reload     the new config is read and tried out as a whole; then only what differs is touched
//! drain      subscriptions end, deliveries settle what is in the journal, the journals are closed
//! ```

mod deliveries;
mod drain;
mod handle;
mod journals;
mod reload;
mod service;
mod status;
mod subscriptions;
mod view;
mod watchdog;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use self::handle::{Handle, ReloadError};
pub use self::reload::Loader;
pub use self::view::{LastReload, Reloaded, View};

use self::deliveries::Deliveries;
use self::journals::Journals;
use self::service::{Service, first_tries};
use self::subscriptions::Subscriptions;
use crate::central::{self, Central, Settings};
use crate::config::{Config, Mistakes, Qos, Route, Sink};
use crate::delivery::{Plan, Summary};
use crate::frame::Timestamp;
use crate::journal;

/// Reloads that may be asked for at a time; those who ask beyond wait.
const REQUESTS: usize = 8;

/// Why the daemon could not start or end as it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Config(#[from] Mistakes),
    #[error("state_dir {}: {cause}", folder.display())]
    StateDir {
        folder: PathBuf,
        cause: journal::OpenError,
    },
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    #[error(transparent)]
    Close(#[from] journal::CloseError),
    #[error("account {account}: {cause}")]
    Account {
        account: String,
        cause: central::Unusable,
    },
    #[error("the journal's writer has ended, and no frame can be kept any more (see the log)")]
    WriterEnded,
    #[error("a bug: the delivery to {sink} has ended: {why}")]
    DeliveryEnded { sink: String, why: String },
}

impl Error {
    /// Whether it could not even start, and will not until an operator has changed something.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Config(_) | Self::StateDir { .. } | Self::Account { .. }
        )
    }
}

/// What happened between start and end.
#[derive(Debug)]
pub struct Report {
    /// Frames that the journal took.
    pub frames: u64,
    /// For each sink, what its delivery did.
    pub sinks: BTreeMap<String, Summary>,
}

/// All that is under way.
#[derive(Debug)]
pub struct Daemon {
    loader: Loader,
    plans: watch::Sender<Arc<Plan>>,
    journals: Journals,
    subscriptions: Subscriptions,
    deliveries: Deliveries,
    view: watch::Sender<Arc<View>>,
    requests: mpsc::Receiver<Request>,
    service: Service,
    /// Drain, and then end.
    drain: CancellationToken,
    /// End without waiting for what is not sent yet.
    stop: CancellationToken,
}

/// What a [`Handle`] asks for.
#[derive(Debug)]
enum Request {
    Reload(Option<oneshot::Sender<Result<Reloaded, ReloadError>>>),
}

/// Tries out what a start and a reload try out first, and touches nothing: `check` gives their
/// verdict. Must be called within a runtime.
///
/// # Errors
/// Every mistake that shows only where config and schema meet, or else the first account that
/// cannot be used at all.
pub fn try_out(config: &Config) -> Result<(), Error> {
    Plan::new(config)?;
    let central = Central::new(None, None, Settings::default());
    for (name, account) in &config.accounts {
        subscriptions::source(&central, name, account)?;
    }
    Ok(())
}

impl Daemon {
    /// Begins all that the config names. `loader` reads the config anew for a reload.
    ///
    /// # Errors
    /// A mistake that shows only where the config meets schemas, certificates or the disk. A broker
    /// or Central that is away is no error.
    pub fn start(config: Config, loader: Loader) -> Result<(Self, Handle), Error> {
        log_start(&config);
        let plans = watch::Sender::new(Arc::new(Plan::new(&config)?));
        let (journals, cursors) = Journals::open(&config)?;
        let mut deliveries = Deliveries::new(plans.subscribe());
        for ((name, sink), cursor) in config.sinks.iter().zip(cursors) {
            deliveries.begin(name, sink, journals.ends(cursor), config.backlog(name));
        }
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let central = Central::new(
            config.state_dir.as_deref(),
            journals.last_received(),
            Settings::default(),
        );
        let mut subscriptions = Subscriptions::new(central, journals.appender());
        for (name, account) in &config.accounts {
            let source = subscriptions.source(name, account)?;
            subscriptions.begin(name, account, source);
        }

        let view = watch::Sender::new(Arc::new(View {
            config: Arc::new(config),
            started_at: Timestamp::now(),
            generation: 1,
            last_reload: None,
            subscriptions: subscriptions.handles(),
            deliveries: deliveries.handles(),
            kafka: deliveries.kafka(),
            journal: journals.frames(),
            dead_letters: journals.dead_letters(),
        }));
        let (sender, requests) = mpsc::channel(REQUESTS);
        let handle = Handle::new(view.subscribe(), sender, drain.clone(), stop.clone());
        let daemon = Self {
            loader,
            plans,
            journals,
            subscriptions,
            deliveries,
            view,
            requests,
            service: Service::new(),
            drain,
            stop,
        };
        Ok((daemon, handle))
    }

    /// Runs until [`Handle::drain`] or [`Handle::stop`] is called, then drains.
    ///
    /// # Errors
    /// The journal cannot be closed cleanly, or a part that all depends on has ended by itself.
    pub async fn run(mut self) -> Result<Report, Error> {
        let watched = self.watch().await;
        self.drain.cancel();
        let report = self.end().await?;
        watched.map(|()| report)
    }

    /// Until the end is asked for, or something ends that must not.
    async fn watch(&mut self) -> Result<(), Error> {
        let mut writer_ended = pin!(self.journals.ended());
        let mut first_tries = pin!(first_tries(self.view()));
        loop {
            tokio::select! {
                biased;
                () = self.drain.cancelled() => return Ok(()),
                () = &mut writer_ended => return Err(Error::WriterEnded),
                never = self.subscriptions.watch() => match never {},
                ended = self.deliveries.watch() => match ended? {},
                Some(request) = self.requests.recv() => self.answer(request).await,
                () = &mut first_tries, if !self.service.is_ready() => {
                    self.service.ready(&self.view());
                }
                () = self.service.time_to_look() => self.service.look(&self.view()),
            }
        }
    }

    async fn answer(&mut self, request: Request) {
        match request {
            Request::Reload(reply) => {
                self.service.reloading();
                let outcome = self.reload().await;
                self.service.reloaded(&self.view());
                if let Some(reply) = reply {
                    // Who asked may have gone meanwhile; the log has it too.
                    let _ = reply.send(outcome);
                }
            }
        }
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// What is in effect.
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.view.borrow().config)
    }
}

fn log_start(config: &Config) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        accounts = config.accounts.len(),
        sinks = config.sinks.len(),
        routes = config.routes.len(),
        "central-forwarder starts"
    );
    for route in &config.routes {
        let class = class(config, route);
        tracing::info!(sink = route.sink, destination = %route.destination, "route: {class}");
    }
}

/// How often an event arrives that a route takes, and why.
fn class(config: &Config, route: &Route) -> &'static str {
    match (&config.state_dir, config.sinks.get(&route.sink)) {
        (None, _) => "at most once: there is no state_dir, frames are in memory only",
        (Some(_), Some(Sink::Mqtt(mqtt))) if mqtt.qos == Qos::AtMostOnce => {
            "at most once: with qos = 0 the broker confirms nothing"
        }
        (Some(_), _) => "at least once: frames are safe in the journal on disk",
    }
}

#[cfg(test)]
mod tests {
    use crate::config::of_text;

    #[test]
    fn a_route_is_at_least_once_with_a_journal_on_disk_and_a_broker_that_confirms() {
        let text = r#"
            state_dir = "/tmp/state"
            [accounts.acme]
            generation = "classic"
            endpoint = "ws://127.0.0.1:1/a"
            key = "k"
            topics = ["audit"]
            [sinks.iot]
            type = "mqtt"
            url = "mqtt://127.0.0.1"
            qos = 1
            [[routes]]
            topics = "*"
            sink = "iot"
            destination = "a"
        "#;
        let class = |text: &str| {
            let config = of_text(text);
            super::class(&config, &config.routes[0])
        };
        assert!(class(text).starts_with("at least once"));
        assert!(class(&text.replace("qos = 1", "qos = 0")).starts_with("at most once: with qos"));
        let in_memory = text.replace("state_dir = \"/tmp/state\"", "");
        assert!(class(&in_memory).starts_with("at most once: there is no state_dir"));
    }
}
