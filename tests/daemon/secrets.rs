//! No secret gets out, wherever it stands and however much is logged.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use central_forwarder::config::secret::Secret;
use central_forwarder::simulator::{Options, Simulator};

use support::config::{Account, Config, Route, Sink};
use support::eventually;
use support::forwarder::Forwarder;
use support::http::ask;
use support::kept::keep;

const PATIENCE: Duration = Duration::from_secs(60);

/// Nobody listens there.
const NOBODY: &str = "127.0.0.1:1";

fn search(folder: &Path) -> Output {
    let script = support::brokers::repository().join("scripts/secrets");
    Command::new(script).arg(folder).output().unwrap()
}

#[test]
fn the_search_finds_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let found = |text: &str| {
        fs::write(folder.path().join("log"), text).unwrap();
        let output = search(folder.path());
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), said)
    };
    assert_eq!(found("").0, Some(1), "nothing was kept");
    assert_eq!(found("connected\nall is well\n").0, Some(0));
    for leak in [
        "key=simulated-key",
        "Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.x",
        "amqp://user:s3cret-of-amqp@rabbit",
        "\0binary simulated-secret",
    ] {
        let (code, said) = found(&format!("connected\n{leak}\n"));
        assert_eq!(code, Some(1), "{leak}");
        assert!(said.contains("log:2"), "{said}");
        assert!(!said.contains(leak), "it is not repeated: {said}");
    }
}

/// Every place of a config that holds a secret, each with another one.
fn config(simulator: &Simulator, folder: &Path, classic_key: &str) -> Config {
    let classic = |key: &str| Account::classic_with_key(&simulator.endpoint(), &["audit"], key);
    let proxied = classic("s3cret-proxied-key")
        .line(format!("proxy = \"http://user:s3cret-of-proxy@{NOBODY}\""));
    let events = ["ap-events"];
    let stranger = Account::new_central_with_secret(simulator, &events, "s3cret-wrong-secret");
    let kafka_options = "\"security.protocol\" = \"sasl_plaintext\"\n\"sasl.mechanism\" = \"PLAIN\"\n\
                         \"sasl.username\" = \"user\"\n\"sasl.password\" = \"s3cret-of-kafka\"\n\
                         \"debug\" = \"all\"\n";
    let amqp = Sink::amqp(&format!("amqp://user:s3cret-of-amqp@{NOBODY}/%2f"))
        .line("exchange = { name = \"central\" }");
    let mqtt = Sink::mqtt(&format!("mqtt://{NOBODY}"))
        .line("username = \"user\"\npassword = \"s3cret-of-mqtt\"");
    let config = Config::in_folder(folder)
        .line("log = { filter = \"trace\" }")
        .admin("token = \"s3cret-of-the-admin-endpoint\"")
        .account("good", &classic(classic_key))
        .account("wrong", &classic("s3cret-wrong-key"))
        .account("proxied", &proxied)
        .account("tenant", &Account::new_central(simulator, &events))
        .account("stranger", &stranger)
        .sink("lake", &Sink::kafka(NOBODY))
        .table("sinks.lake.options", kafka_options)
        .sink("work", &amqp)
        .sink("iot", &mqtt);
    ["lake", "work", "iot"].iter().fold(config, |config, sink| {
        config.route(&Route::all(sink).destination("central"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_printed_or_dumped() {
    let simulator = Simulator::start(Options {
        key_lifetime: Some(Duration::from_secs(2)),
        key: Secret::literal("simulated-key"),
        ..Options::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = config(&simulator, folder.path(), simulator.key().expose());
    let path = config.write(folder.path());
    let mut forwarder = Forwarder::run(&path);
    let handshakes = |status: u16| {
        let all = simulator.handshakes();
        all.iter().filter(|shake| shake.status == status).count()
    };
    eventually(PATIENCE, "keys are renewed, and refused", || {
        handshakes(101) >= 4 && handshakes(401) >= 1
    });
    for sink in ["lake", "work", "iot"] {
        forwarder.wait_for_stderr(PATIENCE, sink);
    }
    let admin = forwarder.admin(PATIENCE);
    fs::write(
        &path,
        config
            .text()
            .replace("s3cret-wrong-key", "s3cret-changed-key"),
    )
    .unwrap();
    forwarder.signal("HUP");
    forwarder.wait_for_stderr(PATIENCE, "reloaded: ");

    let said = tempfile::tempdir().unwrap();
    let add = |name: &str, text: String| {
        keep(name, &text);
        fs::write(said.path().join(name), text).unwrap();
    };
    let token = [("Authorization", "Bearer s3cret-of-the-admin-endpoint")];
    for (name, path) in [
        ("metrics", "/metrics"),
        ("status", "/api/status"),
        ("page", "/"),
        ("ready", "/readyz"),
    ] {
        let answer = ask(admin, "GET", path, &token);
        assert!(matches!(answer.code, 200 | 503), "{path}: {}", answer.code);
        add(name, answer.body);
    }
    let no_environment = std::iter::empty();
    let loaded =
        central_forwarder::config::load(std::slice::from_ref(&path), no_environment, |_, _| Ok(()))
            .unwrap();
    add("debug", format!("{loaded:?}"));
    let mut check = Forwarder::start(&["check", "--connect", "-c", path.to_str().unwrap()]);
    check.wait(PATIENCE);
    add("check", check.stdout() + &check.stderr());
    forwarder.terminate();
    forwarder.wait(PATIENCE);
    add("log", forwarder.stdout() + &forwarder.stderr());
    let found = search(said.path());
    let found = String::from_utf8(found.stdout).unwrap();
    assert!(found.starts_with("no secret is in"), "{found}");
    simulator.stop().await;
}
