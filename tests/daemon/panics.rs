//! A mistake of our own in one subscription, and what the daemon makes of it.
//!
//! Nothing that a user can type or send makes the program panic. But it runs code of others: here, a
//! layer of the log that panics when one of the subscriptions says that it is connected.

use std::fmt::{Debug, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use central_forwarder::central::Cause;
use central_forwarder::central::subscription::{Counts, State};
use central_forwarder::config;
use central_forwarder::daemon::{Daemon, Handle, Loader};
use central_forwarder::simulator::{Options, Simulator};
use serde_json::Value;
use tokio::task::spawn_blocking;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use support::config::{Account, Config, Route, Sink};
use support::eventually;
use support::stand::{number_of, records};

const PATIENCE: Duration = Duration::from_secs(60);

const TIMES: u32 = 2;
const TOPICS: [&str; 3] = ["audit", "monitoring", "presence"];

/// Keeps what is logged, and panics so often.
#[derive(Clone, Default)]
struct Trap {
    sprung: Arc<AtomicU32>,
    log: Arc<Mutex<Vec<String>>>,
}

impl<S: Subscriber> Layer<S> for Trap {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > tracing::Level::INFO {
            return;
        }
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        let is_its = line.0.contains("connected") && line.0.contains("subscription=acme/audit");
        self.log.lock().unwrap().push(line.0);
        if is_its && self.sprung.load(Ordering::Relaxed) < TIMES {
            self.sprung.fetch_add(1, Ordering::Relaxed);
            panic!("the trap has sprung");
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

fn config(simulator: &Simulator, folder: &Path) -> config::Config {
    let account = Account::classic(&simulator.endpoint(), &TOPICS);
    let path = Config::in_memory()
        .account("acme", &account)
        .sink("file", &Sink::file(&folder.join("out")))
        .route(&Route::of(&[&TOPICS[..], &["@gaps"]].concat(), "file"))
        .write(folder);
    let no_environment = std::iter::empty();
    config::load(&[path], no_environment, |_, _| Ok(()))
        .unwrap()
        .config
}

fn records_of(topic: &str, folder: &Path) -> Vec<Value> {
    let records = records(&folder.join("out")).into_iter();
    records.filter(|record| record["topic"] == topic).collect()
}

fn look(daemon: &Handle, topic: &str) -> (State, Counts) {
    let view = daemon.view();
    let mut all = view.subscriptions.iter();
    let handle = all.find(|handle| handle.id().topic() == topic).unwrap();
    (handle.state().borrow().clone(), handle.counts())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_one_subscription_its_connection_and_nobody_else_anything() {
    let trap = Trap::default();
    let log = tracing_subscriber::registry().with(trap.clone());
    // The daemon's tasks run on threads of several kinds. No other test of this binary runs a daemon in this
    // process; what clients of other libraries log does not come here.
    tracing::subscriber::set_global_default(log).unwrap();
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = config(&simulator, folder.path());
    let (daemon, handle) = Daemon::start(config, Loader::none()).unwrap();
    let (watcher, place) = (handle.clone(), folder.path().to_owned());
    let looked = async {
        let looked = spawn_blocking(move || look_on(&watcher, &place, &trap)).await;
        handle.drain();
        looked
    };
    let (report, looked) = tokio::join!(daemon.run(), looked);
    looked.unwrap();
    report.unwrap();
    simulator.stop().await;
}

fn look_on(handle: &Handle, folder: &Path, trap: &Trap) {
    eventually(PATIENCE, "audit is back, and all go on", || {
        let back = matches!(look(handle, "audit").0, State::Connected { .. });
        back && TOPICS
            .iter()
            .all(|topic| records_of(topic, folder).len() > 50)
    });
    let (_, counts) = look(handle, "audit");
    assert_eq!(counts.connections, u64::from(TIMES) + 1);
    assert_eq!(counts.failures[&Cause::Panicked], u64::from(TIMES));
    assert_eq!(counts.failures.len(), 1, "{counts:?}");
    let log = trap.log.lock().unwrap().clone();
    let mut errors = log.iter().filter(|line| line.starts_with("ERROR"));
    let said = errors.clone().count();
    assert_eq!(said, TIMES as usize, "{log:?}");
    assert!(
        errors.all(|line| line.contains("cause=panicked")
            && line.contains("a bug in central-forwarder: the trap has sprung")
            && line.contains("wait=")),
        "{log:?}"
    );
    let gaps = records_of("@gaps", folder);
    assert_eq!(gaps.len(), TIMES as usize, "{gaps:?}");
    assert!(gaps.iter().all(|gap| gap["data"]["topic"] == "audit"));

    for topic in ["monitoring", "presence"] {
        let (_, counts) = look(handle, topic);
        assert_eq!((counts.connections, counts.failures.len()), (1, 0));
        let numbers: Vec<u64> = records_of(topic, folder).iter().map(number_of).collect();
        let all: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, all, "{topic}");
    }
}
