//! Errors and warnings about a config: each with its place and what to do; and no text that makes it panic.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use central_forwarder::config::{Backlog, Format, LogFormat, Selector};
use proptest::prelude::*;

use crate::operator::{GOOD, Operator, assert_mistakes, classic, with};

#[test]
fn a_file_with_five_mistakes_names_all_five_with_their_places() {
    let text = include_str!("../fixtures/config/five-mistakes.toml");
    assert_mistakes(
        &Operator::new().file("c.toml", text),
        &[
            "c.toml:2:1: shutdown_timeout: `30 parsecs` is not a duration (write a whole number \
             and ms, s, m, h or d, such as \"30s\")",
            "c.toml:6:1: accounts.acme.endpoint: is a URL of scheme `https` (write \
             wss://HOST/streaming/api)",
            "c.toml:8:25: accounts.acme.topics[1]: unknown topic `securty` (did you mean \
             `security`?)",
            "c.toml:12:1: sinks.lake.brokes: unknown key (did you mean `brokers`?)",
            "c.toml:21:1: routes[1].sink: there is no sink `lkae` (did you mean `lake`?)",
        ],
    );
}

#[test]
fn a_good_config_has_the_documented_defaults() {
    let config = with("", "").config();
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("/tmp/state")));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.log.filter, "info");
    assert_eq!(config.journal.sync_interval, Duration::from_millis(100));
    assert_eq!(config.journal.segment_bytes, 64 << 20);
    assert_eq!(config.journal.memory_bytes, 256 << 20);
    assert_eq!(config.journal.max_bytes, None);
    assert_eq!(config.journal.retain, Duration::ZERO);
    assert_eq!(config.backlogs["lake"], Backlog::default());
    let acme = &config.accounts["acme"];
    assert_eq!(classic(acme).key.expose(), "hunter2");
    assert_eq!(acme.topics.len(), 2);
    assert!(!acme.tls.insecure);
    let [route] = &config.routes[..] else {
        panic!("one route");
    };
    assert_eq!(route.accounts, Selector::Any);
    assert_eq!(route.format, Format::Json);
    assert_eq!(route.destination.to_string(), "central.{topic}");
    assert_eq!(with("", "").warnings(), Vec::<String>::new());
}

#[test]
fn each_mistake_has_its_place_and_its_advice() {
    let cases = include_str!("../fixtures/config/mistakes.txt");
    for case in cases.split("\n\n").skip(1) {
        let lines = |mark: &str| -> Vec<&str> {
            case.lines()
                .filter_map(|line| line.strip_prefix(mark))
                .map(str::trim_start)
                .collect()
        };
        let operator = with(&lines("-").join("\n"), &lines("+").join("\n"));
        let expected: Vec<_> = lines("=")
            .iter()
            .map(|line| format!("c.toml:{line}"))
            .collect();
        assert!(!expected.is_empty(), "{case}");
        assert_eq!(operator.mistakes(), expected, "{case}");
    }
}

#[test]
fn an_empty_file_lacks_everything() {
    assert_mistakes(
        &Operator::new().file("c.toml", ""),
        &[
            "c.toml:1:1: accounts: there is none (add [accounts.NAME])",
            "c.toml:1:1: routes: there is none (add [[routes]])",
            "c.toml:1:1: sinks: there is none (add [sinks.NAME])",
        ],
    );
}

#[test]
fn what_cannot_be_read_is_a_mistake() {
    let mut operator = Operator::new().file("latin1.toml", "");
    fs::write(operator.path("latin1.toml"), b"a = \"\xe4\"").unwrap();
    fs::create_dir(operator.path("empty")).unwrap();
    operator.files.push(operator.path("empty"));
    operator.files.push(operator.path("missing.toml"));
    assert_mistakes(
        &operator,
        &[
            "empty: the folder has no *.toml (give a TOML file or a folder of them)",
            "latin1.toml: cannot be read: stream did not contain valid UTF-8 (give a TOML file or \
             a folder of them)",
            "missing.toml: cannot be read: No such file or directory (os error 2) (give a TOML \
             file or a folder of them)",
        ],
    );
}

#[test]
fn what_works_and_is_hardly_meant_is_warned_about() {
    let text = r#"
[accounts.acme]
generation = "classic"
endpoint = "ws://central.example/streaming/api"
key = "hunter2"
topics = ["audit", "apprf"]
tls = { verify = false }

[sinks.lake]
type = "kafka"
brokers = ["kafka-1:9092"]
options = { "sasl.password" = "hunter2", "linger.ms" = 5 }

[sinks.screen]
type = "stdout"

[[routes]]
topics = ["audit"]
sink = "lake"
destination = "central.audit"

[[routes]]
topics = ["presence"]
sink = "lake"
destination = "central.presence"
"#;
    let operator = Operator::new().file("c.toml", text);
    let set_mode = |mode| {
        fs::set_permissions(operator.path("c.toml"), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o644);
    let secrets = |line: &&String| line.contains("every user can read");
    let warnings = operator.warnings();
    assert_eq!(
        warnings,
        [
            "c.toml:4:1: accounts.acme.endpoint: the key travels unencrypted (use wss)",
            "c.toml:5:1: accounts.acme.key: stands in a file that every user can read (write { \
             file = \"PATH\" }, or chmod o-r)",
            "c.toml:6:1: accounts.acme.topics: no route takes `apprf` (add a route, or leave it \
             out)",
            "c.toml:7:9: accounts.acme.tls.verify: anybody on the way can pose as Central and \
             learn the key (set ca_file instead)",
            "c.toml:12:13: sinks.lake.options.\"sasl.password\": stands in a file that every user \
             can read (write { file = \"PATH\" }, or chmod o-r)",
            "c.toml:14:8: sinks.screen: no route leads here (add a route, or leave it out)",
            "c.toml:22:1: routes[1]: nothing can match it (its accounts have none of its topics)",
        ]
    );
    set_mode(0o640);
    let private: Vec<_> = warnings
        .iter()
        .filter(|line| !secrets(line))
        .cloned()
        .collect();
    assert_eq!(private.len(), 5);
    assert_eq!(operator.warnings(), private);
}

#[test]
fn no_secret_is_ever_shown() {
    let text = GOOD
        .replace("{ env = \"ACME_KEY\" }", "\"hunter2\"")
        .replace(
            "brokers = ",
            "options = { \"sasl.password\" = { env = \"ACME_KEY\" }, x = \"hunter2\" }\nbrokers = ",
        );
    let loaded = Operator::new().file("c.toml", &text).load().unwrap();
    assert_eq!(
        classic(&loaded.config.accounts["acme"]).key.expose(),
        "hunter2"
    );
    let shown = format!("{loaded:?} {loaded:#?}");
    assert!(shown.contains("Secret(from the config)"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");

    let wrong = text
        .replace("\"hunter2\"\n", "\"hunter2\\u00e9\"\n")
        .replace("x = \"hunter2\"", "x = [\"hunter2\"]");
    let mistakes = Operator::new().file("c.toml", &wrong).load().unwrap_err();
    assert_eq!(mistakes.diagnostics().len(), 2, "{mistakes}");
    assert!(
        !format!("{mistakes} {mistakes:?}").contains("hunter2"),
        "{mistakes}"
    );
}

#[test]
fn depth_costs_no_stack() {
    let dotted = format!("{}a = 1\n", "a.".repeat(20_000));
    let nested = format!("a = {}", "[".repeat(20_000));
    let tables = format!("[{}a]\n", "a.".repeat(20_000));
    for text in [dotted, nested, tables] {
        assert!(Operator::new().file("c.toml", &text).load().is_err());
    }
    let name = format!("CENTRAL_FORWARDER{}", "__A".repeat(20_000));
    assert!(with("", "").variable(&name, "x").load().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// It either loads or says where it does not.
    #[test]
    fn no_damage_to_a_file_makes_it_panic(
        cut in 0..GOOD.len(),
        length in 0..20_usize,
        put in "[\\[\\]{}\"'=.,\n a-z0-9é_-]{0,8}",
    ) {
        let (from, to) = (cut, (cut + length).min(GOOD.len()));
        let text = format!("{}{put}{}", &GOOD[..from], &GOOD[to..]);
        if let Err(mistakes) = Operator::new().file("c.toml", &text).load() {
            prop_assert!(!mistakes.diagnostics().is_empty(), "{text}");
        }
    }
}

#[test]
fn the_admin_endpoint_is_for_this_machine_alone_unless_told_otherwise() {
    assert_eq!(with("", "").config().admin, None);
    let admin = |table: &str| {
        let text = GOOD.replace("\n[accounts.acme]", &format!("{table}\n[accounts.acme]"));
        Operator::new().file("c.toml", &text)
    };
    let config = admin("[admin]\n").config();
    let listen = config.admin.expect("there is a table").listen;
    assert_eq!(listen.to_string(), "127.0.0.1:9600");

    let open = admin("[admin]\nlisten = \"0.0.0.0:9600\"\n");
    let guarded = admin("[admin]\nlisten = \"[::]:9600\"\ntoken = { env = \"TOKEN\" }\n")
        .variable("TOKEN", "0123456789abcdef");
    assert_eq!(
        open.warnings(),
        [
            "c.toml:3:1: admin.listen: whoever can reach this address can read what runs here (set \
             admin.token, or listen on 127.0.0.1)"
        ]
    );
    assert_eq!(
        guarded.warnings(),
        [
            "c.toml:3:1: admin.listen: is beyond this machine, and the token travels unencrypted \
             (let a proxy with TLS stand before it)"
        ]
    );
}
