//! A reload touches only what differs: everything else goes on as if nothing had happened.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator, sequence_of};
use serde_json::Value;

use support::authority::Authority;
use support::eventually;
use support::forwarder::Forwarder;

const RELOADS: usize = 100;
/// Frames a second on each connection.
const RATE: u32 = 2000;
const A_WHILE: Duration = Duration::from_secs(60);

/// Everything but `steady` and the topic `monitoring` is another in each round.
fn config(folder: &Path, endpoint: &str, round: usize) -> String {
    let odd = round % 2 == 1;
    let more_topics = if odd { r#", "security""# } else { "" };
    let json = if odd { "readable" } else { "canonical" };
    let backlog = 200 + round;
    let mut text = format!(
        r#"
        state_dir = "{state}"
        [accounts.acme]
        generation = "classic"
        endpoint = "{endpoint}"
        key = "simulated-key"
        topics = ["monitoring"{more_topics}]
        [accounts.globex]
        generation = "classic"
        endpoint = "{endpoint}"
        key = "simulated-key"
        username = "round-{round}@globex.example"
        topics = ["presence"]

        [sinks.steady]
        type = "file"
        path = "{folder}/steady"
        max_backlog = "{backlog} MiB"
        [sinks.moving]
        type = "file"
        path = "{folder}/moving-{round}"

        [[routes]]
        topics = ["monitoring"]
        accounts = ["acme"]
        sink = "steady"
        [[routes]]
        topics = ["presence"]
        sink = "moving"
        json = "{json}"
        "#,
        state = folder.join("state").display(),
        folder = folder.display(),
    );
    if odd {
        write!(
            text,
            r#"
            [sinks.extra]
            type = "file"
            path = "{}/extra"
            [[routes]]
            topics = ["security"]
            sink = "extra"
            "#,
            folder.display()
        )
        .unwrap();
    }
    text
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
    let file = folder.path().join("config.toml");
    let write = |round| {
        let text = config(folder.path(), &simulator.endpoint(), round);
        fs::write(&file, text).unwrap();
    };
    write(0);
    let mut forwarder = Forwarder::start(&["run", "-c", file.to_str().unwrap()]);
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
    let text = format!(
        r#"
        [accounts.acme]
        generation = "classic"
        endpoint = "{endpoint}"
        key = "simulated-key"
        topics = ["audit"]
        tls = {{ ca_file = "{ca_file}" }}
        [sinks.screen]
        type = "stdout"
        [[routes]]
        topics = "*"
        sink = "screen"
        "#,
        endpoint = simulator.endpoint(),
        ca_file = ca_file.display(),
    );
    let file = folder.path().join("config.toml");
    fs::write(&file, text).unwrap();
    let mut forwarder = Forwarder::start(&["run", "-c", file.to_str().unwrap()]);
    forwarder.wait_for_stderr(A_WHILE, "is not trusted");
    reload(&mut forwarder, "reloaded: nothing differs");

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
