//! The commands as a user types them: what they print, and their exit codes.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use central_forwarder::simulator::TOPICS;
use serde_json::Value;

use support::eventually;
use support::forwarder::Forwarder;
use support::kept::keep_output;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(support::program());
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    // A command that does not read its input closes it.
    let _ = writer.join().expect("the writer does not panic");
    keep_output(output)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).expect("text is printed")
}

#[test]
fn check_names_five_mistakes_at_once_with_their_places() {
    let file = format!("{FIXTURES}/config/five-mistakes.toml");
    let output = command(&["check", "-c", &file])
        .env("ACME_KEY", "the key")
        .output()
        .expect("the binary can be run");
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    let places: Vec<&str> = said
        .lines()
        .map(|line| {
            let after = line
                .strip_prefix(&format!("{file}:"))
                .expect("the file first");
            after
                .split(": ")
                .nth(1)
                .expect("the key's path after the place")
        })
        .collect();
    assert_eq!(
        places,
        [
            "shutdown_timeout",
            "accounts.acme.endpoint",
            "accounts.acme.topics[1]",
            "sinks.lake.brokes",
            "routes[1].sink"
        ],
        "{said}"
    );
}

#[test]
fn check_says_what_there_is() {
    for example in ["quickstart.toml", "rabbitmq.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("config")
            .join(example);
        let output = run(&["check", "-c", path.to_str().unwrap()], b"");
        assert_eq!(
            text(&output.stdout),
            "ok: 1 account, 6 subscriptions, 1 sink, 1 route\n"
        );
        assert_eq!(text(&output.stderr), "", "{example}");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn check_asks_librdkafka_about_its_properties() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let quickstart = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/config/quickstart.toml"
    ));
    let options = "options = { \"compresion.type\" = \"zstd\", \"acks\" = \"some\" }\n[[routes]]";
    fs::write(&file, quickstart.unwrap().replace("[[routes]]", options)).unwrap();
    let output = run(&["check", "-c", file.to_str().unwrap()], b"");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("librdkafka has no such property"), "{said}");
    assert!(
        said.contains("librdkafka does not take this value"),
        "{said}"
    );
    let quickstart = fs::read_to_string(&file).unwrap();
    let together = quickstart.replace(options, "options = { \"acks\" = 1 }\n[[routes]]");
    fs::write(&file, together).unwrap();
    let output = run(&["check", "-c", file.to_str().unwrap()], b"");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("sinks.kafka.options: librdkafka says: "),
        "{said}"
    );
    assert!(said.contains("`acks` must be set to `all`"), "{said}");
}

#[test]
fn check_connect_says_of_each_sink_what_answered_or_what_failed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let config = format!(
        r#"
        [accounts.acme]
        generation = "classic"
        endpoint = "ws://127.0.0.1:9/streaming/api"
        key = "k"
        topics = ["audit"]
        [sinks.away]
        type = "kafka"
        brokers = ["127.0.0.1:9"]
        [sinks.nowhere]
        type = "file"
        path = "/no/such/folder/events"
        [sinks.there]
        type = "file"
        path = "{}/events"
        [[routes]]
        topics = "*"
        sink = "away"
        destination = "central"
        "#,
        folder.path().display()
    );
    fs::write(&file, config).unwrap();
    let output = run(&["check", "--connect", "-c", file.to_str().unwrap()], b"");
    let said = text(&output.stdout);
    let sinks: Vec<&str> = said.lines().filter(|l| l.starts_with("sink ")).collect();
    let [away, nowhere, there] = sinks[..] else {
        panic!("{said}")
    };
    let refused = "sink away: failed: 127.0.0.1:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed";
    assert!(away.starts_with(refused), "{away}");
    assert_eq!(
        nowhere,
        "sink nowhere: failed: /no/such/folder/events: there is no folder /no/such/folder"
    );
    assert!(there.ends_with("/events will be created"), "{there}");
    assert_eq!(output.status.code(), Some(1));
}

/// A simulator, and where it is: its own first line says so.
fn simulator(arguments: &[&str]) -> (Forwarder, String) {
    let all = [&["simulate", "--listen", "127.0.0.1:0"], arguments].concat();
    let mut simulator = Forwarder::start(&all);
    let mut host = None;
    eventually(
        Duration::from_secs(20),
        "the simulator says where it is",
        || {
            assert!(simulator.is_running(), "{}", simulator.stderr());
            let said = simulator.stdout();
            let found = said
                .split("ws://")
                .nth(1)
                .and_then(|rest| rest.split('/').next());
            host = found.map(str::to_owned);
            said.contains('\n') && host.is_some()
        },
    );
    (simulator, host.expect("it was waited for"))
}

#[test]
fn import_and_input_json_and_check_connect_lead_from_hpes_client_to_ours() {
    let (_simulator, host) = simulator(&["--rate", "50"]);
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.json");
    let customers = r#"{"customers": {
        "acme": {"username": "a@acme", "wsskey": "simulated-key", "topic": "audit"},
        "Globex Ltd": {"username": "", "wsskey": "wr0ng-key", "topic": "presence"}}}"#;
    fs::write(&input, customers).expect("a file");
    let output = run(
        &["import", input.to_str().unwrap(), "--hostname", &host],
        b"",
    );
    let config = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        config.contains("[accounts.Globex_Ltd]") && !config.contains("wr0ng-key"),
        "{config}"
    );
    let file = folder.path().join("imported.toml");
    // The simulator has no certificate.
    fs::write(&file, config.replace("wss://", "ws://")).expect("a file");

    let output = run(&["check", "--connect", "-c", file.to_str().unwrap()], b"");
    let said = text(&output.stdout);
    assert!(
        said.contains("account acme: ok: Central streams audit"),
        "{said}"
    );
    assert!(
        said.contains("account Globex_Ltd: failed: presence: Central refused the key"),
        "{said}"
    );
    assert!(!said.contains("wr0ng-key"), "{said}");
    assert_eq!(output.status.code(), Some(1));

    let tail = [
        "tail",
        "-c",
        file.to_str().unwrap(),
        "--account",
        "acme",
        "--count",
        "3",
    ];
    let output = run(&tail, b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for line in text(&output.stdout).lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(record["topic"], "audit");
    }
    assert_eq!(text(&output.stdout).lines().count(), 3);
}

#[test]
fn tail_shows_a_topic_of_either_generation_and_ends_at_a_refusal() {
    let (_simulator, host) = simulator(&["--rate", "50"]);
    let classic = format!("ws://{host}/streaming/api");
    let tail = |arguments: &[&str]| run(&[&["tail", "--count", "2"], arguments].concat(), b"");
    let output = tail(&[
        "--endpoint",
        &classic,
        "--key",
        "simulated-key",
        "--topic",
        "security",
    ]);
    let said = text(&output.stdout);
    assert_eq!(said.lines().count(), 2, "{}", text(&output.stderr));
    assert!(said.contains("\"topic\":\"security\""), "{said}");

    let (new, tokens) = (
        format!("ws://{host}"),
        format!("http://{host}/as/token.oauth2"),
    );
    let output = tail(&[
        "--endpoint",
        &new,
        "--client-id",
        "simulated-id",
        "--client-secret",
        "simulated-secret",
        "--token-url",
        &tokens,
        "--topic",
        "ap-events",
    ]);
    let said = text(&output.stdout);
    assert_eq!(said.lines().count(), 2, "{}", text(&output.stderr));
    assert!(said.contains("\"topic\":\"ap-events\""), "{said}");

    let output = tail(&[
        "--endpoint",
        &classic,
        "--key",
        "wr0ng",
        "--topic",
        "security",
    ]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("refused the key") && !said.contains("wr0ng"),
        "{said}"
    );
}

#[test]
fn bad_usage_and_a_bad_config_are_told_from_failures() {
    for arguments in [
        &["run", "-c", "/no/such/file.toml"][..],
        &["check", "-c", "/no/such/file.toml"],
        &["nonsense"],
        &["decode", "--generation", "modern", "--topic", "x"],
        &["decode", "--generation", "new", "--topic", "no/stream"],
        &["simulate", "--listen", "nowhere"],
        &["demo", "--seconds", "0"],
    ] {
        let output = run(arguments, b"");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(!said.is_empty() && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn decode_agrees_with_googles_runtime_on_every_conformance_frame() {
    let conformance = fs::read_to_string(format!("{FIXTURES}/conformance/classic.ndjson")).unwrap();
    let cases: Vec<Value> = conformance
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut compared = 0;
    for topic in TOPICS {
        let cases: Vec<&Value> = cases.iter().filter(|case| case["topic"] == topic).collect();
        let frames: Vec<&str> = cases
            .iter()
            .filter_map(|case| case["frame"].as_str())
            .collect();
        let arguments = [
            "decode",
            "--generation",
            "classic",
            "--json",
            "canonical",
            "--topic",
        ];
        let output = run(
            &[&arguments[..], &[topic]].concat(),
            frames.join("\n").as_bytes(),
        );
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let printed = text(&output.stdout);
        assert_eq!(printed.lines().count(), cases.len(), "{topic}");
        for (line, case) in printed.lines().zip(cases) {
            let record: Value = serde_json::from_str(line).expect("a record is JSON");
            assert_eq!(record["type"], case["type"]);
            assert_eq!(
                record["data"], case["canonical"],
                "{topic}, {}",
                case["name"]
            );
            compared += 1;
        }
    }
    assert_eq!(compared, cases.len());
}

#[test]
fn decode_goes_on_after_a_bad_frame_and_exits_1_at_the_end() {
    let conformance = fs::read_to_string(format!("{FIXTURES}/conformance/classic.ndjson")).unwrap();
    let frames: Vec<String> = conformance
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|case| case["topic"] == "security")
        .map(|case| case["frame"].as_str().unwrap().to_owned())
        .collect();
    let input = format!("{}\nGgX/\n{}\n", frames[0], frames[1]);
    let arguments = ["decode", "--generation", "classic", "--topic", "security"];
    let output = run(&arguments, input.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout).lines().count(), 2);
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("frame 2") && said.contains("at byte 1"),
        "{said}"
    );

    let output = run(&arguments, format!("{}\n", frames[0]).as_bytes());
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_damaged_descriptor_set_is_a_mistake_and_not_the_end_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("damaged.binpb");
    let corpus = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fuzz/corpus/descriptors/a-name-twice"
    );
    fs::copy(corpus, &file).unwrap();
    let schema = ["--schema", file.to_str().unwrap()];
    let decode = ["decode", "--generation", "classic", "--topic", "security"];
    let output = run(&[&decode[..], &schema].concat(), b"");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("do not fit together"), "{said}");
}

#[test]
fn the_demo_loses_nothing() {
    let output = run(&["demo", "--seconds", "2"], b"");
    let said = text(&output.stdout);
    let summary = said.lines().last().expect("a summary");
    assert_eq!(
        summary,
        "sent 1400, forwarded 1400, read back 1400, lost 0",
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused() {
    const A_WHILE: Duration = Duration::from_secs(30);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let quickstart = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/config/quickstart.toml"
    ));
    let state = folder.path().join("state");
    // Nobody listens there: neither Central nor Kafka.
    let config = quickstart
        .unwrap()
        .replace("target/quickstart", state.to_str().unwrap())
        .replace("127.0.0.1:9443", "127.0.0.1:1")
        .replace("127.0.0.1:9092", "127.0.0.1:1");
    fs::write(&file, config).unwrap();
    let arguments = ["run", "-c", file.to_str().unwrap()];

    let mut first = Forwarder::start(&arguments);
    first.wait_for_stderr(A_WHILE, "refused");
    let second = run(&arguments, b"");
    let said = text(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{said}");
    let owner = format!("in use by another process (pid {})", first.pid());
    assert!(said.contains(&owner), "{said}");

    first.terminate();
    assert_eq!(first.wait(A_WHILE).code(), Some(0), "{}", first.stderr());
}
