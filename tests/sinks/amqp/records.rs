//! AMQP into a real `RabbitMQ`, read by a client that is not ours; and what it says no to.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use central_forwarder::simulator::{TOPICS, sequence_of};
use serde_json::Value;

use support::authority::Authority;
use support::brokers::RabbitMq;
use support::config::Sink;
use support::fresh_name;
use support::pika::{declared, empty_queue, numbers, read_queue, record};
use support::proxy::Proxy;
use support::stand::{Stand, drain, tls};

use crate::formats::{self, Arrived, FORMATS};

const A_WHILE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn all_six_topics_reach_a_queue_with_properties_and_headers() {
    const FRAMES: usize = 40;
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let stand = Stand::new(&TOPICS, 50, FRAMES as u64).await;
    let queue = fresh_name("amqp");
    let options = "expiration = \"1h\"\npriority = 3\napp_id = \"forwarder-7\"";
    let sink = format!("{}\n{options}", declared(&queue));
    let forwarder = stand.to_amqp(&rabbitmq.url(), &sink).start();

    let messages = read_queue(&rabbitmq, &queue, FRAMES * TOPICS.len());
    let said = drain(forwarder);
    assert!(!said.contains("guest:guest"), "{said}");
    for topic in TOPICS {
        let key = format!("central.{topic}");
        let of_topic = messages
            .iter()
            .filter(|message| message["routing_key"] == *key);
        let of_topic: Vec<_> = of_topic.collect();
        assert_eq!(of_topic.len(), FRAMES, "messages of {topic}");
        for (message, number) in of_topic.iter().zip(1..) {
            check(message, topic, number);
        }
    }
}

fn check(message: &Value, topic: &str, number: u64) {
    let record = record(message);
    assert_eq!(
        sequence_of(topic, &record["data"]),
        Some(number),
        "{record}"
    );
    assert_eq!(record["account"], "acme");
    let nanoseconds = record["timestamp"].as_i64().expect("an integer");
    let properties = &message["properties"];
    assert_eq!(properties["delivery_mode"], 2);
    assert_eq!(properties["message_id"], record["id"]);
    assert_eq!(properties["timestamp"], nanoseconds / 1_000_000_000);
    assert_eq!(properties["content_type"], "application/json");
    assert_eq!(properties["type"], format!("central.classic.{topic}"));
    assert_eq!(properties["app_id"], "forwarder-7");
    assert_eq!(properties["expiration"], "3600000");
    assert_eq!(properties["priority"], 3);
    check_headers(&properties["headers"], topic, &record);
}

fn check_headers(headers: &Value, topic: &str, record: &Value) {
    assert_eq!(headers["cloudEvents:specversion"], "1.0");
    assert_eq!(headers["cloudEvents:id"], record["id"]);
    assert_eq!(headers["cloudEvents:time"], record["time"]);
    assert_eq!(headers["cloudEvents:source"], "/central/acme");
    assert_eq!(
        headers["cloudEvents:type"],
        format!("central.classic.{topic}")
    );
    assert_eq!(headers["cloudEvents:account"], "acme");
    assert_eq!(headers["cloudEvents:topic"], topic);
    assert_eq!(headers["cloudEvents:customerid"], record["customer_id"]);
    assert_eq!(headers["cloudEvents:messagetype"], record["type"]);
}

/// One route a format, each with its own routing key: the same frames four times.
#[tokio::test(flavor = "multi_thread")]
async fn each_format_has_its_payload_its_content_type_and_the_same_metadata() {
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let stand = formats::stand().await;
    let queue = fresh_name("amqp-formats");
    let routes = formats::routes(|format| format!("central.{format}"));
    let sink = Sink::amqp(&rabbitmq.url()).line(declared(&queue));
    let forwarder = stand.configure(&sink, &routes).start();
    let messages = read_queue(&rabbitmq, &queue, formats::FRAMES * FORMATS.len());
    drain(forwarder);
    for message in &messages {
        let properties = &message["properties"];
        assert_eq!(properties["type"], "central.classic.audit");
        assert_eq!(
            properties["message_id"],
            properties["headers"]["cloudEvents:id"]
        );
    }
    let arrived: Vec<Arrived> = messages.iter().map(arrived).collect();
    formats::check(&arrived);
}

fn arrived(message: &Value) -> Arrived {
    let key = message["routing_key"].as_str().unwrap();
    let format = key.strip_prefix("central.");
    let known = FORMATS.iter().find(|(known, _)| Some(*known) == format);
    let properties = &message["properties"];
    let headers = properties["headers"].as_object().unwrap().iter();
    let attributes = headers.filter_map(|(name, value)| {
        let name = name.strip_prefix("cloudEvents:")?;
        Some((name.to_owned(), value.as_str()?.to_owned()))
    });
    Arrived {
        format: known.expect("a format").0,
        content_type: properties["content_type"].as_str().unwrap().to_owned(),
        attributes: attributes.collect(),
        payload: STANDARD
            .decode(message["body_base64"].as_str().unwrap())
            .unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_not_shown() {
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let stand = Stand::new(&["audit"], 50, 5).await;
    let url = format!("amqp://guest:hunter2@{}/%2f", rabbitmq.address);
    let mut forwarder = stand.to_amqp(&url, "").start();
    forwarder.wait_for_stderr(A_WHILE, "(check the user and the password)");
    let said = forwarder.stderr();
    assert_is_loud(&said, "unauthorized");
    assert!(said.contains(&rabbitmq.address), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let (is_well, said) = stand.check();
    assert!(
        !is_well && said.contains("(check the user and the password)"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

/// What an operator has to do something about is an error, and counted by its cause.
fn assert_is_loud(said: &str, cause: &str) {
    let cause = format!("cause=\"{cause}\"");
    let is_loud = |line: &str| line.contains("ERROR") && line.contains(&cause);
    assert!(said.lines().any(is_loud), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_exchange_is_told_and_what_waits_arrives_once_it_is_there() {
    const COUNT: u64 = 20;
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let stand = Stand::new(&["audit"], 50, COUNT).await;
    let name = fresh_name("amqp");
    let missing = format!("exchange = {{ name = \"{name}\" }}");
    let mut forwarder = stand.to_amqp(&rabbitmq.url(), &missing).start();
    forwarder.wait_for_stderr(A_WHILE, "(create it on the broker, or set declare = true)");
    forwarder.wait_for_stderr(A_WHILE, "NOT_FOUND - no exchange");
    assert_is_loud(&forwarder.stderr(), "no_destination");
    let (is_well, said) = stand.check();
    assert!(
        !is_well && said.contains("NOT_FOUND - no exchange"),
        "{said}"
    );
    stand.wait_until_journalled(COUNT);
    forwarder.terminate();
    assert_eq!(forwarder.wait(A_WHILE).code(), Some(0));

    stand.to_amqp(&rabbitmq.url(), &declared(&name));
    let (is_well, said) = stand.check();
    assert!(is_well && said.contains("will be created"), "{said}");
    let forwarder = stand.start();
    let messages = read_queue(&rabbitmq, &name, usize::try_from(COUNT).unwrap());
    assert_eq!(numbers(&messages), (1..=COUNT).collect::<Vec<_>>());
    drain(forwarder);

    let (is_well, said) = stand.check();
    assert!(is_well && said.contains("may write"), "{said}");
    // A trial has no body.
    let left = empty_queue(&rabbitmq, &name);
    assert!(left.iter().all(|message| message["body"] != ""), "{left:?}");
    let other = declared(&name).replace("topic", "fanout");
    let (is_well, said) = stand.to_amqp(&rabbitmq.url(), &other).check();
    assert!(!is_well && said.contains("PRECONDITION_FAILED"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_takes_is_refused_and_nothing_else() {
    const COUNT: u64 = 2000;
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let stand = Stand::new(&["audit", "monitoring"], 1000, COUNT).await;
    let queue = fresh_name("amqp");
    let sink = declared(&queue).replace("central.*", "central.monitoring");
    let forwarder = stand.to_amqp(&rabbitmq.url(), &sink).start();
    let messages = read_queue(&rabbitmq, &queue, usize::try_from(COUNT).unwrap());
    assert_eq!(numbers(&messages), (1..=COUNT).collect::<Vec<_>>());
    stand.wait_until_sent(2 * COUNT);
    let said = drain(forwarder);
    assert!(
        said.contains(&format!("confirmed={COUNT} refused={COUNT}")),
        "{said}"
    );
    let letters = stand.dead_letters();
    assert_eq!(
        letters
            .iter()
            .map(|letter| letter.number)
            .collect::<Vec<_>>(),
        (1..=COUNT).collect::<Vec<_>>()
    );
    for letter in letters {
        assert_eq!(letter.topic, "audit");
        assert!(letter.reason.contains("312 NO_ROUTE"), "{letter:?}");
        assert!(
            letter.reason.contains("routing key `central.audit`"),
            "{letter:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_both_sides_must_show_a_certificate_that_the_other_believes() {
    const COUNT: u64 = 20;
    let Some(rabbitmq) = RabbitMq::real() else {
        return;
    };
    let authority = Authority::new();
    let proxy = Proxy::with_tls_before(&rabbitmq.address, authority.acceptor()).await;
    let stand = Stand::new(&["audit"], 50, COUNT).await;
    let queue = fresh_name("amqp");
    let url = format!("amqps://guest:guest@{}/%2f", proxy.address);
    let ca = stand.file("ca.pem", &authority.pem);
    let other = stand.file("other.pem", &Authority::new().pem);
    let client = authority.issue("client");
    let certificate = stand.file("client.pem", &client.certificate);
    let key = stand.file("client.key", &client.key);
    let identity = Some((certificate.as_path(), key.as_path()));

    for (tls, complaint) in [
        (tls(&other, identity), "is not trusted"),
        (tls(&ca, None), "CertificateRequired"),
    ] {
        let sink = format!("{}\n{tls}", declared(&queue));
        let mut forwarder = stand.to_amqp(&url, &sink).start();
        forwarder.wait_for_stderr(A_WHILE, complaint);
    }
    let sink = format!("{}\n{}", declared(&queue), tls(&ca, identity));
    let forwarder = stand.to_amqp(&url, &sink).start();
    stand.wait_until_sent(COUNT);
    drain(forwarder);
    assert!(!empty_queue(&rabbitmq, &queue).is_empty());
}
