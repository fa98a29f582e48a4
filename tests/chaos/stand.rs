//! A simulated Central, the forwarder, three brokers, and all that can happen to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator, sequence_of};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::ledger::Ledger;
use crate::schedule::{Fault, Kind, Sink};
use support::brokers::{Kafka, RabbitMq};
use support::config::{self, Account, Config, Route};
use support::forwarder::Forwarder;
use support::mosquitto::{Mosquitto, Subscriber};
use support::order::different_in_order;
use support::pika::empty_queue;
use support::proxy::Proxy;
use support::read_back::sequences;
use support::{eventually, fresh_name};

const TOPIC: &str = "monitoring";
const RATE: u32 = 400;
const A_WHILE: Duration = Duration::from_secs(180);
/// Many of the simulator's ticks.
const NOTICED: Duration = Duration::from_millis(100);
/// Of the disk that the state is on, where it can be one of its own. What a broker that takes its time to
/// come back leaves in the journal must fit: only `FullDisk` fills it.
const DISK: &str = "512m";

pub(crate) struct Brokers {
    kafka: Kafka,
    rabbitmq: RabbitMq,
    mosquitto: Mosquitto,
    away: Option<Away>,
}

/// A broker that is not there.
#[derive(Clone, Copy)]
enum Away {
    Ended(Sink),
    Paused(Sink),
}

impl Away {
    fn sink(self) -> Sink {
        match self {
            Self::Ended(sink) | Self::Paused(sink) => sink,
        }
    }
}

impl Brokers {
    /// For one seed; `None` where they are not to be had.
    pub(crate) fn start(seed: u64) -> Option<Self> {
        let settings = "allow_anonymous true";
        let instance = format!("chaos-{seed}");
        Some(Self {
            kafka: Kafka::own(&instance)?,
            rabbitmq: RabbitMq::own(&instance)?,
            mosquitto: Mosquitto::start(settings)?,
            away: None,
        })
    }

    fn stop(&mut self, sink: Sink) {
        self.away = Some(Away::Ended(sink));
        match sink {
            Sink::Kafka => self.kafka.stop(),
            Sink::RabbitMq => self.rabbitmq.stop(),
            Sink::Mosquitto => self.mosquitto.stop(),
        }
    }

    fn kill(&mut self, sink: Sink) {
        self.away = Some(Away::Ended(sink));
        match sink {
            Sink::Kafka => self.kafka.kill(),
            Sink::RabbitMq => self.rabbitmq.kill(),
            Sink::Mosquitto => self.mosquitto.kill(),
        }
    }

    fn pause(&mut self, sink: Sink) {
        self.away = Some(Away::Paused(sink));
        match sink {
            Sink::Kafka => self.kafka.pause(),
            Sink::RabbitMq => self.rabbitmq.pause(),
            Sink::Mosquitto => self.mosquitto.signal("STOP"),
        }
    }

    fn bring_back(&mut self, away: Option<Away>) {
        match away {
            Some(Away::Ended(sink)) => self.start_again(sink),
            Some(Away::Paused(sink)) => self.resume(sink),
            None => {}
        }
    }

    fn start_again(&mut self, sink: Sink) {
        match sink {
            Sink::Kafka => self.kafka.start(),
            Sink::RabbitMq => self.rabbitmq.start(),
            Sink::Mosquitto => self.mosquitto.start_again(),
        }
    }

    fn resume(&self, sink: Sink) {
        match sink {
            Sink::Kafka => self.kafka.resume(),
            Sink::RabbitMq => self.rabbitmq.resume(),
            Sink::Mosquitto => self.mosquitto.signal("CONT"),
        }
    }
}

/// A run with one seed.
pub(crate) struct Stand {
    seed: u64,
    name: String,
    simulator: Arc<Simulator>,
    ledger: Ledger,
    forwarder: Forwarder,
    subscriber: Subscriber,
    proxies: [Proxy; 2],
    disk: Disk,
}

impl Stand {
    pub(crate) async fn start(brokers: &Brokers, seed: u64) -> Self {
        let simulator = Simulator::start(Options {
            topics: vec![TOPIC.to_owned()],
            rate: RATE,
            seed,
            ..Options::default()
        });
        let simulator = Arc::new(simulator.await.unwrap());
        let name = fresh_name("chaos");
        let proxies = [
            Proxy::before(&brokers.rabbitmq.address).await,
            Proxy::before(&brokers.mosquitto.address()).await,
        ];
        let disk = Disk::new();
        config(&name, &simulator, brokers, &proxies, disk.path()).write(disk.path());
        let subscriber = Subscriber::start(&brokers.mosquitto.address(), &format!("{name}/#"));
        let counted = Arc::clone(&simulator);
        let mut stand = Self {
            seed,
            ledger: Ledger::new(move || last_of(&counted)),
            forwarder: start_forwarder(&disk),
            name,
            simulator,
            subscriber,
            proxies,
            disk,
        };
        stand.forwarder.wait_for_stderr(A_WHILE, "connected");
        stand
    }

    pub(crate) async fn suffer(&mut self, fault: Fault, brokers: &mut Brokers) {
        sleep(fault.after).await;
        let mut away = brokers.away.take();
        if away.is_some_and(|away| fault.kind.is_of(away.sink())) {
            brokers.bring_back(away.take());
        }
        match fault.kind {
            Kind::Kill => self.end_forwarder(|forwarder| {
                forwarder.kill();
            }),
            Kind::Terminate => self.end_forwarder(|forwarder| {
                forwarder.terminate();
                let status = forwarder.wait(A_WHILE);
                assert_eq!(status.code(), Some(0), "{}", forwarder.stderr());
            }),
            Kind::Reload => self.forwarder.signal("HUP"),
            Kind::CentralDrops => self.drop_connections(),
            Kind::CutConnections => self.proxies.iter().for_each(|proxy| {
                proxy.cut();
            }),
            Kind::FullDisk => self.fill_disk(fault.lasts).await,
            Kind::Stop(sink) => brokers.stop(sink),
            Kind::KillBroker(sink) => brokers.kill(sink),
            Kind::Pause(sink) => brokers.pause(sink),
        }
        brokers.bring_back(away);
    }

    /// Ends the process in some way, and starts a new one.
    fn end_forwarder(&mut self, end: impl FnOnce(&mut Forwarder)) {
        let safe = self.ledger.safe();
        end(&mut self.forwarder);
        self.ledger.exempt(safe, self.last_sent_to_nobody());
        self.forwarder = start_forwarder(&self.disk);
        self.forwarder.wait_for_stderr(A_WHILE, "connected");
    }

    /// What is sent in the moment before Central notices that the process is gone reaches nobody:
    /// once nothing more is sent, it has.
    fn last_sent_to_nobody(&self) -> u64 {
        loop {
            let last = last_of(&self.simulator);
            thread::sleep(NOTICED);
            if last_of(&self.simulator) == last {
                return last;
            }
        }
    }

    fn drop_connections(&mut self) {
        let connected = |forwarder: &Forwarder| forwarder.stderr().matches("connected").count();
        let before = connected(&self.forwarder);
        let safe = self.ledger.safe();
        self.simulator.drop_connections();
        eventually(A_WHILE, "it connects again", || {
            connected(&self.forwarder) > before
        });
        self.ledger.exempt(safe, last_of(&self.simulator));
    }

    /// Nothing is owed less for it: what cannot be written waits, in the socket at the last.
    async fn fill_disk(&mut self, lasts: Duration) {
        let ballast = self.disk.fill();
        if self.disk.is_mounted {
            self.forwarder
                .wait_for_stderr(A_WHILE, "the journal cannot be written, trying again");
        }
        sleep(lasts).await;
        fs::remove_file(ballast).unwrap();
        let before = last_of(&self.simulator);
        eventually(A_WHILE, "frames flow again", || {
            last_of(&self.simulator) > before + u64::from(RATE)
        });
    }

    /// Lets everything arrive, and holds what did against the ledger.
    pub(crate) fn settle(mut self, brokers: &mut Brokers) {
        let away = brokers.away.take();
        brokers.bring_back(away);
        let safe = self.ledger.safe();
        self.forwarder.terminate();
        let status = self.forwarder.wait(A_WHILE);
        let said = self.forwarder.stderr();
        assert_eq!(status.code(), Some(0), "{said}");
        // A drain has its deadline: what is left then is delivered by the next process.
        self.forwarder = start_forwarder(&self.disk);
        self.forwarder.wait_for_stderr(A_WHILE, "connected");
        let last = last_of(&self.simulator);
        self.ledger.exempt(safe, last);
        let seed = self.seed;
        let owed = self.ledger.owed(last);
        assert!(!owed.is_empty(), "seed {seed}: nothing was sent");

        let subscriber = &self.subscriber;
        subscriber.wait_for(
            A_WHILE,
            &format!("seed {seed}: Mosquitto has all"),
            |messages| {
                messages
                    .iter()
                    .filter_map(|message| number(&message.payload))
                    .max()
                    > owed.last().copied()
            },
        );
        self.forwarder.terminate();
        self.forwarder.wait(A_WHILE);
        let said = self.forwarder.stderr();
        assert_eq!(
            said.matches("left_in_journal=0").count(),
            3,
            "seed {seed}: {said}"
        );

        let in_queue = empty_queue(&brokers.rabbitmq, &self.name);
        let messages = self.subscriber.messages();
        let arrived = [
            ("Kafka", sequences(&brokers.kafka, &self.name)),
            (
                "RabbitMQ",
                in_queue
                    .iter()
                    .filter_map(|message| number(message["body"].as_str()?))
                    .collect(),
            ),
            (
                "Mosquitto",
                messages
                    .iter()
                    .filter_map(|message| number(&message.payload))
                    .collect(),
            ),
        ];
        let mut gone = Vec::new();
        for (sink, numbers) in arrived {
            let different = different_in_order(&numbers);
            let missing: Vec<_> = owed.difference(&different).collect();
            println!(
                "seed {seed}: {sink}: {} frames were owed, {} arrived, {} of them repeats, lost {}",
                owed.len(),
                numbers.len(),
                numbers.len() - different.len(),
                missing.len()
            );
            if !missing.is_empty() {
                gone.push(format!("{sink}: {missing:?}"));
            }
        }
        let not_owed = self.ledger.not_owed();
        assert!(
            gone.is_empty(),
            "seed {seed}: lost {gone:?}; not owed were {not_owed:?}"
        );
    }
}

fn start_forwarder(disk: &Disk) -> Forwarder {
    Forwarder::run(&disk.config())
}

fn last_of(simulator: &Simulator) -> u64 {
    simulator.sent()[TOPIC].last_sequence
}

fn number(record: &str) -> Option<u64> {
    let record: Value = serde_json::from_str(record).ok()?;
    sequence_of(TOPIC, &record["data"])
}

fn config(
    name: &str,
    simulator: &Simulator,
    brokers: &Brokers,
    [rabbitmq, mosquitto]: &[Proxy; 2],
    disk: &Path,
) -> Config {
    let amqp = format!("amqp://guest:guest@{}/%2f", rabbitmq.address);
    let exchange = format!("exchange = {{ name = \"{name}\", kind = \"topic\", declare = true }}");
    let queue = format!("queue = {{ name = \"{name}\", declare = true, binding = \"#\" }}");
    let mqtt = format!("mqtt://{}", mosquitto.address);
    let account = Account::classic(&simulator.endpoint(), &[TOPIC]);
    let blocks = |sink: config::Sink| sink.line("on_full = \"block\"");
    Config::in_folder(disk)
        .line("shutdown_timeout = \"10s\"")
        .account("acme", &account)
        .sink("lake", &blocks(config::Sink::kafka(&brokers.kafka.address)))
        .sink(
            "work",
            &blocks(config::Sink::amqp(&amqp).line(exchange).line(queue)),
        )
        .sink("iot", &blocks(config::Sink::mqtt(&mqtt)))
        .route(&Route::all("lake").destination(name))
        .route(&Route::all("work").destination("central.{topic}"))
        .route(&Route::all("iot").destination(&format!("{name}/{{topic}}")))
}

/// The state's disk: a small one of its own where we may mount one, else a folder that cannot be
/// filled.
struct Disk {
    folder: TempDir,
    is_mounted: bool,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let is_mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK}"), "chaos"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !is_mounted {
            println!("no disk can be mounted here: none is filled");
        }
        Self { folder, is_mounted }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self) -> PathBuf {
        self.path().join("config.toml")
    }

    /// Takes all the room that is left; gives the file that does.
    fn fill(&self) -> PathBuf {
        let ballast = self.path().join("ballast");
        if self.is_mounted {
            let chunk = [0; 4096];
            let mut file = fs::File::create(&ballast).unwrap();
            while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
        } else {
            fs::write(&ballast, "").unwrap();
        }
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily: the forwarder may be just ending.
            let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        }
    }
}
