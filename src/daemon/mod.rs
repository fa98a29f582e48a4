//! Starts, reloads and drains: owns every task, and checks how each ended.
//!
//! A [`Daemon`] is the task, a [`Handle`] is what others may ask of it: a [`View`] of what runs, a
//! reload, the end. The module `pipeline` is what carries frames.
//!
//! ```text
//! start      journals, then a delivery for each sink, then a subscription for each topic
//! reload     the new config is read and tried out as a whole; then only what differs is touched
//! drain      subscriptions end, deliveries send what is in the journal, the journals are closed
//! ```

mod deliveries;
mod error;
mod handle;
mod journals;
mod pipeline;
mod reload;
mod service;
mod status;
mod subscriptions;
mod view;
mod watchdog;

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use self::error::{Error, ReloadError};
pub use self::handle::Handle;
pub use self::pipeline::Report;
pub use self::reload::Loader;
pub use self::view::{LastReload, Reloaded, View};

use self::handle::Request;
use self::pipeline::Pipeline;
use self::service::{Service, first_tries};
use crate::central::{Central, Settings};
use crate::config::{Config, Diff, Guarantee, Route, Sink};
use crate::delivery::Plan;
use crate::process::notify;

/// Reloads that may be waiting at a time; beyond, [`Handle::reload`] waits for room.
const MAX_REQUESTS: usize = 8;

/// The daemon's task.
#[derive(Debug)]
pub struct Daemon {
    loader: Loader,
    pipeline: Pipeline,
    view: watch::Sender<Arc<View>>,
    requests: mpsc::Receiver<Request>,
    service: Service,
    /// Asks for the end in good order.
    drain: CancellationToken,
    /// Asks for the end without waiting for what is not sent yet.
    stop: CancellationToken,
}

/// Tries out what a start and a reload try out first, and touches nothing: `check` reports the
/// result. Must be called within a runtime.
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
    /// Starts everything that the config names. `loader` reads the config again for a reload.
    ///
    /// # Errors
    /// A mistake that shows only where the config meets schemas, certificates or the disk. A broker
    /// or Central that cannot be reached is no error.
    pub fn start(config: Config, loader: Loader) -> Result<(Self, Handle), Error> {
        log_start(&config);
        let pipeline = Pipeline::start(&config)?;
        let view = watch::Sender::new(Arc::new(pipeline.view(config)));
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let (sender, requests) = mpsc::channel(MAX_REQUESTS);
        let handle = Handle::new(view.subscribe(), sender, drain.clone(), stop.clone());
        let daemon = Self {
            loader,
            pipeline,
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
    /// The journal cannot be closed cleanly, or a part that everything depends on ended by itself.
    pub async fn run(mut self) -> Result<Report, Error> {
        let watched = self.watch().await;
        self.drain.cancel();
        let report = self.end().await?;
        watched.map(|()| report)
    }

    /// Runs until the end is asked for, or a part ends that must not.
    async fn watch(&mut self) -> Result<(), Error> {
        let mut first_tries = pin!(first_tries(self.view()));
        loop {
            tokio::select! {
                biased;
                () = self.drain.cancelled() => return Ok(()),
                ended = self.pipeline.watch() => match ended? {},
                Some(request) = self.requests.recv() => self.answer(request).await,
                () = &mut first_tries, if !self.service.is_ready() => {
                    self.service.ready(&self.view());
                }
                () = self.service.next_tick() => self.service.tick(&self.view()),
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
                    // The receiver may be dropped; the log has the outcome too.
                    let _ = reply.send(outcome);
                }
            }
        }
    }

    /// Reads the config again and puts what differs into effect. On any mistake nothing changes.
    async fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        let outcome = self.load_and_apply().await;
        reload::log(&outcome);
        self.view.send_modify(|view| {
            let view = Arc::make_mut(view);
            view.last_reload = Some(LastReload::now(&outcome));
            self.pipeline.update(view);
        });
        outcome
    }

    async fn load_and_apply(&mut self) -> Result<Reloaded, ReloadError> {
        let (loaded, plan) = tokio::select! {
            biased;
            () = self.drain.cancelled() => return Err(ReloadError::Ending),
            loaded = self.loader.load() => loaded?,
        };
        let running = self.config();
        let diff = Diff::between(&running, &loaded.config);
        let changes = self.pipeline.prepare(plan, &diff, &loaded.config)?;
        self.pipeline.apply(changes).await;
        self.view.send_modify(|view| {
            let view = Arc::make_mut(view);
            view.config = Arc::new(reload::in_effect(loaded.config, &running));
            view.generation += 1;
        });
        Ok(Reloaded {
            changed: diff.changes(),
            after_restart: diff.after_restart,
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        })
    }

    /// Stops reading, lets the sinks take what is in the journal, and says what is left.
    async fn end(self) -> Result<Report, Error> {
        let limit = self.config().shutdown_timeout;
        let status =
            format!("stops reading, and delivers what is in the journal for up to {limit:.0?}");
        notify::stopping(&status);
        tracing::info!("ending: {status}");
        self.pipeline.drain(limit, &self.stop).await
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// The config in effect.
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
fn class(config: &Config, route: &Route) -> String {
    let guarantee = config.sinks.get(&route.sink).map(Sink::guarantee);
    match (&config.state_dir, guarantee) {
        (None, _) => "at most once: there is no state_dir, frames are in memory only".to_owned(),
        (Some(_), Some(Guarantee::AtMostOnce { why })) => format!("at most once: {why}"),
        (Some(_), _) => "at least once: frames are safe in the journal on disk".to_owned(),
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
