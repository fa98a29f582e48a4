//! HPE's own clients, unchanged, against the simulator: what they can read there, ours may rely on.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use central_forwarder::simulator::{
    EVENTS, Options, Simulator, TOPICS, sequence_of, sequence_of_frame,
};
use serde_json::Value;

use support::python::{Python, lines, write};

const PYCENTRAL: [&str; 1] = ["pycentral==2.0a25"];
const WEBSOCKET_CLIENT: [&str; 1] = ["websocket-client==1.9.2"];

async fn simulator(options: Options) -> Simulator {
    let options = Options {
        tls: true,
        ..options
    };
    Simulator::start(options).await.unwrap()
}

fn names() -> [&'static str; 8] {
    EVENTS.map(|path| path.rsplit('/').next().expect("a path has parts"))
}

/// Events as HPE's `Streaming` has decoded them, until each has had `count`.
fn stream(python: &Python, simulator: &Simulator, events: &[&str], count: usize) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let certificate = write(folder.path(), "ca.pem", simulator.certificate().unwrap());
    let host = simulator.addr().to_string();
    let mut script = python.script("hpe_new_central.py");
    script
        .args([&host, "simulated-id", "simulated-secret"])
        .arg(count.to_string())
        .args(events)
        .env("REQUESTS_CA_BUNDLE", certificate);
    tokio::task::block_in_place(|| lines(&mut script))
}

fn numbers(lines: &[String]) -> BTreeMap<String, Vec<u64>> {
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in lines {
        let line: Value = serde_json::from_str(line).unwrap();
        let event = line["event"].as_str().unwrap();
        let number = sequence_of(event, &line["data"]);
        let number = number.unwrap_or_else(|| panic!("{event} has no number: {line}"));
        numbers.entry(event.to_owned()).or_default().push(number);
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn pycentral_streams_all_eight_events() {
    const COUNT: usize = 130;
    let Some(python) = Python::with("pycentral", &PYCENTRAL) else {
        return;
    };
    let simulator = simulator(Options {
        rate: 200,
        count: Some(COUNT as u64),
        ..Options::default()
    })
    .await;
    let numbers = numbers(&stream(&python, &simulator, &names(), COUNT));
    let all: Vec<u64> = (1..=COUNT as u64).collect();
    for event in names() {
        assert_eq!(numbers.get(event), Some(&all), "{event}");
    }
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pycentral_gets_a_new_token_and_what_was_kept_for_it() {
    const COUNT: usize = 200;
    let Some(python) = Python::with("pycentral", &PYCENTRAL) else {
        return;
    };
    let simulator = simulator(Options {
        rate: 200,
        faults: vec!["expired-key,after=50".parse().unwrap()],
        ..Options::default()
    })
    .await;
    let numbers = numbers(&stream(&python, &simulator, &["ap-events"], COUNT));
    let all: Vec<u64> = (1..=COUNT as u64).collect();
    assert_eq!(numbers["ap-events"], all);
    let statuses: Vec<u16> = simulator
        .handshakes()
        .iter()
        .map(|shake| shake.status)
        .collect();
    assert_eq!(statuses, [101, 401, 101]);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_client_reads_every_classic_topic_over_the_end_of_its_key() {
    const COUNT: usize = 20;
    let Some(python) = Python::with("websocket-client", &WEBSOCKET_CLIENT) else {
        return;
    };
    let simulator = simulator(Options {
        rate: 50,
        key_lifetime: Some(Duration::from_secs(1)),
        ..Options::default()
    })
    .await;
    for topic in TOPICS {
        let mut script = python.script("hpe_classic.py");
        script
            .args([
                &simulator.addr().to_string(),
                simulator.key().expose(),
                topic,
            ])
            .args([&COUNT.to_string(), "2"]);
        let frames = tokio::task::block_in_place(|| lines(&mut script));
        let number =
            |frame: &String| sequence_of_frame(&BASE64_STANDARD.decode(frame).unwrap()).unwrap();
        let numbers: Vec<u64> = frames.iter().map(number).collect();
        let all: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert!(numbers.len() >= COUNT, "{topic}: {numbers:?}");
        assert_eq!(numbers, all, "{topic}");
    }
    simulator.stop().await;
}
