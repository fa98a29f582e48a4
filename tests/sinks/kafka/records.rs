//! Kafka as its operators run it: logins, permissions, limits, topics that are not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use support::authority::Authority;
use support::brokers::Kafka;
use support::config::Sink;
use support::console_consumer::read_topic;
use support::order::different_in_order;
use support::read_back::sequences;
use support::stand::{DeadLetter, Stand, drain, of_the_sink};
use support::{eventually, fresh_name};

use super::{drain_when_read, read, route};
use crate::formats::{self, Arrived, FORMATS};

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
        kafka.create_topic(&topic, &[]).await;
        let sink = Sink::kafka(&kafka.variable(listener)).line(&lines);
        let route = route(TOPIC, &topic).line("key = \"{customer_id}\"");
        let stand = Stand::new(&[TOPIC], 0, COUNT).await;
        stand.configure(&sink, &[route]);
        let (code, said) = stand.check_sink();
        assert_eq!(code, Some(0), "{said}");
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

#[tokio::test(flavor = "multi_thread")]
async fn each_format_is_as_the_contract_says_with_its_metadata_in_headers() {
    let Some(kafka) = Kafka::real() else { return };
    let run = fresh_name("formats");
    let topic = |format: &str| format!("{run}.{format}");
    for (format, _) in FORMATS {
        kafka.create_topic(&topic(format), &[]).await;
    }
    let routes = formats::routes(topic).map(|route| route.line("key = \"{id}\""));
    let stand = formats::stand().await;
    stand.configure(&Sink::kafka(&kafka.address), &routes);
    drain_when_read(stand.start(), &stand);

    let records = FORMATS.map(|(format, _)| read(&kafka, &topic(format)));
    let mut all = Vec::new();
    for (records, (format, _)) in records.iter().zip(FORMATS) {
        all.extend(records.iter().map(|record| arrived(format, record)));
    }
    for (record, arrived) in records.iter().flatten().zip(&all) {
        assert_eq!(record.key(), Some(arrived.attributes["id"].as_bytes()));
    }
    let json = formats::check(&all);
    for (record, json) in records[0].iter().zip(json) {
        // The simulator counts nanoseconds in this topic, and Kafka milliseconds.
        let millis = json["timestamp"].as_i64().map(|nanos| nanos / 1_000_000);
        assert_eq!(record.timestamp().to_millis(), millis);
    }
}

fn arrived(format: &'static str, record: &OwnedMessage) -> Arrived {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let headers = record.headers().expect("headers").iter();
    let mut headers: BTreeMap<String, String> = headers
        .map(|header| (header.key.to_owned(), text(header.value.expect("a value"))))
        .collect();
    let content_type = headers.remove("content-type").expect("a content type");
    let attributes = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("ce_")?.to_owned(), value)));
    Arrived {
        format,
        content_type,
        attributes: attributes.collect(),
        payload: record.payload().expect("a value").to_vec(),
    }
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
            "a listener that requires TLS or SASL does so too",
        ),
        (
            "SASL_SSL",
            format!("{}\n{stranger}", sasl("forwarder", "secret")),
            "certificate verify failed",
        ),
    ] {
        let sink = Sink::kafka(&kafka.variable(listener)).line(lines);
        let stand = Stand::new(&[TOPIC], 0, 1).await;
        stand.configure(&sink, &[route(TOPIC, "nobody.may.write")]);
        let output = stand.command(&["check", "--connect"]);
        let (code, said) = of_the_sink(&output);
        assert_eq!(code, Some(1), "{said}");
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
    let sink = Sink::kafka(&kafka.variable("SASL")).line(format!(
        "sasl = {{ mechanism = \"SCRAM-SHA-512\", username = \"forwarder\", \
         password = {{ file = {file:?} }} }}",
    ));
    let stand = Stand::new(&[TOPIC], 0, COUNT).await;
    stand.configure(&sink, &[route(TOPIC, &topic)]);
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "SASL authentication error");
    forwarder.wait_for_stderr(A_WHILE, "next try in");
    stand.wait_until_sent(COUNT);
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
    kafka.create_topic(&topic, &[]).await;
    let sink = Sink::kafka(&kafka.variable("SASL_SSL")).line(format!(
        "tls = {{ ca_file = \"{}/stranger/ca.pem\" }}\n\
         sasl = {{ mechanism = \"PLAIN\", username = \"forwarder\", password = \"secret\" }}",
        kafka.variable("SECRETS"),
    ));
    let stand = Stand::new(&[TOPIC], 0, COUNT).await;
    stand.configure(&sink, &[route(TOPIC, &topic)]);
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "certificate verify failed");
    forwarder.wait_for_stderr(A_WHILE, "nothing is dropped, next try in");
    stand.wait_until_sent(COUNT);
    assert_eq!(high(&kafka, &topic), 0);

    let config = stand.config();
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
    kafka.create_topic(&allowed, &[]).await;
    kafka.create_topic(&forbidden, &[]).await;
    allow_guest(&kafka, &allowed);
    let sink = Sink::kafka(&kafka.variable("SASL"))
        .line("sasl = { mechanism = \"PLAIN\", username = \"guest\", password = \"secret\" }");
    let stand = Stand::new(&[TOPIC, "security"], 0, COUNT).await;
    stand.configure(
        &sink,
        &[route(TOPIC, &allowed), route("security", &forbidden)],
    );
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
        letters.iter().all(|letter| letter.reason.ends_with(&why)),
        "{:?}",
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
    const FAILED: &str = "cannot fetch a token: the certificate of 127.0.0.1:";
    const UNKNOWN: &str = "is not trusted: no authority that this machine trusts has issued it (if it comes from an \
         authority of your own, name that in sasl.ca_file)";
    let Some(kafka) = Kafka::real() else { return };
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, &authority.pem).unwrap();
    let topic = fresh_name("endpoint");
    let without = token(&token_endpoint_of(&authority).await);
    let with = without.replace(" }", &format!(", ca_file = {ca_file:?} }}"));
    let sink = Sink::kafka(&kafka.variable("SASL"))
        .line(format!("sasl = {without}"))
        .line("create = {}");
    let stand = Stand::new(&[TOPIC], 0, COUNT).await;
    stand.configure(&sink, &[route(TOPIC, &topic)]);
    let (code, said) = stand.check_sink();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(FAILED) && said.contains(UNKNOWN), "{said}");
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, UNKNOWN);
    forwarder.wait_for_stderr(A_WHILE, "nothing is dropped, next try in");

    let config = stand.config();
    let wrong = fs::read_to_string(&config).unwrap();
    fs::write(&config, wrong.replace(&without, &with)).unwrap();
    let (code, said) = stand.check_sink();
    assert_eq!(code, Some(0), "{said}");
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
    kafka
        .create_topic(&topic, &[("max.message.bytes", LIMIT)])
        .await;
    let routes = [route(TOPIC, &topic), route("monitoring", &topic)];
    let stand = Stand::new(&[TOPIC, "monitoring"], 0, FRAMES).await;
    stand.configure(&Sink::kafka(&kafka.address), &routes);
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "smaller ones will be sent");
    drain_when_read(forwarder, &stand);
    assert_eq!(different_in_order(&sequences(&kafka, &topic)), all(FRAMES));
    let letters = stand.dead_letters();
    assert_eq!(letters.len() as u64, FRAMES);
    let why = format!(
        "the record is larger than the topic {topic} accepts (raise its max.message.bytes)"
    );
    let of_monitoring =
        |letter: &DeadLetter| letter.topic == "monitoring" && letter.reason.ends_with(&why);
    assert!(letters.iter().all(of_monitoring), "{:?}", letters[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_refused_until_it_is_made_and_holds_back_nothing_else() {
    let Some(kafka) = Kafka::real() else { return };
    let (there, missing) = (fresh_name("there"), fresh_name("missing"));
    kafka.create_topic(&there, &[]).await;
    let options = "{ \"allow.auto.create.topics\" = false, \
                   \"topic.metadata.propagation.max.ms\" = 1000, \
                   \"topic.metadata.refresh.interval.ms\" = 1000 }";
    let sink = Sink::kafka(&kafka.address).line(format!("options = {options}"));
    let stand = Stand::new(&[TOPIC, "security"], 50, 1000).await;
    stand.configure(&sink, &[route(TOPIC, &there), route("security", &missing)]);
    let mut forwarder = stand.start();
    forwarder.wait_for_stderr(A_WHILE, "it is asked once more");
    eventually(A_WHILE, "half of the others", || {
        high(&kafka, &there) >= 500
    });
    kafka.create_topic(&missing, &[]).await;
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
        letters.iter().all(|letter| letter.reason.ends_with(&why)),
        "{:?}",
        letters[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_made_as_the_operator_wants_it_also_by_one_who_shows_a_token() {
    let Some(kafka) = Kafka::real() else { return };
    let token = token(&token_endpoint().await);
    let with_token = Sink::kafka(&kafka.variable("SASL")).line(format!("sasl = {token}"));
    for sink in [Sink::kafka(&kafka.address), with_token] {
        let topic = fresh_name("made");
        let sink = sink.line("create = { partitions = 3, replication = 1 }");
        let stand = Stand::new(&[TOPIC], 0, COUNT).await;
        stand.configure(&sink, &[route(TOPIC, &topic).line("key = \"all\"")]);
        let (code, said) = stand.check_sink();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.ends_with(&format!("will create {topic}")), "{said}");
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
    let stand = Stand::new(&[TOPIC], 1000, FRAMES).await;
    stand.configure(&Sink::kafka(&kafka.address), &[route(TOPIC, &topic)]);
    let mut forwarder = stand.start();
    for _ in 0..2 {
        stand.wait_until_sent(stand.sent() + 301);
        let desynchronized = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        cluster.request_errors(RDKafkaApiKey::Produce, &[desynchronized]);
    }
    forwarder.wait_for_stderr(A_WHILE, "sequence desynchronization");
    let said = drain_when_read(forwarder, &stand);
    assert!(said.matches("next try in").count() >= 2, "{said}");
    assert_eq!(different_in_order(&sequences(&kafka, &topic)), all(FRAMES));
}
