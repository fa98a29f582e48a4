//! Routes and schemas as an operator meets them: what `check` says, what `decode` shows, and what a
//! reload changes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use central_forwarder::proto::stream_message::MsgProto;
use futures_util::SinkExt as _;
use prost::Message as _;
use tokio_tungstenite::tungstenite::Message;

use support::eventually;
use support::forwarder::Forwarder;
use support::servers::serve_websocket;

const A_WHILE: Duration = Duration::from_secs(30);

/// The published schema.
const MONITORING: &str = include_str!("../../proto/classic/monitoring.proto");

/// `customer_id`, and an access point with a status and a field that no schema knows.
const PAYLOAD: &[u8] = b"\x0a\x02c1\x22\x0c\x12\x02S1\x30\x4d\xa2\x38\x03new";

/// A schema that is ahead of the published one.
fn newer_schema() -> String {
    let newer = MONITORING
        .replace("enum Status {\n", "enum Status {\n  SLEEPING = 77;\n")
        .replace(
            "message Ap {\n",
            "message Ap {\n  optional string mood = 900;\n",
        );
    assert_eq!(newer.lines().count(), MONITORING.lines().count() + 2);
    newer
}

fn frame() -> Vec<u8> {
    MsgProto {
        subject: "monitoring".to_owned(),
        data: PAYLOAD.into(),
        timestamp: 1_700_000_000_000,
        customer_id: "c1".to_owned(),
        ..MsgProto::default()
    }
    .encode_to_vec()
}

fn config(folder: &Path, endpoint: &str, more: &str) -> String {
    let file = folder.join("c.toml");
    let text = format!(
        "[accounts.acme]\ngeneration = \"classic\"\nendpoint = \"{endpoint}\"\nkey = \"k\"\n\
         topics = [\"monitoring\"]\n\n[sinks.out]\ntype = \"file\"\npath = \"{}\"\n\n\
         [[routes]]\ntopics = [\"monitoring\"]\nsink = \"out\"\n{more}",
        folder.join("out.ndjson").display()
    );
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// What `check` says, a line each, without the folder.
fn check(folder: &Path, more: &str) -> Vec<String> {
    let file = config(folder, "ws://localhost:1", more);
    let output = Command::new(support::program())
        .args(["check", "-c", &file])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let is_well = said.lines().all(|line| line.starts_with("warning: "));
    let expected = if is_well { 0 } else { 2 };
    assert_eq!(output.status.code(), Some(expected), "{said}");
    let folder = format!("{}/", folder.display());
    said.lines().map(|line| line.replace(&folder, "")).collect()
}

#[test]
fn fields_that_the_schema_does_not_have_are_mistakes_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let said = |more: &str| check(folder.path(), more);
    let nothing: [&str; 0] = [];
    let split = "split = true\nelements = [\"aps\"]\n";
    let where_ = |test: &str| format!("{split}where = [{{ path = {test} }}]\n");
    assert_eq!(said(&where_("\"data.status\", equals = \"DOWN\"")), nothing);
    assert_eq!(
        said(&where_("\"data.statsu\", equals = \"DOWN\"")),
        [
            "c.toml:16:12: routes[0].where[0].path: `data.statsu`: no element of these topics has \
          the field `statsu` (did you mean `status`?)"
        ]
    );
    assert_eq!(
        said(&where_("\"data.status\", equals = \"DWON\"")),
        [
            "c.toml:16:34: routes[0].where[0].equals: `DWON` is no value of this enum (did you mean \
          `DOWN`?)"
        ]
    );
    assert_eq!(
        said(&where_("\"data.serial\", one_of = [\"S1\", 2]")),
        [
            "c.toml:16:34: routes[0].where[0].one_of: can never match: the field is a text (write a \
          string)"
        ]
    );
    assert_eq!(
        said("elements = [\"apps\"]\n"),
        [
            "c.toml:14:13: routes[0].elements[0]: no message of these topics has a repeated message \
          `apps` (did you mean `aps`?)"
        ]
    );
    assert_eq!(
        said("where = [{ path = \"data.customer_id.x\", exists = true }]\n"),
        [
            "c.toml:14:12: routes[0].where[0].path: `data.customer_id.x`: `customer_id` is a value \
          without fields (end the path there)"
        ]
    );
}

#[test]
fn a_broken_schema_is_a_mistake_with_its_place_in_the_schema() {
    let folder = tempfile::tempdir().unwrap();
    let schemas = "\n[schemas]\npaths = [\"*.proto\", \"none.binpb\"]\n\
                   messages = { monitoring = \"Monitoring.Swram\", presense = \"Monitoring.Ap\" }\n";
    fs::write(
        folder.path().join("broken.proto"),
        "syntax = \"proto3\";\nmessage X {\n  strin a = ;\n}\n",
    )
    .unwrap();
    let said = check(folder.path(), schemas);
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(
        said[0].starts_with("broken.proto:3:13: expected "),
        "{said:#?}"
    );
    assert!(
        said[1].starts_with("c.toml:16:") && said[1].contains("schemas.paths[1]: there is no file"),
        "{said:#?}"
    );
    assert!(
        said[2].contains("schemas.messages.monitoring: there is no message `Monitoring.Swram` (did you mean `Monitoring.Swarm`?)"),
        "{said:#?}"
    );
    assert!(
        said[3].contains(
            "schemas.messages.presense: unknown topic `presense` (did you mean `presence`?)"
        ),
        "{said:#?}"
    );
}

#[test]
fn a_message_that_a_topic_names_is_a_mistake_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let account = "\n[accounts.globex]\ngeneration = \"new\"\nendpoint = \"wss://h\"\n\
                   client_id = \"i\"\nclient_secret = \"s\"\n\
                   topics = [{ event = \"alert-events\", type = \"network_notifications.Alrt\" }]\n";
    let said = check(folder.path(), account);
    let [mistake] = &said[..] else {
        panic!("{said:#?}")
    };
    assert!(
        mistake.starts_with(
            "c.toml:20:37: accounts.globex.topics[0].type: there is no message \
             `network_notifications.Alrt` ("
        ),
        "{mistake}"
    );
}

#[test]
fn a_pattern_or_folder_without_a_schema_is_a_warning_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("newer")).unwrap();
    fs::write(folder.path().join("newer/readme.txt"), "").unwrap();
    let schemas = "\n[schemas]\npaths = [\"*.proto\", \"newer\"]\n";
    let warning = |place, key, path| {
        format!(
            "warning: c.toml:16:{place}: schemas.paths[{key}]: there is no schema at {path} (drop .proto or \
             .binpb files there and reload, or correct the path)"
        )
    };
    let (pattern, empty) = (warning(10, 0, "*.proto"), warning(21, 1, "newer"));
    assert_eq!(check(folder.path(), schemas), [&*pattern, &*empty]);
    fs::write(folder.path().join("newer/x.proto"), newer_schema()).unwrap();
    assert_eq!(check(folder.path(), schemas), [&*pattern]);
    fs::write(folder.path().join("x.proto"), newer_schema()).unwrap();
    fs::remove_dir_all(folder.path().join("newer")).unwrap();
    assert_eq!(
        check(folder.path(), schemas),
        ["c.toml:16:21: schemas.paths[1]: there is no file newer (correct the path)"]
    );
}

fn decode(arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("frames");
    fs::write(&file, STANDARD.encode(frame())).unwrap();
    let output = Command::new(support::program())
        .args(["decode", "--generation", "classic", "--topic", "monitoring"])
        .arg(&file)
        .args(arguments)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn decode_shows_elements_and_schemas_of_the_operators() {
    let (code, plain) = decode(&[]);
    assert_eq!(code, Some(0));
    assert!(
        plain.contains(r#""aps":[{"serial":"S1","status":77}]"#),
        "{plain}"
    );
    let (_, split) = decode(&["--split"]);
    assert!(
        split.contains(
            r#""element":"aps","parent":{"customer_id":"c1"},"data":{"serial":"S1","status":77}}"#
        ),
        "{split}"
    );
    let (_, without) = decode(&["--elements", "switches"]);
    assert!(
        without.contains(r#""data":{"customer_id":"c1"}}"#),
        "{without}"
    );
    let (code, said) = decode(&["--elements", "aps,swiches"]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("--elements: elements[1]: ") && said.contains("`switches`"),
        "{said}"
    );

    let folder = tempfile::tempdir().unwrap();
    let newer = folder.path().join("monitoring.proto");
    fs::write(&newer, newer_schema()).unwrap();
    for path in [newer.as_path(), folder.path()] {
        let (_, shown) = decode(&["--schema", path.to_str().unwrap()]);
        assert!(
            shown.contains(r#"{"serial":"S1","status":"SLEEPING","mood":"new"}"#),
            "{shown}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_dropped_in_shows_after_a_reload_and_a_broken_one_changes_nothing() {
    let endpoint = serve_websocket(|mut socket| async move {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            if socket.send(Message::binary(frame())).await.is_err() {
                return;
            }
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let schemas = "\n[schemas]\npaths = [\"*.proto\"]\n";
    let file = config(folder.path(), &endpoint, schemas);
    let mut forwarder = Forwarder::start(&["run", "-c", &file]);
    let out = folder.path().join("out.ndjson");
    let records = || fs::read_to_string(&out).unwrap_or_default();
    eventually(A_WHILE, "records", || records().contains('\n'));
    assert!(records().contains(r#"{"serial":"S1","status":77}"#));
    forwarder.wait_for_stderr(A_WHILE, "schemas.paths[0]: there is no schema at ");

    let schema = folder.path().join("monitoring.proto");
    fs::write(
        &schema,
        "syntax = \"proto2\";\npackage Monitoring;\nmessage Ap {",
    )
    .unwrap();
    forwarder.signal("HUP");
    forwarder.wait_for_stderr(A_WHILE, "monitoring.proto:3:13: ");
    forwarder.wait_for_stderr(A_WHILE, "not reloaded");
    let before = records().len();
    eventually(A_WHILE, "more records", || records().len() > before);

    fs::write(&schema, newer_schema()).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("key = \"k\"", "key = \"rotated\"")).unwrap();
    forwarder.signal("HUP");
    forwarder.wait_for_stderr(A_WHILE, "reloaded: accounts.acme (changed)");
    eventually(A_WHILE, "what only the newer schema knows", || {
        records().contains(r#"{"serial":"S1","status":"SLEEPING","mood":"new"}"#)
    });
    assert!(!forwarder.stderr().contains("rotated"));
    forwarder.terminate();
    assert_eq!(forwarder.wait(A_WHILE).code(), Some(0));
}
