//! Everything that carries frames from Central to the brokers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::deliveries::Deliveries;
use super::error::Error;
use super::journals::Journals;
use super::subscriptions::Subscriptions;
use super::view::View;
use crate::central::{AccountClient, Central, Settings};
use crate::config::{AccountChange, Change, Config, Diff};
use crate::delivery::{Plan, SinkContext, Summary};
use crate::frame::Timestamp;

/// What happened between start and end.
#[derive(Debug)]
pub struct Report {
    /// Frames that the journal took.
    pub frames: u64,
    /// What the delivery of each sink did.
    pub sinks: BTreeMap<String, Summary>,
}

/// The journals, what writes to them, and what reads them.
#[derive(Debug)]
pub(super) struct Pipeline {
    plans: watch::Sender<Arc<Plan>>,
    journals: Journals,
    subscriptions: Subscriptions,
    deliveries: Deliveries,
}

/// What a new config needs, made before anything that runs is touched: making it can fail, putting
/// it into effect cannot.
#[derive(Debug)]
pub(super) struct Changes<'c> {
    new: &'c Config,
    diff: &'c Diff,
    plan: Plan,
    /// For the accounts that are new or changed.
    sources: BTreeMap<String, Arc<AccountClient>>,
    /// For the sinks that are new.
    contexts: BTreeMap<String, SinkContext>,
}

impl Pipeline {
    /// Opens the journals, then starts a delivery for each sink and a subscription for each topic.
    ///
    /// # Errors
    /// A mistake that shows only where the config meets schemas, certificates or the disk.
    pub(super) fn start(config: &Config) -> Result<Self, Error> {
        let plans = watch::Sender::new(Arc::new(Plan::new(config)?));
        let (journals, cursors) = Journals::open(config)?;
        let mut deliveries = Deliveries::new(plans.subscribe());
        for ((name, sink), cursor) in config.sinks.iter().zip(cursors) {
            deliveries.begin(name, sink, journals.context(cursor), config.backlog(name));
        }
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
        Ok(Self {
            plans,
            journals,
            subscriptions,
            deliveries,
        })
    }

    /// What runs now, with the config that it was started with.
    pub(super) fn view(&self, config: Config) -> View {
        View {
            config: Arc::new(config),
            started_at: Timestamp::now(),
            generation: 1,
            last_reload: None,
            subscriptions: self.subscriptions.handles(),
            deliveries: self.deliveries.handles(),
            kafka: self.deliveries.kafka(),
            journal: self.journals.frames(),
            dead_letters: self.journals.dead_letters(),
        }
    }

    /// Shows in `view` what runs after a reload.
    pub(super) fn update(&self, view: &mut View) {
        view.subscriptions = self.subscriptions.handles();
        view.deliveries = self.deliveries.handles();
        view.kafka = self.deliveries.kafka();
    }

    /// Waits until a part ends by itself that everything depends on.
    pub(super) async fn watch(&mut self) -> Result<Infallible, Error> {
        tokio::select! {
            biased;
            () = self.journals.ended() => Err(Error::WriterEnded),
            never = self.subscriptions.watch() => match never {},
            ended = self.deliveries.watch() => ended,
        }
    }

    /// Makes what `new` needs. On an error nothing has changed.
    pub(super) fn prepare<'c>(
        &self,
        plan: Plan,
        diff: &'c Diff,
        new: &'c Config,
    ) -> Result<Changes<'c>, Error> {
        Ok(Changes {
            new,
            diff,
            plan,
            sources: self.sources(diff, new)?,
            contexts: self.register(diff, new)?,
        })
    }

    fn sources(
        &self,
        diff: &Diff,
        new: &Config,
    ) -> Result<BTreeMap<String, Arc<AccountClient>>, Error> {
        let mut sources = BTreeMap::new();
        for (name, change) in &diff.accounts {
            if let (AccountChange::Added | AccountChange::Changed, Some(account)) =
                (change, new.accounts.get(name))
            {
                let source = self.subscriptions.source(name, account)?;
                sources.insert(name.clone(), source);
            }
        }
        Ok(sources)
    }

    /// Makes a cursor for each new sink: all of them, or none.
    fn register(&self, diff: &Diff, new: &Config) -> Result<BTreeMap<String, SinkContext>, Error> {
        let sinks = diff.sinks.iter();
        let added = sinks.filter(|(_, change)| **change == Change::Added);
        let mut contexts = BTreeMap::new();
        for (name, _) in added {
            match self.journals.register(new, name) {
                Ok(context) => {
                    contexts.insert(name.clone(), context);
                }
                Err(error) => {
                    for name in contexts.keys().chain([name]) {
                        self.journals.unregister(name);
                    }
                    return Err(Error::Journal(error));
                }
            }
        }
        Ok(contexts)
    }

    /// Puts the changes into effect, and touches nothing else.
    pub(super) async fn apply(&mut self, changes: Changes<'_>) {
        let Changes {
            new,
            diff,
            plan,
            sources,
            contexts: added,
        } = changes;
        let sinks = diff.sinks.iter();
        let running = sinks.filter(|(_, change)| **change != Change::Added);
        let running: Vec<&String> = running.map(|(name, _)| name).collect();
        let mut contexts = self.deliveries.stop(&running).await;
        contexts.extend(added);
        plan.replace(&self.plans);
        for (name, context) in contexts {
            match new.sinks.get(&name) {
                Some(sink) => (self.deliveries).begin(&name, sink, context, new.backlog(&name)),
                None => self.journals.unregister(&name),
            }
        }
        for name in &diff.backlogs {
            self.deliveries.limit(name, new.backlog(name));
        }
        self.change_accounts(sources, diff, new);
    }

    fn change_accounts(
        &mut self,
        mut sources: BTreeMap<String, Arc<AccountClient>>,
        diff: &Diff,
        new: &Config,
    ) {
        for name in diff.accounts.keys() {
            match (new.accounts.get(name), sources.remove(name)) {
                (Some(account), Some(source)) => self.subscriptions.begin(name, account, source),
                (Some(account), None) => self.subscriptions.change_topics(name, account),
                (None, _) => self.subscriptions.remove(name),
            }
        }
    }

    /// Ends the subscriptions, lets the deliveries send what is in the journal until the deadline, and
    /// closes the journals. `stop` cuts all of that short.
    ///
    /// # Errors
    /// A journal cannot be closed cleanly.
    pub(super) async fn drain(
        mut self,
        limit: Duration,
        stop: &CancellationToken,
    ) -> Result<Report, Error> {
        let deadline = Instant::now() + limit;
        tokio::select! {
            biased;
            () = self.subscriptions.end() => {}
            () = stop.cancelled() => self.subscriptions.abort().await,
        }
        let end = self.journals.end();
        let sinks = self.deliveries.drain(end, deadline, stop).await;
        let journal = self.journals.frames();
        self.journals.close().await?;
        Ok(Report {
            frames: journal.stats().appended_records,
            sinks,
        })
    }
}
