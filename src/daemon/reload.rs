//! What a new config changes in the daemon while it runs.
//!
//! The new config is read and tried out as a whole: schemas and routes compiled, certificates read,
//! cursors of new sinks begun. Only if all of that succeeded is something touched, and only what
//! differs: a changed route moves no socket, a changed sink reconnects alone, a changed account
//! keeps its old connections until the new ones are there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::journals::Journals;
use super::view::{LastReload, Reloaded};
use super::{Daemon, Error, ReloadError};
use crate::central::Source;
use crate::config::{AccountChange, Change, Config, Diff, Loaded, Mistakes};
use crate::delivery::{Ends, Plan};
use crate::frame::Timestamp;

/// Reads the config anew.
#[derive(Clone)]
pub struct Loader(Arc<Read>);

type Read = dyn Fn() -> Result<Loaded, Mistakes> + Send + Sync;

impl Loader {
    pub fn new(read: impl Fn() -> Result<Loaded, Mistakes> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// For a daemon that nobody can ask for a reload.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|| Err(Mistakes::new(Vec::new())))
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loader")
    }
}

/// All that can fail, done before anything is touched.
struct Prepared {
    plan: Plan,
    /// Of the accounts that are new or changed.
    sources: BTreeMap<String, Arc<Source>>,
    /// Of the sinks that are new.
    ends: BTreeMap<String, Ends>,
}

impl Daemon {
    /// Reads the config anew and puts what differs into effect. On any mistake nothing changes.
    pub(super) async fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        let outcome = self.read_and_apply().await;
        log(&outcome);
        let last_reload = LastReload {
            at: Timestamp::now(),
            outcome: match &outcome {
                Ok(reloaded) => Ok(reloaded.clone()),
                Err(error) => Err(error.to_string().lines().map(str::to_owned).collect()),
            },
        };
        self.view.send_modify(|view| {
            let view = Arc::make_mut(view);
            view.last_reload = Some(last_reload);
            view.subscriptions = self.subscriptions.handles();
            view.deliveries = self.deliveries.handles();
            view.kafka = self.deliveries.kafka();
        });
        outcome
    }

    async fn read_and_apply(&mut self) -> Result<Reloaded, ReloadError> {
        let (loaded, plan) = self.read_anew().await?;
        let running = self.config();
        let new = loaded.config;
        let diff = Diff::between(&running, &new);
        let prepared = Prepared {
            plan,
            sources: self.sources(&diff, &new)?,
            ends: register(&self.journals, &diff, &new)?,
        };
        self.apply(prepared, &diff, &new).await;
        let reloaded = Reloaded {
            changed: diff.changes(),
            after_restart: diff.after_restart,
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        };
        let in_effect = Config {
            state_dir: running.state_dir.clone(),
            log: running.log.clone(),
            journal: running.journal.clone(),
            admin: running.admin.clone(),
            ..new
        };
        self.view.send_modify(|view| {
            let view = Arc::make_mut(view);
            view.config = Arc::new(in_effect);
            view.generation += 1;
        });
        Ok(reloaded)
    }

    /// Reads files and compiles schemas, which takes a while.
    async fn read_anew(&self) -> Result<(Loaded, Plan), ReloadError> {
        let read = Arc::clone(&self.loader.0);
        let reading = tokio::task::spawn_blocking(move || {
            let loaded = read()?;
            let plan = Plan::new(&loaded.config)?;
            Ok::<_, Mistakes>((loaded, plan))
        });
        tokio::select! {
            biased;
            () = self.drain.cancelled() => Err(ReloadError::Ending),
            read = reading => Ok(read.map_err(|bug| ReloadError::Bug(bug.to_string()))??),
        }
    }

    async fn apply(&mut self, prepared: Prepared, diff: &Diff, new: &Config) {
        let old = diff
            .sinks
            .iter()
            .filter(|(_, change)| **change != Change::Added);
        let old: Vec<&String> = old.map(|(name, _)| name).collect();
        let mut ends = self.deliveries.stop(&old).await;
        ends.extend(prepared.ends);
        prepared.plan.replace(&self.plans);
        for (name, ends) in ends {
            match new.sinks.get(&name) {
                Some(sink) => self.deliveries.begin(&name, sink, ends, new.backlog(&name)),
                None => self.journals.unregister(&name),
            }
        }
        for name in &diff.backlogs {
            self.deliveries.limit(name, new.backlog(name));
        }
        self.change_accounts(prepared.sources, diff, new);
    }

    fn change_accounts(
        &mut self,
        mut sources: BTreeMap<String, Arc<Source>>,
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

    fn sources(
        &self,
        diff: &Diff,
        new: &Config,
    ) -> Result<BTreeMap<String, Arc<Source>>, ReloadError> {
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
}

/// All of them, or none.
fn register(
    journals: &Journals,
    diff: &Diff,
    new: &Config,
) -> Result<BTreeMap<String, Ends>, ReloadError> {
    let mut all = BTreeMap::new();
    let added = diff
        .sinks
        .iter()
        .filter(|(_, change)| **change == Change::Added);
    for (name, _) in added {
        match journals.register(new, name) {
            Ok(ends) => {
                all.insert(name.clone(), ends);
            }
            Err(error) => {
                for name in all.keys().chain([name]) {
                    journals.unregister(name);
                }
                return Err(Error::Journal(error).into());
            }
        }
    }
    Ok(all)
}

fn log(outcome: &Result<Reloaded, ReloadError>) {
    match outcome {
        Ok(reloaded) => {
            for warning in &reloaded.warnings {
                tracing::warn!("{warning}");
            }
            for key in &reloaded.after_restart {
                tracing::warn!("{key} differs, and takes effect after a restart only");
            }
            if reloaded.changed.is_empty() {
                tracing::info!("reloaded: nothing differs; schemas were read anew");
            } else {
                tracing::info!("reloaded: {}", reloaded.changed.join(", "));
            }
        }
        Err(ReloadError::Mistakes(mistakes)) => {
            for mistake in mistakes.remarks() {
                tracing::error!("{mistake}");
            }
            tracing::error!("not reloaded: the config has mistakes, and nothing has changed");
        }
        Err(error) => tracing::error!("not reloaded, and nothing has changed: {error}"),
    }
}
