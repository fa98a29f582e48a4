//! Several files, folders and environment variables: which wins, and whose place is named.

use std::path::Path;
use std::time::Duration;

use central_forwarder::config::{LogFormat, Sink};

use crate::operator::{Operator, assert_mistakes, classic, topics, with};

#[test]
fn a_broken_file_hides_neither_its_other_mistakes_nor_those_of_other_files() {
    let broken = "state_dir = \"unclosed\nshutdown_timeout = 5\n[accounts.x\n\n[accounts.acme]\nkey = 1\nkey = 2\n";
    let other = "[sinks.a]\ntype = \"stdou\"\n";
    assert_mistakes(
        &Operator::new().file("a.toml", broken).file("b.toml", other),
        &[
            "a.toml:1:22: not TOML: invalid basic string, expected `\"`",
            "a.toml:2:1: shutdown_timeout: is an integer (write a duration, such as \"30s\")",
            "a.toml:3:12: not TOML: unclosed table, expected `]`",
            "a.toml:6:1: accounts.acme.key: is an integer (write a string, { file = \"PATH\" } \
             or { env = \"NAME\" })",
            "a.toml:7:1: not TOML: duplicate key",
            "b.toml:2:1: sinks.a.type: unknown value `stdou` (did you mean `stdout`?)",
        ],
    );
}

#[test]
fn a_later_file_wins_key_by_key() {
    let over = "[accounts.acme]\ntopics = [\"audit\"]\nusername = \"ops@acme.example\"\n";
    let config = with("", "").file("over.toml", over).config();
    let acme = &config.accounts["acme"];
    assert_eq!(topics(acme), ["audit"]);
    assert_eq!(classic(acme).username.as_deref(), Some("ops@acme.example"));
    assert_eq!(classic(acme).key.expose(), "hunter2");
}

#[test]
fn a_mistake_has_the_place_of_the_layer_that_won() {
    let over = "\n[sinks.lake]\nbrokers = [\"kafka-1:9092\", \"nowhere\"]\n";
    assert_mistakes(
        &with("", "").file("over.toml", over),
        &[
            "over.toml:3:28: sinks.lake.brokers[1]: `nowhere` is not HOST:PORT (write \"kafka-1:9092\")",
        ],
    );
}

#[test]
fn a_folder_stands_for_its_toml_files_and_their_routes_add_up() {
    let customer = |name: &str| {
        format!(
            "[accounts.{name}]\ngeneration = \"classic\"\nendpoint = \"wss://central.example/\"\n\
             key = {{ env = \"ACME_KEY\" }}\ntopics = [\"audit\"]\n\n[[routes]]\ntopics = \"*\"\n\
             accounts = \"{name}\"\nsink = \"lake\"\ndestination = \"{name}.{{topic}}\"\n"
        )
    };
    let mut operator = with("", "")
        .file("20-globex.toml", &customer("globex"))
        .file("10-initech.toml", &customer("initech"))
        .file("30-ignored.toml.bak", "not TOML");
    operator.files = vec![operator.folder.path().to_owned()];
    let config = operator.config();
    assert_eq!(
        config.accounts.keys().collect::<Vec<_>>(),
        ["acme", "globex", "initech"]
    );
    let destinations = config
        .routes
        .iter()
        .map(|route| route.destination.to_string());
    assert_eq!(
        destinations.collect::<Vec<_>>(),
        ["initech.{topic}", "globex.{topic}", "central.{topic}"]
    );

    let wrong = customer("hooli").replace("lake", "pond");
    let operator = operator.file("40-hooli.toml", &wrong);
    let folder = [operator.folder.path().to_owned()];
    let mistakes = operator.load_paths(&folder).unwrap_err().to_string();
    assert_eq!(
        operator.lines(&mistakes),
        ["40-hooli.toml:10:1: routes[2].sink: there is no sink `pond` (there are lake)"]
    );
}

#[test]
fn variables_override_the_files() {
    let config = with("[accounts.acme]", "[accounts.Acme-Corp]")
        .variable("CENTRAL_FORWARDER__STATE_DIR", "/elsewhere")
        .variable("CENTRAL_FORWARDER__SHUTDOWN_TIMEOUT", "5s")
        .variable("CENTRAL_FORWARDER__LOG__FORMAT", "json")
        .variable("CENTRAL_FORWARDER__JOURNAL__SEGMENT_BYTES", "1048576")
        .variable("CENTRAL_FORWARDER__ACCOUNTS__ACME_CORP__KEY", "{12345}")
        .variable(
            "CENTRAL_FORWARDER__ACCOUNTS__ACME_CORP__TOPICS",
            "[\"audit\", \"apprf\"]",
        )
        .variable(
            "CENTRAL_FORWARDER__ACCOUNTS__ACME_CORP__TLS__VERIFY",
            "false",
        )
        .variable("CENTRAL_FORWARDER__SINKS__LAKE__BROKERS", "a:1, b:2")
        .variable("CENTRAL_FORWARDER__SINKS__LAKE__OPTIONS__LINGER_MS", "5")
        .variable("CENTRAL_FORWARDER__ROUTES__0__DESTINATION", "other")
        .variable("CENTRAL_FORWARDER_LOG", "not ours")
        .config();
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("/elsewhere")));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(5));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.journal.segment_bytes, 1 << 20);
    let acme = &config.accounts["Acme-Corp"];
    assert_eq!(classic(acme).key.expose(), "{12345}");
    assert_eq!(topics(acme), ["apprf", "audit"]);
    assert!(acme.tls.insecure);
    let Sink::Kafka(lake) = &config.sinks["lake"] else {
        panic!("lake is a Kafka");
    };
    assert_eq!(lake.brokers, ["a:1", "b:2"]);
    assert_eq!(lake.options["linger.ms"].expose(), "5");
    assert_eq!(config.routes[0].destination.to_string(), "other");
}

#[test]
fn a_variable_can_hold_a_whole_sink() {
    let sink = |text: &str| with("", "").variable("CENTRAL_FORWARDER__SINKS__SCREEN", text);
    let config = sink("{ type = \"file\", path = \"/tmp/x\" }").config();
    let Sink::File(file) = &config.sinks["screen"] else {
        panic!("screen is a file");
    };
    assert_eq!(file.path, Path::new("/tmp/x"));
    let wrong = sink("{ type = \"file\", path = \"/tmp/x\", brokers = \"a:1\", rotat = {} }");
    let mistakes = [
        "sinks.screen.brokers: is for sinks of type kafka, and this one is file (leave it out)",
        "sinks.screen.rotat: unknown key (did you mean `rotate`?)",
    ];
    assert_mistakes(
        &wrong,
        &mistakes.map(|line| format!("CENTRAL_FORWARDER__SINKS__SCREEN: {line}")),
    );
}

#[test]
fn a_mistake_in_a_variable_has_its_name_for_a_place() {
    let operator = with("", "")
        .variable("CENTRAL_FORWARDER__SINKS__LAKE__TYP", "kafka")
        .variable("CENTRAL_FORWARDER__ACCOUNTS__ACME__TOPICS", "audit,securty")
        .variable("CENTRAL_FORWARDER__ACCOUNTS__ACME__TLS__VERIFY", "perhaps")
        .variable("CENTRAL_FORWARDER__ROUTES__1__SINK", "lake")
        .variable("CENTRAL_FORWARDER__ACCOUNTS__NEW__USERNAME", "me")
        .variable("CENTRAL_FORWARDER__LOG__", "x");
    let mistakes = [
        "ACCOUNTS__ACME__TLS__VERIFY: accounts.acme.tls.verify: is a string (write true or false)",
        "ACCOUNTS__ACME__TOPICS: accounts.acme.topics: unknown topic `securty` (did you mean \
         `security`?)",
        "ACCOUNTS__NEW__USERNAME: accounts.new.endpoint: is missing (write endpoint = \
         \"wss://HOST/streaming/api\")",
        "ACCOUNTS__NEW__USERNAME: accounts.new.generation: is missing (write generation = \
         \"classic\" or \"new\")",
        "ACCOUNTS__NEW__USERNAME: accounts.new.key: is missing (write key = { file = \"PATH\" })",
        "ACCOUNTS__NEW__USERNAME: accounts.new.topics: is missing (write topics = \
         [\"monitoring\"])",
        "LOG__: names no key (write CENTRAL_FORWARDER__KEY or CENTRAL_FORWARDER__KEY__KEY)",
        "ROUTES__1__SINK: `routes` has no entry `1` (they are counted from 0 to 0)",
        "SINKS__LAKE__TYP: sinks.lake.typ: unknown key (did you mean `type`?)",
    ];
    assert_mistakes(
        &operator,
        &mistakes.map(|line| format!("CENTRAL_FORWARDER__{line}")),
    );
}
