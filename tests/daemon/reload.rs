//! A reload touches only what differs: everything else goes on as if nothing had happened.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator, sequence_of};
use serde_json::Value;

use support::authority::Authority;
use support::config::{Account, Config, Route, Sink};
use support::eventually;
use support::forwarder::Forwarder;

const RELOADS: usize = 100;
/// Frames a second on each connection.
const RATE: u32 = 2000;
const A_WHILE: Duration = Duration::from_secs(60);

/// Everything but `steady` and the topic `monitoring` is another in each round.
fn config(folder: &Path, endpoint: &str, round: usize) -> Config {
    let odd = round % 2 == 1;
    let topics: &[&str] = if odd {
        &["monitoring", "security"]
    } else {
        &["monitoring"]
    };
    let json = if odd { "readable" } else { "canonical" };
    let username = format!("username = \"round-{round}@globex.example\"");
    let globex = Account::classic(endpoint, &["presence"]).line(username);
    let steady =
        Sink::file(&folder.join("steady")).line(format!("max_backlog = \"{} MiB\"", 200 + round));
    let moving = Sink::file(&folder.join(format!("moving-{round}")));
    let config = Config::in_folder(folder)
        .account("acme", &Account::classic(endpoint, topics))
        .account("globex", &globex)
        .sink("steady", &steady)
        .sink("moving", &moving)
        .route(&Route::of(&["monitoring"], "steady").line("accounts = [\"acme\"]"))
        .route(&Route::of(&["presence"], "moving").line(format!("json = \"{json}\"")));
    if odd {
        config
            .sink("extra", &Sink::file(&folder.join("extra")))
            .route(&Route::of(&["security"], "extra"))
    } else {
        config
    }
}

/// The numbers of the frames in a file of JSON lines, in its order.
fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let number = |line: &str| {
        let record: Value = serde_json::from_str(line).expect("a whole record a line");
        sequence_of(record["topic"].as_str()?, &record["data"])
    };
    text.lines()
        .map(|line| number(line).expect("a number"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_under_load_lose_nothing_and_repeat_nothing_that_did_not_change() {
    let simulator = Simulator::start(Options {
        rate: RATE,
        ..Options::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |round| {
        let config = config(folder.path(), &simulator.endpoint(), round);
        config.write(folder.path())
    };
    let file = write(0);
    let mut forwarder = Forwarder::run(&file);
    let sent = || simulator.sent();
    forwarder.wait_for_stderr(A_WHILE, " connected");

    for round in 1..=RELOADS {
        write(round);
        if round % 10 == 5 {
            // Nothing of it must come into effect.
            let broken = fs::read_to_string(&file).unwrap() + "\n[sinks.moving.nonsense]\n";
            fs::write(&file, broken.replace("moving-", "wrong-")).unwrap();
            reload(&mut forwarder, "not reloaded: the config has mistakes");
            write(round);
        }
        let before = sent();
        reload(&mut forwarder, "reloaded: accounts.acme (topics changed), ");
        eventually(A_WHILE, "frames after the reload", || {
            let now = sent();
            ["monitoring", "presence"]
                .iter()
                .all(|topic| now[topic].frames > before[topic].frames)
        });
    }
    forwarder.terminate();
    assert_eq!(forwarder.wait(A_WHILE).code(), Some(0));
    let said = forwarder.stderr();
    assert!(said.contains("left_in_journal=0"), "{said}");
    let sent = sent();
    simulator.stop().await;

    let steady = numbers(&folder.path().join("steady"));
    let all: Vec<u64> = (1..=sent["monitoring"].frames).collect();
    assert!(
        steady == all,
        "the unchanged part lost, repeated or disordered"
    );
    assert_eq!(connects(&said, "acme/monitoring"), 1);

    let moving: Vec<u64> = (0..=RELOADS)
        .flat_map(|round| numbers(&folder.path().join(format!("moving-{round}"))))
        .collect();
    let different: BTreeSet<u64> = moving.iter().copied().collect();
    // A number that was given to a frame just as its connection was closed was never sent.
    let sent = usize::try_from(sent["presence"].frames).unwrap();
    assert!(different.len() >= sent, "lost {}", sent - different.len());
    // Changes that come while a connection is being replaced have one more between them.
    let replaced = connects(&said, "globex/presence");
    assert!((2..=RELOADS + 1).contains(&replaced), "{replaced}");
    assert!(!folder.path().join("wrong-5").exists());
    println!(
        "{RELOADS} reloads: unchanged {} frames, lost 0, repeated 0; \
         changed {} frames, lost 0, repeated {}",
        steady.len(),
        different.len(),
        moving.len() - different.len(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_was_replaced_in_its_file_is_believed_after_a_reload() {
    let simulator = Simulator::start(Options {
        tls: true,
        ..Options::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, Authority::new().pem).unwrap();
    let account = Account::classic(&simulator.endpoint(), &["audit"])
        .line(format!("tls = {{ ca_file = \"{}\" }}", ca_file.display()));
    let config = Config::in_memory()
        .account("acme", &account)
        .sink("screen", &Sink::stdout())
        .route(&Route::all("screen"))
        .write(folder.path());
    let mut forwarder = Forwarder::run(&config);
    forwarder.wait_for_stderr(A_WHILE, "is not trusted");
    reload(&mut forwarder, "reloaded: nothing has changed");

    fs::write(&ca_file, simulator.certificate().unwrap()).unwrap();
    reload(&mut forwarder, "reloaded: accounts.acme (changed)");
    forwarder.wait_for_stderr(A_WHILE, " connected");
    simulator.stop().await;
}

/// SIGHUP, and waits until the log has said once more how it went.
fn reload(forwarder: &mut Forwarder, outcome: &str) {
    let count = |forwarder: &Forwarder| forwarder.stderr().matches(outcome).count();
    let before = count(forwarder);
    forwarder.signal("HUP");
    eventually(A_WHILE, outcome, || {
        assert!(forwarder.is_running(), "{}", forwarder.stderr());
        count(forwarder) > before
    });
}

/// How often a subscription was connected.
fn connects(log: &str, subscription: &str) -> usize {
    let lines = log.lines();
    let connected = lines.filter(|line| line.contains(" connected") && line.contains(subscription));
    connected.count()
}
