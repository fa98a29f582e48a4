//! Kafka as its operators run it: logins, permissions, limits, topics that are not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use central_forwarder::simulator::sequence_of_frame;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use support::authority::Authority;
use support::brokers::Kafka;
use support::console_consumer::read_topic;
use support::forwarder::Forwarder;
use support::kafka_stand::{KafkaStand, create_topic, drain, route};
use support::order::different_in_order;
use support::read_back::sequences;
use support::{eventually, fresh_name};

const A_WHILE: Duration = Duration::from_secs(120);
const TOPIC: &str = "audit";
const COUNT: u64 = 200;

/// The records that a topic has; 0 where it is not there.
fn high(kafka: &Kafka, topic: &str) -> u64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.address)
        .create()
        .unwrap();
    let marks = consumer.fetch_watermarks(topic, 0, Duration::from_secs(5));
    marks.map_or(0, |(_, high)| u64::try_from(high).unwrap())
}

fn all(count: u64) -> BTreeSet<u64> {
    (1..=count).collect()
}

fn check(stand: &KafkaStand) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_central-forwarder"))
        .env(
            "CENTRAL_FORWARDER__ACCOUNTS__ACME__ENDPOINT",
            stand.bystander.endpoint(),
        )
        .args(["check", "--connect", "-c"])
        .arg(stand.folder.path().join("config.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    let line = said.lines().find(|line| line.starts_with("sink lake: "));
    let line = line.unwrap_or_else(|| panic!("{output:?}")).to_owned();
    (output, line)
}

/// An endpoint that gives everybody who shows the client's password a token that nobody signed.
async fn token_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            give_token(client).await;
        }
    });
    format!("http://{address}/token")
}

/// The same over TLS, with a certificate of this authority.
async fn token_endpoint_of(authority: &Authority) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = authority.open_acceptor();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            // Who does not believe the certificate goes away in the midst of this.
            if let Ok(client) = acceptor.accept(client).await {
                give_token(client).await;
            }
        }
    });
    format!("https://{address}/token")
}

async fn give_token(mut client: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = vec![0; 4096];
    let read = client.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
    let knows_us = request.contains("authorization: basic zm9yd2fyzgvyonnly3jlda==");
    let grant = request.contains("grant_type=client_credentials&scope=kafka");
    let status = if knows_us && grant {
        "200 OK"
    } else {
        "401 Unauthorized"
    };
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = format!(r#"{{"sub":"forwarder","iat":{now},"exp":{}}}"#, now + 3600);
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let token = format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims));
    let body = format!(r#"{{"access_token":"{token}","expires_in":3600}}"#);
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(answer.as_bytes()).await.unwrap();
}

fn token(endpoint: &str) -> String {
    format!(
        "{{ mechanism = \"OAUTHBEARER\", token_endpoint = \"{endpoint}\", client_id = \"forwarder\", \
         client_secret = \"secret\", scope = \"kafka\" }}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_log_in_delivers_and_the_console_consumer_reads_it() {
    let Some(kafka) = Kafka::real() else { return };
    let secrets = kafka.variable("SECRETS");
    let tls = format!("tls = {{ ca_file = \"{secrets}/ca.pem\" }}");
    let identity = format!(
        "tls = {{ ca_file = \"{secrets}/ca.pem\", certificate_file = \"{secrets}/client.pem\", \
         key_file = \"{secrets}/client.key\" }}"
    );
    let password = |mechanism: &str| {
        format!(
            "sasl = {{ mechanism = \"{mechanism}\", username = \"forwarder\", password = \"secret\" }}"
        )
    };
    let token = format!("sasl = {}", token(&token_endpoint().await));
    let compressed = "compression = \"zstd\"\nlinger = \"20ms\"";
    for (listener, lines) in [
        ("SASL", password("PLAIN")),
        ("SASL_SSL", format!("{}\n{tls}", password("SCRAM-SHA-256"))),
        (
            "SASL",
            format!("{}\n{compressed}", password("SCRAM-SHA-512")),
        ),
        ("SASL_SSL", format!("{token}\n{tls}")),
        ("SSL", identity),
    ] {
        let topic = fresh_name("login");
        create_topic(&kafka, &topic, &[]).await;
        let sink = format!("brokers = [\"{}\"]\n{lines}", kafka.variable(listener));
        let key = "key = \"{customer_id}\"\n";
        let routes = format!("{}{key}", route(TOPIC, &topic));
        let stand = KafkaStand::new(&[TOPIC], (0, COUNT), &sink, &routes).await;
        let (output, said) = check(&stand);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.ends_with(&format!("may write to {topic}")), "{said}");
        let forwarder = stand.start();
        eventually(A_WHILE, &lines, || high(&kafka, &topic) >= COUNT);
        drain(forwarder);
        assert_eq!(different_in_order(&sequences(&kafka, &topic)), all(COUNT));
        if lines.contains("PLAIN") {
            let read = read_topic(&kafka, &topic, usize::try_from(COUNT).unwrap());
            assert!(
                read.iter()
                    .all(|line| line.header("ce_account") == Some("acme"))
            );
            assert!(read.iter().all(|line| line.key.is_some()));
        }
    }
}

/// The first record of a topic.
fn first_record(kafka: &Kafka, topic: &str) -> OwnedMessage {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.address)
        .set("group.id", fresh_name("formats"))
        .create()
        .unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&from).unwrap();
    let record = consumer.poll(A_WHILE).expect("a record in time");
    record.expect("a record").detach()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_format_is_as_the_contract_says_with_its_metadata_in_headers() {
    let Some(kafka) = Kafka::real() else { return };
    let formats = [
        ("json", "application/json"),
        ("cloudevents", "application/cloudevents+json"),
        ("protobuf", "application/protobuf"),
        ("frame", "application/octet-stream"),
    ];
    let topic = |format: &str, run: &str| format!("{run}.{format}");
    let run = fresh_name("formats");
    let routes = formats.map(|(format, _)| {
        let lines = format!("format = \"{format}\"\nkey = \"{{id}}\"\n");
        route(TOPIC, &topic(format, &run)) + &lines
    });
    let sink = format!("brokers = [\"{}\"]\ncreate = {{}}", kafka.address);
    let stand = KafkaStand::new(&[TOPIC], (0, 3), &sink, &routes.concat()).await;
    drain_when_read(stand.start(), &stand);

    let records = formats.map(|(format, _)| first_record(&kafka, &topic(format, &run)));
    for (record, (format, content_type)) in records.iter().zip(formats) {
        let headers: BTreeMap<&str, &str> = record
            .headers()
            .unwrap()
            .iter()
            .map(|header| {
                (
                    header.key,
                    std::str::from_utf8(header.value.unwrap()).unwrap(),
                )
            })
            .collect();
        assert_eq!(headers["content-type"], content_type, "{format}");
        assert_eq!(headers["ce_specversion"], "1.0");
        assert_eq!(headers["ce_source"], "/central/acme");
        assert_eq!(headers["ce_type"], "central.classic.audit");
        assert_eq!(
            (headers["ce_account"], headers["ce_topic"]),
            ("acme", TOPIC)
        );
        for name in ["ce_time", "ce_customerid", "ce_messagetype"] {
            assert!(!headers[name].is_empty(), "{format}: {name}");
        }
        assert_eq!(record.key(), Some(headers["ce_id"].as_bytes()));
    }
    let [json, event, payload, frame] = records.each_ref().map(|record| record.payload().unwrap());
    let [json, event]: [Value; 2] = [json, event].map(|text| serde_json::from_slice(text).unwrap());
    assert_eq!(event["specversion"], "1.0");
    assert_eq!((&event["id"], &event["data"]), (&json["id"], &json["data"]));
    // The simulator counts nanoseconds in this topic, and Kafka milliseconds.
    let millis = json["timestamp"].as_i64().map(|nanos| nanos / 1_000_000);
    assert_eq!(records[0].timestamp().to_millis(), millis);
    assert_eq!(sequence_of_frame(frame), Some(1));
    let is_within =
        |part: &[u8], whole: &[u8]| whole.windows(part.len()).any(|bytes| bytes == part);
    assert!(payload.len() < frame.len() && is_within(payload, frame));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_connect_says_what_is_wrong_with_a_login() {
    let Some(kafka) = Kafka::real() else { return };
    let secrets = kafka.variable("SECRETS");
    let sasl = |user: &str, password: &str| {
        format!(
            "sasl = {{ mechanism = \"SCRAM-SHA-512\", username = \"{user}\", password = \"{password}\" }}"
        )
    };
    let stranger = format!("tls = {{ ca_file = \"{secrets}/stranger/ca.pem\" }}");
    for (listener, lines, words) in [
        (
            "SASL",
            sasl("forwarder", "wrong"),
            "SASL authentication error",
        ),
        (
            "SASL",
            sasl("guest", "secret"),
            "this user may not write to the topic",
        ),
        (
            "SASL",
            String::new(),
            "so does a listener that wants TLS or SASL",
        ),
        (
            "SASL_SSL",
            format!("{}\n{stranger}", sasl("forwarder", "secret")),
            "certificate verify failed",
        ),
    ] {
        let sink = format!("brokers = [\"{}\"]\n{lines}", kafka.variable(listener));
        let routes = route(TOPIC, "nobody.may.write");
        let stand = KafkaStand::new(&[TOPIC], (0, 1), &sink, &routes).await;
        let (output, said) = check(&stand);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("failed: ") && said.contains(words), "{said}");
        assert!(!format!("{output:?}").contains("wrong"), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_loses_nothing_and_is_read_anew_from_its_file() {
    let Some(kafka) = Kafka::real() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "wrong").unwrap();
    let topic = fresh_name("password");
    let sink = format!(
        "brokers = [\"{}\"]\nsasl = {{ mechanism = \"SCRAM-SHA-512\", username = \"forwarder\", \
         password = {{ file = {file:?} }} }}",
        kafka.variable("SASL")
    );
    let stand = KafkaStand::new(&[TOPIC], (0, COUNT), &sink, &route(TOPIC, &topic)).await;
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "SASL authentication error");
    forwarder.wait_for_stderr(A_WHILE, "next try in");
    eventually(A_WHILE, "the socket is read", || stand.sent(TOPIC) == COUNT);
    fs::write(&file, "secret").unwrap();
    eventually(A_WHILE, "all records", || high(&kafka, &topic) >= COUNT);
    let said = drain(forwarder);
    assert!(said.contains("refused=0"), "{said}");
    assert_eq!(different_in_order(&sequences(&kafka, &topic)), all(COUNT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_authority_loses_nothing_and_is_made_right_by_a_reload() {
    let Some(kafka) = Kafka::real() else { return };
    let topic = fresh_name("authority");
    create_topic(&kafka, &topic, &[]).await;
    let sink = format!(
        "brokers = [\"{}\"]\ntls = {{ ca_file = \"{}/stranger/ca.pem\" }}\n\
         sasl = {{ mechanism = \"PLAIN\", username = \"forwarder\", password = \"secret\" }}",
        kafka.variable("SASL_SSL"),
        kafka.variable("SECRETS"),
    );
    let stand = KafkaStand::new(&[TOPIC], (0, COUNT), &sink, &route(TOPIC, &topic)).await;
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "certificate verify failed");
    forwarder.wait_for_stderr(A_WHILE, "nothing is dropped, next try in");
    eventually(A_WHILE, "the socket is read", || stand.sent(TOPIC) == COUNT);
    assert_eq!(high(&kafka, &topic), 0);

    let config = stand.folder.path().join("config.toml");
    let wrong = fs::read_to_string(&config).unwrap();
    fs::write(&config, wrong.replace("stranger/ca.pem", "ca.pem")).unwrap();
    forwarder.signal("HUP");
    eventually(A_WHILE, "all records", || high(&kafka, &topic) >= COUNT);
    let said = drain(forwarder);
    assert!(said.contains("refused=0"), "{said}");
    assert_eq!(different_in_order(&sequences(&kafka, &topic)), all(COUNT));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_written_is_refused_and_holds_back_nothing_else() {
    let Some(kafka) = Kafka::real() else { return };
    let (allowed, forbidden) = (fresh_name("allowed"), fresh_name("forbidden"));
    create_topic(&kafka, &allowed, &[]).await;
    create_topic(&kafka, &forbidden, &[]).await;
    allow_guest(&kafka, &allowed);
    let sink = format!(
        "brokers = [\"{}\"]\nsasl = {{ mechanism = \"PLAIN\", username = \"guest\", password = \"secret\" }}",
        kafka.variable("SASL")
    );
    let routes = route(TOPIC, &allowed) + &route("security", &forbidden);
    let stand = KafkaStand::new(&[TOPIC, "security"], (0, COUNT), &sink, &routes).await;
    let forwarder = stand.start();
    eventually(A_WHILE, "all records", || high(&kafka, &allowed) >= COUNT);
    drain(forwarder);
    assert_eq!(different_in_order(&sequences(&kafka, &allowed)), all(COUNT));
    assert_eq!(high(&kafka, &forbidden), 0);
    let letters = stand.dead_letters();
    assert_eq!(letters.len() as u64, COUNT);
    let why =
        format!("this user may not write to the topic {forbidden} (allow it WRITE and DESCRIBE)");
    assert!(
        letters.iter().all(|letter| letter.ends_with(&why)),
        "{}",
        letters[0]
    );
}

fn allow_guest(kafka: &Kafka, topic: &str) {
    let done = Command::new("java")
        .args([
            "-cp",
            &format!("{}/*", kafka.variable("LIB")),
            "org.apache.kafka.tools.AclCommand",
        ])
        .args([
            "--bootstrap-server",
            &kafka.address,
            "--add",
            "--allow-principal",
            "User:guest",
        ])
        .args([
            "--operation",
            "Write",
            "--operation",
            "Describe",
            "--topic",
            topic,
        ])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_with_an_authority_of_ones_own_needs_its_ca_file() {
    const UNKNOWN: &str = "cannot fetch a token from 127.0.0.1: its certificate is not trusted: UnknownIssuer; if it \
         comes from an authority of your own, name that in ca_file";
    let Some(kafka) = Kafka::real() else { return };
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, &authority.pem).unwrap();
    let topic = fresh_name("endpoint");
    let without = token(&token_endpoint_of(&authority).await);
    let with = without.replace(" }", &format!(", ca_file = {ca_file:?} }}"));
    let sink = format!(
        "brokers = [\"{}\"]\nsasl = {without}\ncreate = {{}}",
        kafka.variable("SASL")
    );
    let stand = KafkaStand::new(&[TOPIC], (0, COUNT), &sink, &route(TOPIC, &topic)).await;
    let (output, said) = check(&stand);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(UNKNOWN), "{said}");
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, UNKNOWN);
    forwarder.wait_for_stderr(A_WHILE, "nothing is dropped, next try in");

    let config = stand.folder.path().join("config.toml");
    let wrong = fs::read_to_string(&config).unwrap();
    fs::write(&config, wrong.replace(&without, &with)).unwrap();
    let (output, said) = check(&stand);
    assert_eq!(output.status.code(), Some(0), "{said}");
    forwarder.signal("HUP");
    eventually(A_WHILE, "all records", || high(&kafka, &topic) >= COUNT);
    let said = drain(forwarder);
    assert!(said.contains("refused=0"), "{said}");
    assert_eq!(different_in_order(&sequences(&kafka, &topic)), all(COUNT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_over_the_topics_limit_is_refused_and_one_in_a_batch_over_it_is_not() {
    const FRAMES: u64 = 600;
    // An audit record is smaller, and one of monitoring is larger.
    const LIMIT: &str = "5000";
    let Some(kafka) = Kafka::real() else { return };
    let topic = fresh_name("limit");
    create_topic(&kafka, &topic, &[("max.message.bytes", LIMIT)]).await;
    let sink = format!("brokers = [\"{}\"]", kafka.address);
    let routes = route(TOPIC, &topic) + &route("monitoring", &topic);
    let stand = KafkaStand::new(&[TOPIC, "monitoring"], (0, FRAMES), &sink, &routes).await;
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "smaller ones will be sent");
    drain_when_read(forwarder, &stand);
    assert_eq!(different_in_order(&sequences(&kafka, &topic)), all(FRAMES));
    let letters = stand.dead_letters();
    assert_eq!(letters.len() as u64, FRAMES);
    let why = format!("it is larger than the topic {topic} takes (raise its max.message.bytes)");
    let of_monitoring =
        |letter: &String| letter.contains("acme/monitoring") && letter.ends_with(&why);
    assert!(letters.iter().all(of_monitoring), "{}", letters[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_refused_until_it_is_made_and_holds_back_nothing_else() {
    let Some(kafka) = Kafka::real() else { return };
    let (there, missing) = (fresh_name("there"), fresh_name("missing"));
    create_topic(&kafka, &there, &[]).await;
    let options = "{ \"allow.auto.create.topics\" = false, \
                   \"topic.metadata.propagation.max.ms\" = 1000, \
                   \"topic.metadata.refresh.interval.ms\" = 1000 }";
    let sink = format!("brokers = [\"{}\"]\noptions = {options}", kafka.address);
    let routes = route(TOPIC, &there) + &route("security", &missing);
    let stand = KafkaStand::new(&[TOPIC, "security"], (50, 1000), &sink, &routes).await;
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "it is asked once more");
    eventually(A_WHILE, "half of the others", || {
        high(&kafka, &there) >= 500
    });
    create_topic(&kafka, &missing, &[]).await;
    drain_when_read(forwarder, &stand);
    assert_eq!(different_in_order(&sequences(&kafka, &there)), all(1000));
    let late = different_in_order(&sequences(&kafka, &missing));
    assert_eq!(late.last(), Some(&1000), "the topic was not found");
    let letters = stand.dead_letters();
    assert_eq!(late.len() + letters.len(), 1000);
    let why = format!(
        "there is no topic {missing} (create it, or write create = {{ partitions = ... }})"
    );
    assert!(
        letters.iter().all(|letter| letter.ends_with(&why)),
        "{}",
        letters[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_made_as_the_operator_wants_it_also_by_one_who_shows_a_token() {
    let Some(kafka) = Kafka::real() else { return };
    let with_token = format!(
        "brokers = [\"{}\"]\nsasl = {}",
        kafka.variable("SASL"),
        token(&token_endpoint().await)
    );
    for brokers in [format!("brokers = [\"{}\"]", kafka.address), with_token] {
        let topic = fresh_name("made");
        let sink = format!("{brokers}\ncreate = {{ partitions = 3, replication = 1 }}");
        let routes = route(TOPIC, &topic) + "key = \"all\"\n";
        let stand = KafkaStand::new(&[TOPIC], (0, COUNT), &sink, &routes).await;
        let (output, said) = check(&stand);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.ends_with(&format!("will make {topic}")), "{said}");
        let mut forwarder = stand.start();
        forwarder.wait_for_stderr(A_WHILE, "topic created");
        let said = drain_when_read(forwarder, &stand);
        assert!(said.contains(&format!("confirmed={COUNT} ")), "{said}");
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &kafka.address)
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(&topic), A_WHILE).unwrap();
        assert_eq!(metadata.topics()[0].partitions().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_failed_for_good_is_built_anew_and_nothing_is_lost() {
    const FRAMES: u64 = 3000;
    let (kafka, cluster) = Kafka::mock();
    let topic = fresh_name("fatal");
    cluster.create_topic(&topic, 1, 1).unwrap();
    let sink = format!("brokers = [\"{}\"]", kafka.address);
    let stand = KafkaStand::new(&[TOPIC], (1000, FRAMES), &sink, &route(TOPIC, &topic)).await;
    let mut forwarder = stand.start();
    for _ in 0..2 {
        let before = stand.sent(TOPIC);
        eventually(A_WHILE, "frames are read", || {
            stand.sent(TOPIC) > before + 300
        });
        let desynchronized = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        cluster.request_errors(RDKafkaApiKey::Produce, &[desynchronized]);
    }
    forwarder.wait_for_stderr(A_WHILE, "sequence desynchronization");
    let said = drain_when_read(forwarder, &stand);
    assert!(said.matches("next try in").count() >= 2, "{said}");
    assert_eq!(different_in_order(&sequences(&kafka, &topic)), all(FRAMES));
}

/// Waits until the simulator has sent everything.
fn drain_when_read(forwarder: Forwarder, stand: &KafkaStand) -> String {
    eventually(A_WHILE, "the simulator has sent all", || {
        let sent = stand.simulator.sent();
        let mut sent = sent.values().filter(|sent| sent.frames > 0).peekable();
        sent.peek().is_some() && sent.all(|sent| sent.frames == stand.count)
    });
    drain(forwarder)
}
