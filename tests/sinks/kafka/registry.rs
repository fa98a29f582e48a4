//! Messages of protobuf with a schema registry: its ids stand before them, and Confluent's own
//! deserializer reads them.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use central_forwarder::simulator::{Options, Simulator};
use rdkafka::message::{Message as _, OwnedMessage};
use serde_json::Value;

use support::brokers::{Kafka, repository};
use support::config::{Account, Config, Route, Sink};
use support::forwarder::Forwarder;
use support::python::{Python, lines};
use support::schema_registry::SchemaRegistry;
use support::stand::{SINK, Stand, drain};
use support::{eventually, fresh_name};

use super::{drain_when_read, read};

const A_WHILE: Duration = Duration::from_secs(120);
const PACKAGES: [&str; 4] = [
    "confluent-kafka[schemaregistry,protobuf]==2.16.1",
    "protobuf==7.36.2",
    "grpcio-tools==1.85.1",
    "googleapis-common-protos==1.76.0",
];
const COUNT: u64 = 20;

fn sink(kafka: &Kafka, registry: &str) -> Sink {
    Sink::kafka(&kafka.address).line(format!("schema_registry = {registry}"))
}

/// The records into a topic of Kafka, and the same as JSON into a file.
fn to_both(config: Config, lake: &Sink, topic: &str, file: &Path, lines: &str) -> Config {
    config
        .sink(SINK, lake)
        .route(&protobuf(topic).line(lines))
        .sink("file", &Sink::file(file))
        .route(&Route::all("file").line("json = \"canonical\"").line(lines))
}

/// All that comes, as messages of protobuf.
fn protobuf(topic: &str) -> Route {
    Route::all(SINK)
        .destination(topic)
        .line("format = \"protobuf\"")
}

fn data_of(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let records = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.map(|mut record| record["data"].take()).collect()
}

/// What Confluent's own deserializer makes of a topic, as JSON.
fn read_by_confluent(
    python: &Python,
    kafka: &Kafka,
    registry: &SchemaRegistry,
    (topic, records): (&str, Range<usize>),
    (folder, file): (PathBuf, &str),
    messages: &[&str],
) -> Vec<Value> {
    let mut script = python.script("confluent_protobuf.py");
    script
        .args([&kafka.address, &registry.url(), topic])
        .args([records.start, records.len()].map(|number| number.to_string()))
        .arg(folder)
        .arg(file)
        .args(messages);
    let printed = lines(&mut script);
    let records = printed
        .iter()
        .map(|line| serde_json::from_str(line).unwrap());
    records.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn confluents_deserializer_reads_whole_messages_and_elements() {
    let Some(kafka) = Kafka::real() else { return };
    let Some(python) = Python::with("schema-registry-python", &PACKAGES) else {
        return;
    };
    let registry = SchemaRegistry::start().await;
    let folder = tempfile::tempdir().unwrap();
    let elements = ["aps", "device_stats", "wireless_clients"];
    let split = format!("split = true\nelements = {elements:?}\n");
    for (topic, split, messages) in [
        ("audit", "", &["Audit.audit_message"][..]),
        ("monitoring", "", &["Monitoring.MonitoringInformation"]),
        (
            "monitoring",
            &split,
            &[
                "Monitoring.Ap",
                "Monitoring.DeviceStats",
                "Monitoring.WirelessClient",
            ],
        ),
    ] {
        let to = fresh_name("registry");
        kafka.create_topic(&to, &[]).await;
        let file = folder.path().join(&to);
        let lake = sink(&kafka, &format!("{:?}", registry.url()));
        let stand = Stand::new(&[topic], 0, COUNT).await;
        stand.write(&to_both(stand.base(), &lake, &to, &file, split));
        drain_when_read(stand.start(), &stand);
        let owed = data_of(&file);
        assert!(!owed.is_empty());
        let source = format!("classic/{topic}.proto");
        let source = (repository().join("proto"), source.as_str());
        let records = (to.as_str(), 0..owed.len());
        let arrived = read_by_confluent(&python, &kafka, &registry, records, source, messages);
        assert_eq!(arrived, owed, "{topic} {split}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_new_central_that_import_googles_files_are_read_too() {
    let Some(kafka) = Kafka::real() else { return };
    let Some(python) = Python::with("schema-registry-python", &PACKAGES) else {
        return;
    };
    let registry = SchemaRegistry::start().await;
    let topic = fresh_name("registry");
    kafka.create_topic(&topic, &[]).await;
    let simulator = Simulator::start(Options {
        rate: 0,
        count: Some(COUNT),
        ..Options::default()
    });
    let simulator = simulator.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    let account = Account::new_central(&simulator, &["clients-events"]);
    let lake = sink(&kafka, &format!("{:?}", registry.url()));
    let config = Config::in_memory().account("globex", &account);
    let config = to_both(config, &lake, &topic, &file, "").write(folder.path());
    let forwarder = Forwarder::run(&config);
    eventually(A_WHILE, "all frames are read", || {
        simulator.sent()["network-monitoring/v1/clients-events"].frames == COUNT
    });
    drain(forwarder);
    assert_eq!(registry.subjects(), [format!("{topic}-value")]);
    let source = (repository().join("proto"), "new/client.proto");
    let names = ["network_monitoring.clients.v1.StreamClientMessage"];
    let records = (topic.as_str(), 0..usize::try_from(COUNT).unwrap());
    let arrived = read_by_confluent(&python, &kafka, &registry, records, source, &names);
    assert_eq!(arrived, data_of(&file));
}

/// The file of the topic `audit`, parted in two; in the package of the first.
fn parted(folder: &Path) {
    let whole = fs::read_to_string(repository().join("proto/classic/audit.proto")).unwrap();
    let (addresses, rest) = whole.split_once("message config {").unwrap();
    let head = "syntax = \"proto2\";\npackage Audit;\n";
    let payload = format!("{head}import \"addresses.proto\";\nmessage config {{{rest}");
    fs::write(folder.join("addresses.proto"), addresses).unwrap();
    fs::write(folder.join("audit.proto"), payload).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_that_were_loaded_anew_are_registered_with_what_they_import() {
    const FRAMES: u64 = 400;
    let Some(kafka) = Kafka::real() else { return };
    let Some(python) = Python::with("schema-registry-python", &PACKAGES) else {
        return;
    };
    let registry = SchemaRegistry::start().await;
    let topic = fresh_name("registry");
    kafka.create_topic(&topic, &[]).await;
    let schemas = tempfile::tempdir().unwrap();
    let lake = sink(&kafka, &format!("{{ url = {:?} }}", registry.url()));
    let stand = Stand::new(&["audit"], 100, FRAMES).await;
    let config = stand
        .base()
        .sink(SINK, &lake)
        .route(&protobuf(&topic))
        .table("schemas", &format!("paths = [{:?}]\n", schemas.path()));
    stand.write(&config);
    let mut forwarder = stand.start();
    let subject = format!("{topic}-value");
    forwarder.wait_for_stderr(A_WHILE, "the schema is registered");
    assert_eq!(registry.subjects(), [subject.as_str()]);

    parted(schemas.path());
    forwarder.signal("HUP");
    forwarder.wait_for_stderr(A_WHILE, "schemas were read again");
    drain_when_read(forwarder, &stand);
    assert_eq!(registry.subjects(), ["addresses.proto", &subject]);
    assert_eq!(registry.versions(&subject), 2);

    let records = read(&kafka, &topic);
    assert_eq!(records.len() as u64, FRAMES);
    let first_bytes = |record: &OwnedMessage| record.payload().unwrap()[..6].to_vec();
    let before = first_bytes(&records[0]);
    let again = records.partition_point(|record| first_bytes(record) == before);
    let after = &records[again..];
    assert!(!after.is_empty(), "the newer schemas were not used");
    assert!(
        after
            .iter()
            .all(|record| first_bytes(record) == first_bytes(&after[0]))
    );
    let source = (schemas.path().to_owned(), "audit.proto");
    let newer = (topic.as_str(), again..records.len());
    let names = ["Audit.audit_message"];
    read_by_confluent(&python, &kafka, &registry, newer, source, &names);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_or_refuses_holds_records_back_and_drops_none() {
    let Some(kafka) = Kafka::real() else { return };
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "wrong").unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let topic = fresh_name("registry");
    kafka.create_topic(&topic, &[]).await;
    let table = format!(
        "{{ url = \"http://{address}\", username = \"forwarder\", password = {{ file = {password:?} }}, \
         subject_name_strategy = \"TopicRecordNameStrategy\" }}"
    );
    let stand = Stand::new(&["audit"], 0, COUNT).await;
    stand.configure(&sink(&kafka, &table), &[protobuf(&topic)]);
    let (code, said) = stand.check_sink();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Connection refused"), "{said}");

    let mut forwarder = stand.start();
    let of_us = format!("schema registry: cannot connect to {address}: ");
    forwarder.wait_for_stderr(A_WHILE, &of_us);
    forwarder.wait_for_stderr(A_WHILE, "next try in");
    stand.wait_until_sent(COUNT);

    let registry = SchemaRegistry::start_at(&address).await;
    registry.wants("forwarder", "secret");
    let why = "Schema being registered is incompatible with an earlier schema";
    registry.refuse(409, 409, why);
    forwarder.wait_for_stderr(A_WHILE, "401 Unauthorized");
    let (code, said) = stand.check_sink();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("401 Unauthorized"), "{said}");
    fs::write(&password, "secret").unwrap();
    forwarder.wait_for_stderr(A_WHILE, why);
    assert_eq!(registry.subjects().len(), 0);

    registry.refuse_nothing();
    eventually(A_WHILE, "the schema is registered", || {
        !registry.subjects().is_empty()
    });
    let (code, said) = stand.check_sink();
    assert_eq!(code, Some(0), "{said}");
    let answers = format!("may write to {topic}; the schema registry {address} answers");
    assert!(said.ends_with(&answers), "{said}");
    let said = drain_when_read(forwarder, &stand);
    assert_eq!(
        registry.subjects(),
        [format!("{topic}-Audit.audit_message")]
    );
    assert!(
        said.contains("refused=0") && said.contains("nothing is dropped"),
        "{said}"
    );
    assert!(
        !said.contains("wrong") && !said.contains("secret"),
        "{said}"
    );
    let records = read(&kafka, &topic);
    assert_eq!(records.len() as u64, COUNT);
    let asked = registry.asked();
    let registrations = asked.iter().filter(|asked| asked.ends_with("/versions"));
    assert!(registrations.count() >= 2, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_registered_already_is_not_registered_again() {
    let Some(kafka) = Kafka::real() else { return };
    let registry = SchemaRegistry::start().await;
    let topic = fresh_name("registry");
    kafka.create_topic(&topic, &[]).await;
    let lake = sink(&kafka, &format!("{:?}", registry.url()));
    for _ in 0..2 {
        let stand = Stand::new(&["audit"], 0, COUNT).await;
        stand.configure(&lake, &[protobuf(&topic)]);
        drain_when_read(stand.start(), &stand);
        // The second may read, and not register.
        registry.refuse(403, 40301, "User is denied operation Write on Subject");
    }
    assert_eq!(read(&kafka, &topic).len() as u64, 2 * COUNT);
    let look_up = format!("POST /subjects/{topic}-value");
    let asked = [look_up.clone(), format!("{look_up}/versions"), look_up];
    assert_eq!(registry.asked(), asked);
}
